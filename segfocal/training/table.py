"""The table that test and validate print: per class, per image and over the data set, at every threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from segfocal.imbalance.background import covered
from segfocal.runs.scores import Empty, mean_over_classes
from segfocal.training.progress import shown

_COLUMNS = (
    ("class", "left"),
    ("threshold", "right"),
    ("Dice\nper image", "right"),
    ("Dice\ndata set", "right"),
    ("IoU\nper image", "right"),
    ("IoU\ndata set", "right"),
    ("AUPR", "right"),
    ("ECE", "right"),
)


def score_table(
    values: Mapping[str, float],
    class_names: Sequence[str],
    *,
    title: str,
    thresholds: Sequence[float] | None,
    argmax: bool = False,
    bayes_dice: Sequence[float] | None = None,
    background: int | None = None,
) -> Table:
    """Lay out Dice and IoU of every class, AUPR and ECE.

    Args:
        values: As `StageScores.compute` names them.
        class_names: One per logit channel.
        title: Above the table.
        thresholds: Those chosen on validation, one per class; None: none are known.
        argmax: Whether the task is multiclass, which has no thresholds.
        bayes_dice: Best Dice per image that anyone can reach, by class, where the data know it.
        background: Number of the class that the means leave out; None: none.

    Returns:
        A table for a rich console: per class one row at 0.5 (or of the argmax) and one at the tuned
        threshold; last the means over all classes but the background. "-" where nothing could be scored.
    """
    table = Table(title=title, title_justify="left", title_style="bold")
    for name, side in _COLUMNS:
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    if bayes_dice is not None:
        table.add_column("Bayes Dice\nper image", justify="right")
    for index, name in enumerate(class_names):
        known = None if bayes_dice is None else bayes_dice[index]
        tuned = None if thresholds is None else f"{thresholds[index]:.3f}"
        _add(table, name, values, f"/{name}", tuned=tuned, argmax=argmax, bayes=known)
    if len(class_names) > 1:
        table.add_section()
        mean = None if bayes_dice is None else mean_over_classes(bayes_dice, background=background)
        tuned = None if thresholds is None else "tuned"
        _add(table, "mean", values, "", tuned=tuned, argmax=argmax, bayes=mean)
    return table


def mean_line(class_names: Sequence[str], *, background: int | None, argmax: bool) -> str:
    """Return which classes means cover, and which one has no distances or colour; empty for one class.

    Args:
        class_names: One per logit channel.
        background: Number of the class that they leave out; None: none.
        argmax: Whether the task is multiclass, where overlays leave class 0 as it is.

    Example:
        >>> mean_line(["background", "MA", "HE"], background=0, argmax=True)
        'mean over: MA, HE; without background (nor has it distances, lesion scores, or a colour in overlays)'
        >>> mean_line(["road", "sky"], background=None, argmax=True)
        'mean over: road, sky; overlays leave class 0 (road) without a colour'
    """
    if len(class_names) == 1:
        return ""
    line = covered(class_names, background)
    if background is not None:
        colour = ", or a colour in overlays" if argmax and background == 0 else ""
        line += f" (nor has it distances, lesion scores{colour})"
    if argmax and background != 0:
        line += f"; overlays leave class 0 ({class_names[0]}) without a colour"
    return line


def empty_line(empty: Empty) -> str:
    """Return what empty masks score where that is not the definition of every other run.

    Args:
        empty: Of the task.

    Example:
        >>> empty_line("nan"), empty_line("one")
        ('', 'empty: one: where prediction and reference are empty, an image scores 1')
    """
    said = {
        "nan": "",
        "one": "empty: one: where prediction and reference are empty, an image scores 1",
        "exclude": "empty: exclude: images without the class are left out, whatever is found in them",
    }
    return said[empty]


def absent_line(
    values: Mapping[str, float], class_names: Sequence[str], *, background: int | None, stage: str
) -> str:
    """Return which classes no scored image holds, so that they have no scores of their own.

    Args:
        values: As `StageScores.compute` names them.
        class_names: One per logit channel.
        background: Number of the background class; None: there is none.
        stage: "val" or "test".

    Example:
        >>> absent_line({"dice/a": 0.5, "dice/b": float("nan")}, ["a", "b"], background=None, stage="test")
        'in none of the test images: b; "-" where nothing can be scored'
    """
    absent = [
        name
        for index, name in enumerate(class_names)
        if index != background and math.isnan(values.get(f"dice/{name}", 0.0))
    ]
    where = f"in none of the {'validation' if stage == 'val' else stage} images"
    return f'{where}: {", ".join(absent)}; "-" where nothing can be scored' if absent else ""


def threshold_lines(
    class_names: Sequence[str], *, thresholds: Sequence[float] | None, reasons: Sequence[str] | None
) -> list[str]:
    """Say which threshold ``predict`` uses for every class, and why.

    Args:
        class_names: One per channel that has a threshold.
        thresholds: Of the checkpoint; None: no validation chose any.
        reasons: Of the checkpoint; None: it does not say them.

    Example:
        >>> threshold_lines(["a"], thresholds=[0.25], reasons=["best on 40 validation images"])
        ['threshold of predict: a 0.250 (best on 40 validation images)']
    """
    if thresholds is None:
        return ["threshold of predict: 0.5 (no validation images chose one)"]
    said = reasons if reasons is not None else ["chosen on the validation images"] * len(thresholds)
    parts = zip(class_names, thresholds, said, strict=True)
    return [f"threshold of predict: {name} {value:.3f} ({reason})" for name, value, reason in parts]


def calibration_line(values: Mapping[str, float]) -> str:
    """Return calibration error and likelihood of the scores as they are and recalibrated, in one line.

    Args:
        values: As `StageScores.compute` names them, and ``temperature``.

    Example:
        >>> calibration_line({"ece": 0.03, "nll": 0.2, "temperature": 0.5, "temperature_ece": 0.01,
        ...                   "temperature_nll": 0.1})
        'ECE / NLL: raw 0.0300 / 0.2000, temperature (T = 0.500) 0.0100 / 0.1000'
    """
    kinds = {"raw": "", "posterior": "posterior_"}
    if "temperature" in values:
        kinds = {"raw": "", f"temperature (T = {values['temperature']:.3f})": "temperature_"} | kinds
    parts = [
        f"{name} {shown(values[f'{prefix}ece'])} / {shown(values[f'{prefix}nll'])}"
        for name, prefix in kinds.items()
        if f"{prefix}ece" in values
    ]
    return f"ECE / NLL: {', '.join(parts)}"


def surface_line(
    values: Mapping[str, float], class_names: Sequence[str], *, unit: str, tolerance: float = 1.0
) -> str:
    """Return the surfaces' distances of every class in one line, empty where they were not measured.

    Args:
        values: As `StageScores.compute` names them.
        class_names: One per logit channel.
        unit: Of the distances, "mm" or "px".
        tolerance: Of NSD.

    Example:
        >>> surface_line({"hd95/a": 2.5, "nsd/a": 0.9}, ["background", "a"], unit="mm")
        'HD95 / NSD at 1 mm: a 2.50 mm / 0.9000'
    """
    parts = [
        f"{name} {_length(values[f'hd95/{name}'], unit)} / {shown(values[f'nsd/{name}'])}"
        for name in class_names
        if f"hd95/{name}" in values
    ]
    return f"HD95 / NSD at {tolerance:g} {unit}: {', '.join(parts)}" if parts else ""


def lesion_line(values: Mapping[str, float], class_names: Sequence[str]) -> str:
    """Return what was found of the lesions of every class in one line, empty where they were not counted.

    Args:
        values: As `StageScores.compute` names them.
        class_names: One per logit channel.

    Example:
        >>> lesion_line({"dataset_lesion_f1/MA": 0.5, "froc/MA": 0.25}, ["MA", "OD"])
        'lesion F1, data set / FROC: MA 0.5000 / 0.2500'
    """
    parts = [
        f"{name} {shown(values[f'dataset_lesion_f1/{name}'])} / {shown(values[f'froc/{name}'])}"
        for name in class_names
        if f"froc/{name}" in values
    ]
    return f"lesion F1, data set / FROC: {', '.join(parts)}" if parts else ""


def centreline_line(values: Mapping[str, float], class_names: Sequence[str]) -> str:
    """Return clDice of every class in one line, empty where there is none; args as ``lesion_line``.

    Example:
        >>> centreline_line({"cldice/vessel": 0.8}, ["vessel"])
        'clDice: vessel 0.8000'
    """
    parts = [
        f"{name} {shown(values[f'cldice/{name}'])}" for name in class_names if f"cldice/{name}" in values
    ]
    return f"clDice: {', '.join(parts)}" if parts else ""


def _add(
    table: Table,
    name: str,
    values: Mapping[str, float],
    suffix: str,
    *,
    tuned: str | None,
    argmax: bool,
    bayes: float | None,
) -> None:
    """Add the row at 0.5 with everything that has no threshold, and the row at the tuned one."""
    free = [_number(values.get(f"{score}{suffix}")) for score in ("aupr", "ece")]
    free += [] if bayes is None else [_number(bayes)]
    table.add_row(name, "argmax" if argmax else "0.5", *_overlaps(values, "", suffix), *free)
    if tuned is not None and not argmax and f"tuned_dice{suffix}" in values:
        table.add_row("", tuned, *_overlaps(values, "tuned_", suffix))


def _overlaps(values: Mapping[str, float], prefix: str, suffix: str) -> list[str]:
    names = [f"{level}{score}" for score in ("dice", "iou") for level in ("", "dataset_")]
    return [_number(values.get(f"{prefix}{name}{suffix}")) for name in names]


def _length(value: float, unit: str) -> str:
    return "-" if math.isnan(value) else f"{value:.2f} {unit}"


def _number(value: float | None) -> str:
    return "" if value is None else shown(value)
