"""curves.parquet: reliability and precision-recall bins per image, class and region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import polars as pl

from segfocal.errors import check_choice
from segfocal.runs.cases import replace_rows
from segfocal.runs.layout import RunPaths

ScoreKind = Literal["raw", "posterior", "temperature"]

CURVES_SCHEMA = pl.Schema(
    {
        "stage": pl.String,
        "checkpoint": pl.String,  # first 12 digits of its sha256; "" for weights that are in no file
        "kind": pl.String,  # raw, posterior (focal read-out) or temperature (scaled on validation)
        "name": pl.String,
        "class_index": pl.Int64,
        "class_name": pl.String,
        "region": pl.String,  # all, foreground, band
        "curve": pl.String,  # reliability: equal-width bins; pr: bins of equal relative width, region all
        "low": pl.Float64,  # the bin holds low <= p < high, the last bin p = 1 too
        "high": pl.Float64,
        "pixels": pl.Int64,
        "positives": pl.Int64,  # pixels labelled with the class
        "probability_sum": pl.Float64,  # over the pixels; null for pr
    }
)


def write_curves(
    paths: RunPaths, rows: Iterable[Mapping[str, Any]], *, stage: str, checkpoint: str, kind: ScoreKind
) -> None:
    """Put the bins of one evaluation into curves.parquet, in place of those of the same evaluation.

    Args:
        paths: The run directory's paths.
        rows: What ``PixelCurves.curves()`` returns.
        stage: "val", "test" or any other name.
        checkpoint: sha256 of the checkpoint, of which 12 digits are kept; "" for weights that are in no file.
        kind: "raw" scores, the focal "posterior", or after "temperature" scaling.

    Raises:
        SegfocalError: Where a row lacks a column, the old file is damaged, or the disk is full or read-only.
    """
    check_choice("kind", kind, get_args(ScoreKind))
    same = {"stage": stage, "checkpoint": checkpoint[:12], "kind": kind}
    replace_rows(paths.curves, [{**row, **same} for row in rows], schema=CURVES_SCHEMA, same=same)
