"""A look at volumes: the layouts of the Medical Segmentation Decathlon and of nnU-Net, or any folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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
from segfocal.data.fingerprint.volume_folders import Listed, find_volume_folder, unused_lines, volume_table
from segfocal.data.fingerprint.voxels import VolumeFacts, measure_volume
from segfocal.data.splits import SPLITS
from segfocal.data.volumes.layout import VolumeSet
from segfocal.errors import SegfocalError

_FOLDS = 5
_METRIC = "Dice is what the Dice term trains; the test adds HD95 and NSD in mm"


def look_at_volumes(
    root: Path, *, processes: int | None, images: str | None = None, masks: str | None = None
) -> Report:
    """Read all volumes that dataset.json names, or that names and content tell in its absence.

    Args:
        root: The folder.
        processes: Readers; None takes one per processor.
        images: Pattern of the paths that are images, where names do not tell.
        masks: Pattern of the paths that are label maps.

    Raises:
        SegfocalError: Where dataset.json is wrong, no volume can be read, or several files could be meant.
    """
    given = find_volume_folder(root, images=images, masks=masks)
    work = partial(measure_volume, channels=given.channels, known=given.known)
    cases = list(each(work, given.cases, processes=processes, what="volumes", pool_from=16))
    whole = [case for case in cases if case.voxels]
    if not whole:
        raise SegfocalError(f"none of the {len(cases)} volumes can be used: {cases[0].problems[0]}")
    listed = given.finish(cases)
    found = listed.found
    classes = _classes(found, whole)
    plan = Plan(found, whole)
    page = Group(facts(_rows(listed, cases, plan)), chart(classes, unit="voxels", cases="volumes"))
    remarks = [
        *problem_lines([problem for case in cases for problem in case.problems]),
        *_remarks(whole),
        *unused_lines(listed.unused),
    ]

    def files(out: Path) -> dict[Path, str]:
        table = out.with_suffix(".csv").resolve() if listed.table else None
        texts = {out: _config(listed, classes, plan, table=table)}
        return texts if table is None else {table: volume_table(found), **texts}

    return Report(Group(page, *remarks), files)


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
    by = "the file dataset.json names" if (found.root / "dataset.json").is_file() else "the label maps hold"
    reasons = {
        "multilabel": "labels are regions that overlap",
        "binary": f"{by} one class beside the background",
        "multiclass": f"{by} {len(names) - 1} classes beside the background",
    }
    return Classes(
        task=task,  # type: ignore[arg-type]
        names=tuple(names if task == "multiclass" else names[1:]),
        pixels=totals if task == "multiclass" else [[every - n, n] for n in totals[1:]],
        images=tuple(shown if task == "multiclass" else shown[1:]),
        reasons=[reasons[task]],
        ignored_px=ignored,
    )


def _rows(listed: Listed, cases: list[VolumeFacts], plan: Plan) -> dict[str, str]:
    found = listed.found
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
        **({"splits": _counts(found.splits)} if found.splits else {}),
        **({"groups": _groups(found)} if found.groups else {}),
        **({"files": "; ".join(listed.notes)} if listed.notes else {}),
        "channels": ", ".join(found.channels) + (" (taken for CT)" if plan.ct else " (taken for MR)"),
        "size (voxels)": f"median {'x'.join(map(str, plan.shape))}; "
        + most(Counter("x".join(map(str, case.size_vx)) for case in whole)),
        "spacing (mm)": mm,
        "stored as": most(Counter(case.orientation for case in whole)),
        "type": most(Counter(f"{case.dtype}, labels {case.label_dtype}" for case in whole)),
        "percentiles .5 50 99.5": values,
        "pieces (voxels)": spread([n for case in whole for n in case.component_vx], "connected, size"),
    }


def _counts(splits: Mapping[str, str]) -> str:
    counts = Counter(splits.values())
    return ", ".join(f"{part} {counts[part]}" for part in SPLITS if counts[part])


def _groups(found: VolumeSet) -> str:
    counts = Counter(found.groups.values())
    name, count = counts.most_common(1)[0]
    return f"{len(counts)} of {len(found.cases)} volumes, up to {count} each, such as {name}; kept whole"


def _remarks(cases: list[VolumeFacts]) -> list[Text]:
    empty = [case.name for case in cases if len(case.voxels) == 1]
    lines = [Text(f"{len(empty)} of {len(cases)} label maps hold one value only (empty)")] if empty else []
    notes = [case.note for case in cases if case.note]
    if notes:
        lines.append(Text(f"! {len(notes)} of {len(cases)} label maps are {notes[0]}", style="red"))
    return lines + twin_lines(equal_volumes(cases))


def _config(listed: Listed, classes: Classes, plan: Plan, *, table: Path | None) -> str:
    found = listed.found
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
    data = _data_lines(listed, classes, plan, table=table)
    return "".join(
        f"{line}\n" for line in (*head(found.root.name, classes.reasons), *parts, *data, *training(_METRIC))
    )


def _data_lines(listed: Listed, classes: Classes, plan: Plan, *, table: Path | None) -> list[str]:
    found = listed.found
    spacing = [float(f"{v:.4g}") for v in plan.spacing_mm]
    shown = "x".join(map(str, plan.shape))
    low, high = plan.window
    return [
        "data:",
        "  class_path: segfocal.data.NiftiData",
        "  init_args:",
        f"    root: {quoted(str(found.root))}",
        *_table_lines(listed, table),
        f"    task: {classes.task} # classes: {', '.join(classes.names)}",
        *_split_lines(found),
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


def _table_lines(listed: Listed, table: Path | None) -> list[str]:
    if table is None:
        return []
    found = listed.found
    labels = {name: list(v) if len(v) > 1 else v[0] for name, v in found.labels.items()}
    if found.ignored:
        labels["ignore"] = list(found.ignored)
    fourth = len(found.channels) if len(found.cases[0].images) == 1 else 1
    named = fourth > 1 or len(found.cases[0].images) == 1
    return [
        f"    table: {quoted(str(table))} # image and label map of each volume, group and split",
        f"    labels: {quoted(labels)} # name and stored value of each class",
        *([f"    channels: {quoted(list(found.channels))}"] if named else []),
    ]


def _split_lines(found: VolumeSet) -> list[str]:
    parts = set(found.splits.values())
    if parts == {"train", "val"} or "val" in parts:
        return []
    if parts:
        return [
            "    split:",
            '      train: ["*"]',
            f"      val_share: {VAL_SHARE} # of train, chooses best.ckpt",
        ]
    folds = min(_FOLDS, len({found.groups.get(case.name, case.name) for case in found.cases}))
    return [
        "    split:",
        f"      test_folds: {folds} # repeat with test_fold 1 to {folds - 1} for all volumes",
        "      test_fold: 0",
        *([] if folds < 3 else [f"      val_share: {VAL_SHARE} # of the others, chooses best.ckpt"]),
    ]
