"""cases.parquet: one row per stage, image and class, with its counts and scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from segfocal.errors import SegfocalError, check_choice
from segfocal.runs.layout import RunPaths
from segfocal.runs.write import locked, write_parquet

ThresholdKind = Literal["fixed", "tuned", "argmax"]

CASES_SCHEMA = pl.Schema(
    {
        "stage": pl.String,  # val, test, or what the caller calls it
        "checkpoint": pl.String,  # first 12 digits of its sha256; "" for weights that are in no file
        "epoch": pl.Int64,  # epochs behind those weights
        "threshold_kind": pl.String,  # fixed, tuned on validation, or argmax
        "name": pl.String,  # the image
        "group": pl.String,  # patient, sequence: images that belong together; null where unknown
        "class_index": pl.Int64,
        "class_name": pl.String,
        "threshold": pl.Float64,  # null for argmax
        "tp": pl.Int64,
        "fp": pl.Int64,
        "fn": pl.Int64,
        "tn": pl.Int64,
        "pixels": pl.Int64,  # not ignored: tp + fp + fn + tn
        "dice": pl.Float64,  # this and the following: null where the empty-mask policy leaves the case out
        "iou": pl.Float64,
        "precision": pl.Float64,
        "recall": pl.Float64,
        "hd95": pl.Float64,  # this and the following: null where surfaces were not measured
        "nsd": pl.Float64,
        "distance_unit": pl.String,  # mm, or px for images without a spacing
        "lesion_tp": pl.Int64,  # this and the following: null where lesions were not counted
        "lesion_fp": pl.Int64,
        "lesion_fn": pl.Int64,
        "lesion_f1": pl.Float64,  # null too where the empty-mask policy leaves the case out
        "cldice": pl.Float64,  # null where centrelines were not compared
        "empty": pl.String,  # what empty masks scored: one, nan, exclude
        "background": pl.Boolean,  # whether means over classes leave the class out
        "step": pl.Int64,  # optimizer steps behind those weights
    }
)
# tables that were written before these were measured lack them
OPTIONAL = (
    *("hd95", "nsd", "distance_unit"),
    *("lesion_tp", "lesion_fp", "lesion_fn", "lesion_f1", "cldice"),
    *("empty", "background", "step"),
)


def write_cases(
    paths: RunPaths,
    rows: Iterable[Mapping[str, Any]],
    *,
    stage: str,
    checkpoint: str,
    epoch: int,
    threshold_kind: ThresholdKind,
    groups: Mapping[str, str] | None = None,
    step: int | None = None,
) -> None:
    """Put the rows of one evaluation into cases.parquet, in place of those of the same evaluation.

    The same evaluation means the same stage, checkpoint and kind of threshold; all other rows stay.

    Args:
        paths: The run directory's paths.
        rows: What ``SegmentationScores.cases()`` returns; keys without a column are dropped (F-beta follows
            from the counts).
        stage: "val", "test" or any other name.
        checkpoint: sha256 of the checkpoint, of which 12 digits are kept; "" for weights that are in no file.
        epoch: Epochs of training behind those weights.
        threshold_kind: "fixed", "tuned" on validation, or "argmax".
        groups: Image name to patient or sequence.
        step: Optimizer steps behind those weights; None where nobody knows.

    Raises:
        SegfocalError: Where a row lacks a column, the old file is damaged, or the disk is full or read-only.
    """
    check_choice("threshold_kind", threshold_kind, get_args(ThresholdKind))
    same = {"stage": stage, "checkpoint": checkpoint[:12], "threshold_kind": threshold_kind}
    given = {**same, "epoch": epoch, "step": step}
    known = groups or {}
    full = [
        {**dict.fromkeys(OPTIONAL), **row, **given, "group": known.get(str(row.get("name")))} for row in rows
    ]
    missing = {column for row in full for column in CASES_SCHEMA if column not in row}
    if missing:
        raise SegfocalError(f"rows for {paths.cases.name} lack {', '.join(sorted(missing))}.")
    table = [{column: row[column] for column in CASES_SCHEMA} for row in full]
    replace_rows(paths.cases, pl.DataFrame(table, schema=CASES_SCHEMA), same=same)


def replace_rows(path: Path, new: pl.DataFrame, *, same: Mapping[str, str]) -> None:
    """Replace the rows of a table whose columns equal ``same`` by new ones, atomically, one writer at a time.

    Args:
        path: The Parquet file; it is made where missing.
        new: The new rows, with the columns of the file.
        same: Column to value: which old rows go.

    Raises:
        SegfocalError: Where the old file is damaged or has other columns, or it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        old = read_table(path, schema=new.schema)
        gone = pl.all_horizontal([pl.col(column) == value for column, value in same.items()])
        write_parquet(path, pl.concat([old.filter(~gone), new]))


def read_table(path: Path, *, schema: pl.Schema) -> pl.DataFrame:
    """Return a table, empty where the file is missing.

    Args:
        path: A Parquet file.
        schema: The columns it must have.

    Returns:
        Its rows with exactly these columns.

    Raises:
        SegfocalError: Where it is no Parquet file or lacks a column.
    """
    if not path.is_file():
        return schema.to_frame()
    try:
        table = pl.read_parquet(path)
        absent = [name for name in OPTIONAL if name in schema and name not in table.columns]
        table = table.with_columns(pl.lit(None).alias(name) for name in absent)
        return table.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise SegfocalError(
            f"{path} must be a Parquet table with the columns {', '.join(schema)}, got: {error}. "
            "Move it away and run the evaluation again."
        ) from error
