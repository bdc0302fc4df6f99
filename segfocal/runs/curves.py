"""curves.parquet: reliability and precision-recall bins per image, class and region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from segfocal.errors import SegfocalError, check_choice
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
    paths: RunPaths, columns: Mapping[str, ArrayLike], *, stage: str, checkpoint: str, kind: ScoreKind
) -> None:
    """Put the bins of one evaluation into curves.parquet, in place of those of the same evaluation.

    Args:
        paths: The run directory's paths.
        columns: What ``PixelCurves.curves()`` returns: column name to values, all of one length.
        stage: "val", "test" or any other name.
        checkpoint: sha256 of the checkpoint, of which 12 digits are kept; "" for weights that are in no file.
        kind: "raw" scores, the focal "posterior", or after "temperature" scaling.

    Raises:
        SegfocalError: Where a column is missing, the old file is damaged, or the disk is full or read-only.
    """
    check_choice("kind", kind, get_args(ScoreKind))
    same = {"stage": stage, "checkpoint": checkpoint[:12], "kind": kind}
    missing = [column for column in CURVES_SCHEMA if column not in columns and column not in same]
    if missing:
        raise SegfocalError(f"columns for {paths.curves.name} lack {', '.join(missing)}.")
    given = pl.DataFrame({column: np.asarray(values).tolist() for column, values in columns.items()})
    given = given.with_columns(pl.lit(value).alias(column) for column, value in same.items())
    table = given.select(pl.col(column).cast(dtype) for column, dtype in CURVES_SCHEMA.items())
    replace_rows(paths.curves, table.with_columns(pl.col("probability_sum").fill_nan(None)), same=same)
