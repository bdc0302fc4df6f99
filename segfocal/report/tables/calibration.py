"""Reliability and precision-recall from the bins of curves.parquet, likelihoods from calibration.parquet."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from segfocal.errors import SegfocalError
from segfocal.report.tables.scores import pick
from segfocal.runs.read import scan_calibration, scan_curves

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


def calibration_scores(runs: pl.DataFrame, *, stage: str) -> pl.DataFrame:
    """Return calibration error, Brier score and likelihood of each arm.

    Args:
        runs: Of ``runs_table``; only those whose tables can be read.
        stage: "val" or "test".

    Returns:
        arm, kind, region (all, foreground, band), class_index, class_name, runs, pixels (of all runs), and as
        means over the runs: ece (sum over 15 bins of |sum of p - positives| over pixels), and brier and nll
        (nats) from exact sums, each class against the rest; null where a run has none. Sorted.

    Example:
        >>> from segfocal.report.tables.runs import runs_table
        >>> calibration_scores(runs_table([]), stage="test").height
        0
    """
    keys = ["run", "stage", "checkpoint", "kind", "region", "class_index", "class_name"]
    gap = (pl.col("probability_sum") - pl.col("positives")).abs()
    tables = {"bins": [_errors(scan_curves([]), keys, gap)], "sums": [_exact(scan_calibration([]), keys)]}
    for run in map(Path, runs["run"].to_list()):
        try:
            errors, exact = _errors(scan_curves([run]), keys, gap), _exact(scan_calibration([run]), keys)
        except (SegfocalError, pl.exceptions.PolarsError, OSError):
            continue  # a damaged file hides its own numbers, no other's
        tables["bins"].append(errors)
        tables["sums"].append(exact)
    errors, exact = (pl.concat(found) for found in tables.values())
    each = pick(errors.join(exact, on=keys, how="left"), runs, stage=stage)
    over = ["arm", "kind", "region", "class_index", "class_name"]
    means = (
        pl.len().cast(pl.Int64).alias("runs"),
        pl.col("pixels").sum(),
        pl.col("ece", "brier", "nll").mean(),
    )
    return each.group_by(over).agg(means).sort("region", "class_index", "arm", "kind")


def _errors(bins: pl.LazyFrame, keys: list[str], gap: pl.Expr) -> pl.DataFrame:
    """Return pixels and calibration error of each run, from its bins pooled over images."""
    pooled = (
        bins.filter(pl.col("curve") == "reliability")
        .group_by(*keys, "low")
        .agg(pl.col("pixels", "positives", "probability_sum").sum())
    )
    summed = pooled.sort("low").group_by(keys).agg(gap.sum().alias("gap"), pl.col("pixels").sum())
    return summed.select(*keys, "pixels", ece=pl.col("gap") / pl.col("pixels")).sort(keys).collect()


def _exact(sums: pl.LazyFrame, keys: list[str]) -> pl.DataFrame:
    """Return Brier score and likelihood of each run, from its sums pooled over images."""
    pooled = sums.group_by(keys).agg(pl.col("pixels", "squared_error", "nll").sum())
    scores = {
        name: pl.col(top) / pl.col("pixels") for name, top in (("brier", "squared_error"), ("nll", "nll"))
    }
    return pooled.select(*keys, **scores).sort(keys).collect()


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
        except (SegfocalError, pl.exceptions.PolarsError, OSError):
            continue  # a damaged file hides its own curves, no other's
        tables.append(scanned.sort(keys))
    if not tables:
        tables = [scan_curves([]).group_by(keys).agg(sums).collect()]
    chosen = pick(pl.concat(tables), runs, stage=stage)
    return chosen.group_by("arm", "kind", *_BIN).agg(sums).sort("arm", "kind", "class_index", "low")
