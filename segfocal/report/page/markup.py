"""Small pieces of HTML; every text that comes from outside is escaped here and nowhere else."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import polars as pl

from segfocal.report.names import clean

NOTHING = "\u2013"
# what columns are called where their own name would not do
TITLES = {
    "rank": "#",
    "arm": "Arm",
    "baseline": "Baseline",
    "data": "Data",
    "runs": "Runs",
    "images": "Images",
    "dice": "Dice per image",
    "dice_low": "95 % low",
    "dice_high": "95 % high",
    "iou": "IoU per image",
    "precision": "Precision",
    "recall": "Recall",
    "dataset_dice": "Dice, data set",
    "dataset_iou": "IoU, data set",
    "tuned_dice": "Dice, tuned threshold",
    "worst_class": "Worst class",
    "worst_dice": "its Dice",
    "ece": "ECE",
    "nll": "NLL (nats)",
    "brier": "Brier",
    "aupr": "AUPR",
    "hd95": "HD95",
    "distance_unit": "HD95 in",
    "nsd": "NSD",
    "cldice": "clDice",
    "lesion_f1": "Lesion F1",
    "froc": "FROC",
    "trainable": "Trainable parameters",
    "parameters": "Parameters",
    "fit_s": "Training (s)",
    "class_index": "No.",
    "class_name": "Class",
    "found": "Difference",
    "share": "Share",
    "pixels": "Pixels",
    "kind": "Score",
    "region": "Region",
    "side": "Side",
    "hardest": "Hardest part",
    "dataset": "Data",
    "fraction": "Part of the training data",
    "role": "Role",
    "class": "Class",
    "threshold": "Threshold",
    "difference": "Difference",
    "low": "95 % low",
    "high": "95 % high",
    "p_holm": "p (Holm)",
    "clusters": "Clusters",
    "seeds": "Seeds",
    "verdict": "Verdict",
    "first": "First in (part of resamples)",
    "share_low": "lowest",
    "share_high": "highest",
    "share_of_all": "Share of both sides",
    "loss_name": "Loss",
    "reason": "Reason",
    "key": "Setting",
    "name": "Run",
    "run": "Folder",
    "checkpoint": "Checkpoint",
}


def text(value: object, *, longest: int = 2000) -> str:
    """Return any text as HTML: on one line, shortened, escaped.

    Example:
        >>> text("<script>")
        '&lt;script&gt;'
    """
    return escape(clean(str(value), longest=longest), quote=True)


def table(frame: pl.DataFrame, *, key: str, title: str) -> str:
    """Return a table whose columns can be sorted and which can be copied and filtered.

    Args:
        frame: Its rows.
        key: For the ids of its parts; letters, digits and dashes.
        title: Its caption.

    Returns:
        HTML.
    """
    numeric = [frame[column].dtype.is_numeric() for column in frame.columns]
    heads = "".join(
        f'<th scope="col" aria-sort="none"{_side(right)}><button type="button">'
        f"{text(TITLES.get(column, column))}</button></th>"
        for column, right in zip(frame.columns, numeric, strict=True)
    )
    body = "".join(
        f"<tr>{''.join(_cell(value, right=right) for value, right in zip(row, numeric, strict=True))}</tr>"
        for row in frame.iter_rows()
    )
    return (
        f'<div class="tools"><label>Filter <input type="search" data-filter="{key}" '
        f'aria-label="Filter {text(title)}"></label>'
        f'<button type="button" data-copy="{key}">Copy</button>'
        f'<span class="note" role="status" id="copied-{key}"></span></div>'
        f'<div class="wide" role="region" aria-label="Table: {text(title)}" tabindex="0">'
        f'<table id="table-{key}">'
        f"<caption>{text(title)}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(value: Any, *, right: bool) -> str:
    if value is None:
        return f"<td{_side(right)}>{NOTHING}</td>"
    sort = f' data-sort="{value!r}"' if right else ""
    return f"<td{_side(right)}{sort}>{number(value) if right else text(value)}</td>"


def _side(right: bool) -> str:
    return ' class="number"' if right else ""


def number(value: float) -> str:
    r"""Return a number for people: four digits after the point, whole numbers in groups of three.

    Example:
        >>> number(0.81234567), number(1234567)
        ('0.8123', '1\u202f234\u202f567')
    """
    if not math.isfinite(value):
        return NOTHING
    decimals = 0 if isinstance(value, int) or abs(value) >= 100 else 4
    return f"{value:,.{decimals}f}".replace(",", "\u202f")
