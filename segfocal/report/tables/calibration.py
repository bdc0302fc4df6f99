"""Reliability and precision-recall from the bins of curves.parquet."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from segfocal.report.tables.scores import pick
from segfocal.runs.read import scan_curves

_BIN = ("class_index", "class_name", "low", "high")


def reliability(runs: pl.DataFrame, *, stage: str, region: str = "all") -> pl.DataFrame:
    """Return how often a score came true.

    Args:
        runs: Of ``runs_table``; only those whose ``curves.parquet`` can be read.
        stage: "val" or "test".
        region: all, foreground or band.

    Returns:
        Per arm, kind (raw, posterior, temperature), class and bin: pixels, confidence (their mean score) and
        frequency (the share labelled with the class), pooled over the images and runs of the arm. Sorted.

    Example:
        >>> from segfocal.report.tables.runs import runs_table
        >>> reliability(runs_table([]), stage="test").height
        0
    """
    bins = _bins(runs, stage=stage, curve="reliability", region=region)
    pixels = pl.col("pixels")
    return bins.with_columns(
        (pl.col("probability_sum") / pixels).alias("confidence"),
        (pl.col("positives") / pixels).alias("frequency"),
    ).drop("probability_sum")


def calibration_error(bins: pl.DataFrame) -> pl.DataFrame:
    """Return the expected calibration error of each curve: sum of |confidence - frequency| by pixels.

    Args:
        bins: Of ``reliability``.

    Returns:
        arm, kind, class_index, class_name, pixels, ece.
    """
    gap = (pl.col("confidence") - pl.col("frequency")).abs() * pl.col("pixels")
    return (
        bins.group_by("arm", "kind", "class_index", "class_name", maintain_order=True)
        .agg(pl.col("pixels").sum(), gap.sum().alias("gap"))
        .with_columns((pl.col("gap") / pl.col("pixels")).alias("ece"))
        .drop("gap")
    )


def precision_recall(runs: pl.DataFrame, *, stage: str) -> pl.DataFrame:
    """Return precision and recall at every threshold of the stored bins, raw scores.

    Args:
        runs: Of ``runs_table``.
        stage: "val" or "test".

    Returns:
        Per arm and class, thresholds falling: threshold (the lower edge of a bin), precision, recall, pixels
        above it. Pooled over the images and runs of the arm. Classes without a positive are left out.
    """
    bins = _bins(runs, stage=stage, curve="pr", region="all").filter(pl.col("kind") == "raw")
    over = ["arm", "class_index"]
    return (
        bins.sort("arm", "class_index", "low", descending=[False, False, True])
        .with_columns(
            pl.col("positives").cum_sum().over(over).alias("hits"),
            pl.col("pixels").cum_sum().over(over).alias("above"),
            pl.col("positives").sum().over(over).alias("total"),
        )
        .filter(pl.col("total") > 0)
        .select(
            "arm",
            "class_index",
            "class_name",
            pl.col("low").alias("threshold"),
            (pl.col("hits") / pl.col("above")).alias("precision"),
            (pl.col("hits") / pl.col("total")).alias("recall"),
            pl.col("above").alias("pixels"),
        )
    )


def _bins(runs: pl.DataFrame, *, stage: str, curve: str, region: str) -> pl.DataFrame:
    """Sum the bins over images per run, then choose each run's checkpoint, then sum over an arm's runs."""
    wanted = (pl.col("stage") == stage) & (pl.col("curve") == curve) & (pl.col("region") == region)
    sums = [pl.col(name).sum() for name in ("pixels", "positives", "probability_sum")]
    keys = ["run", "stage", "checkpoint", "kind", *_BIN]
    tables = []
    for run in runs["run"].to_list():
        try:
            scanned = scan_curves([Path(run)]).filter(wanted).group_by(keys).agg(sums).collect()
        except (pl.exceptions.PolarsError, OSError):
            continue  # a damaged file hides its own curves, no other's
        tables.append(scanned.sort(keys))
    if not tables:
        tables = [scan_curves([]).group_by(keys).agg(sums).collect()]
    chosen = pick(pl.concat(tables), runs, stage=stage)
    return chosen.group_by("arm", "kind", *_BIN).agg(sums).sort("arm", "kind", "class_index", "low")
