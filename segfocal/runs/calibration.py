"""calibration.parquet: exact sums of squared error and -log likelihood per image, class and region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from segfocal.errors import SegfocalError, check_choice
from segfocal.runs.cases import replace_rows
from segfocal.runs.curves import ScoreKind
from segfocal.runs.layout import RunPaths

CALIBRATION_SCHEMA = pl.Schema(
    {
        "stage": pl.String,
        "checkpoint": pl.String,  # first 12 digits of its sha256; "" for weights that are in no file
        "kind": pl.String,  # raw, posterior (focal read-out) or temperature (scaled on validation)
        "temperature": pl.Float64,  # what the logits were divided by; null for posterior
        "name": pl.String,
        "class_index": pl.Int64,
        "class_name": pl.String,
        "region": pl.String,  # all, foreground, band
        "pixels": pl.Int64,  # not ignored, in the region
        "positives": pl.Int64,  # of those, labelled with the class
        "squared_error": pl.Float64,  # sum over the pixels of (p - label)^2
        "nll": pl.Float64,  # sum over the pixels of -log of what the label says, the class against the rest
        "nll_positive": pl.Float64,  # the part of nll of the positives
    }
)


def write_calibration(
    paths: RunPaths,
    columns: Mapping[str, ArrayLike],
    *,
    stage: str,
    checkpoint: str,
    kind: ScoreKind,
    temperature: float | None,
) -> None:
    """Put the sums of one evaluation into calibration.parquet, in place of those of the same evaluation.

    Args:
        paths: The run directory's paths.
        columns: What ``PixelCurves.likelihoods()`` returns.
        stage: "val", "test" or any other name.
        checkpoint: sha256 of the checkpoint, of which 12 digits are kept; "" for weights that are in no file.
        kind: "raw" scores, the focal "posterior", or after "temperature" scaling.
        temperature: What the logits were divided by; None for "posterior".

    Raises:
        SegfocalError: Where a column is missing, the old file is damaged, or the disk is full or read-only.
    """
    check_choice("kind", kind, get_args(ScoreKind))
    same = {"stage": stage, "checkpoint": checkpoint[:12], "kind": kind}
    given = {**same, "temperature": temperature}
    missing = [column for column in CALIBRATION_SCHEMA if column not in columns and column not in given]
    if missing:
        raise SegfocalError(f"columns for {paths.calibration.name} lack {', '.join(missing)}.")
    table = pl.DataFrame({column: np.asarray(values).tolist() for column, values in columns.items()})
    table = table.with_columns(pl.lit(value).alias(column) for column, value in given.items())
    rows = table.select(pl.col(column).cast(dtype) for column, dtype in CALIBRATION_SCHEMA.items())
    replace_rows(paths.calibration, rows, same=same)


def image_likelihoods(table: pl.LazyFrame, *, task: str) -> pl.LazyFrame:
    """Return negative log-likelihood and Brier score of each image over all its pixels.

    Args:
        table: Columns of ``CALIBRATION_SCHEMA``, and any others by which runs differ, such as ``run``.
        task: "multiclass" takes -log of the true class's probability and the squared error summed over
            classes, each pixel once; otherwise each class of each pixel counts for itself.

    Returns:
        Those others, stage, checkpoint, kind and name, then ``nll`` in nats and ``brier``, both means over
        pixels that are not ignored (and, but for multiclass, over classes).
    """
    own = ("temperature", "region", *CALIBRATION_SCHEMA.names()[5:])
    keys = [name for name in table.collect_schema().names() if name not in own]
    whole = table.filter(pl.col("region") == "all").group_by(keys, maintain_order=True)
    sums = whole.agg(pl.col("pixels", "positives", "squared_error", "nll", "nll_positive").sum())
    if task == "multiclass":  # every pixel is positive for one class
        top, bottom = "nll_positive", "positives"
    else:
        top, bottom = "nll", "pixels"
    scores = {"nll": pl.col(top) / pl.col(bottom), "brier": pl.col("squared_error") / pl.col(bottom)}
    return sums.select(*keys, **scores)
