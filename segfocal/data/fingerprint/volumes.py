"""A look at volumes in the layouts of the Medical Segmentation Decathlon and of nnU-Net."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Group
from rich.text import Text

from segfocal.data.fingerprint.advice import alphas_of, gamma_of
from segfocal.data.fingerprint.classes import Classes
from segfocal.data.fingerprint.page import chart, facts, most, problem_lines, spread, twin_lines
from segfocal.data.fingerprint.plan import LARGEST_PX, Plan, equal_volumes
from segfocal.data.fingerprint.pool import each
from segfocal.data.fingerprint.report import Report
from segfocal.data.fingerprint.text import VAL_SHARE, head, leak_lines, model, quoted, training
from segfocal.data.fingerprint.voxels import VolumeFacts, measure_volume
from segfocal.data.volumes.layout import VolumeSet, read_volume_set
from segfocal.errors import SegfocalError

_FOLDS = 5
_METRIC = "Dice is what the Dice term trains; the test adds HD95 and NSD in mm"


def look_at_volumes(root: Path, *, processes: int | None) -> Report:
    """Read all volumes that dataset.json names.

    Args:
        root: Its folder.
        processes: Readers; None takes one per processor.

    Raises:
        SegfocalError: Where dataset.json is wrong, or no volume can be read.
    """
    found = read_volume_set(root)
    known = sorted({v for values in found.labels.values() for v in values} | set(found.ignored))
    work = partial(measure_volume, channels=len(found.channels), known=tuple(known))
    cases = list(each(work, found.cases, processes=processes, what="volumes", pool_from=16))
    whole = [case for case in cases if case.voxels]
    if not whole:
        raise SegfocalError(f"none of the {len(cases)} volumes can be used: {cases[0].problems[0]}")
    classes = _classes(found, whole)
    plan = Plan(found, whole)
    page = Group(facts(_rows(found, cases, plan)), chart(classes, unit="voxels", cases="volumes"))
    remarks = [*problem_lines([problem for case in cases for problem in case.problems]), *_remarks(whole)]
    return Report(Group(page, *remarks), lambda out: {out: _config(found, classes, plan)})


def _classes(found: VolumeSet, cases: list[VolumeFacts]) -> Classes:
    names = list(found.labels)
    counts = [
        [sum(case.voxels.get(value, 0) for value in values) for case in cases]
        for values in found.labels.values()
    ]
    totals, shown = [sum(row) for row in counts], [sum(n > 0 for n in row) for row in counts]
    ignored = sum(case.voxels.get(value, 0) for case in cases for value in found.ignored)
    every = sum(sum(case.voxels.values()) for case in cases) - ignored
    task = "multilabel" if found.regions else "binary" if len(names) == 2 else "multiclass"
    reasons = {
        "multilabel": "labels are regions that overlap",
        "binary": "the file dataset.json names one class beside the background",
        "multiclass": f"the file dataset.json names {len(names) - 1} classes beside the background",
    }
    return Classes(
        task=task,  # type: ignore[arg-type]
        names=tuple(names if task == "multiclass" else names[1:]),
        pixels=totals if task == "multiclass" else [[every - n, n] for n in totals[1:]],
        images=tuple(shown if task == "multiclass" else shown[1:]),
        reasons=[reasons[task]],
        ignored_px=ignored,
    )


def _rows(found: VolumeSet, cases: list[VolumeFacts], plan: Plan) -> dict[str, str]:
    whole = [case for case in cases if case.voxels]
    axes = [sorted(case.spacing_mm[axis] for case in whole) for axis in range(3)]
    towards = zip(("right", "anterior", "superior"), axes, strict=True)
    mm = "; ".join(f"{name} {v[0]:.3g} to {v[-1]:.3g} (median {v[len(v) // 2]:.3g})" for name, v in towards)
    percentiles = np.median([case.percentiles for case in whole], axis=0)
    named = zip(found.channels, percentiles, strict=True)
    values = ", ".join(f"{name}: {low:.4g} {middle:.4g} {high:.4g}" for name, (low, middle, high) in named)
    return {
        "folder": str(found.root),
        "volumes": f"{len(cases)} with labels, {len(whole)} of them can be used",
        "channels": ", ".join(found.channels) + (" (taken for CT)" if plan.ct else " (taken for MR)"),
        "size (voxels)": f"median {'x'.join(map(str, plan.shape))}; "
        + most(Counter("x".join(map(str, case.size_vx)) for case in whole)),
        "spacing (mm)": mm,
        "stored as": most(Counter(case.orientation for case in whole)),
        "type": most(Counter(f"{case.dtype}, labels {case.label_dtype}" for case in whole)),
        "percentiles .5 50 99.5": values,
        "pieces (voxels)": spread([n for case in whole for n in case.component_vx], "connected, size"),
    }


def _remarks(cases: list[VolumeFacts]) -> list[Text]:
    empty = [case.name for case in cases if len(case.voxels) == 1]
    lines = [Text(f"{len(empty)} of {len(cases)} label maps hold one value only (empty)")] if empty else []
    return lines + twin_lines(equal_volumes(cases))


def _config(found: VolumeSet, classes: Classes, plan: Plan) -> str:
    rare = classes.rarest()
    gamma, reason = gamma_of(rare)
    widths = [16, 32, 64, 128][: plan.levels]
    network = [
        "class_path: monai.networks.nets.UNet",
        "init_args:",
        "  spatial_dims: 3",
        f"  in_channels: {len(found.channels)}",
        f"  out_channels: {len(classes.names)}",
        f"  channels: {widths}",
        f"  strides: {[2] * (plan.levels - 1)} # sizes must be multiples of {plan.stride}",
        "  num_res_units: 2",
    ]
    parts = model(
        network,
        task=classes.task,
        gamma=gamma,
        reason=reason,
        alphas=alphas_of(classes),
        channels_last=False,
    )
    data = _data_lines(found, classes, plan)
    return "".join(
        f"{line}\n" for line in (*head(found.root.name, classes.reasons), *parts, *data, *training(_METRIC))
    )


def _data_lines(found: VolumeSet, classes: Classes, plan: Plan) -> list[str]:
    folds = min(_FOLDS, len(found.cases))
    spacing = [float(f"{v:.4g}") for v in plan.spacing_mm]
    shown = "x".join(map(str, plan.shape))
    low, high = plan.window
    return [
        "data:",
        "  class_path: segfocal.data.NiftiData",
        "  init_args:",
        f"    root: {quoted(str(found.root))}",
        f"    task: {classes.task} # classes: {', '.join(classes.names)}",
        "    split:",
        f"      test_folds: {folds} # repeat with test_fold 1 to {folds - 1} for all volumes",
        "      test_fold: 0",
        *([] if folds < 3 else [f"      val_share: {VAL_SHARE} # of the others, chooses best.ckpt"]),
        *leak_lines(plan.twins),
        "    preprocess:",
        f"      intensity: {'ct' if plan.ct else 'mr'} # the channels are called {', '.join(found.channels)}",
        *(
            [f"      intensity_range: [{low}, {high}] # .5 and 99.5 % of the foreground's values"]
            if plan.ct
            else [f"      nonzero: {str(plan.nonzero).lower()} # whether zeros are no tissue"]
        ),
        f"      {'' if plan.resample else '# all volumes have it: '}spacing_mm: {spacing} # the median",
        f"    patch_size: {plan.patch} # the median volume is {shown}; at most {LARGEST_PX}, in steps of "
        f"{plan.stride}",
        f"    foreground_share: {0.0 if plan.covers else 0.5} # "
        + (
            "a patch holds the median volume whole"
            if plan.covers
            else "half of the patches lie over a foreground class"
        ),
        "    batch_size: 2",
        "    augment: medical # or none, mirror, flips; flips swap left and right",
    ]
