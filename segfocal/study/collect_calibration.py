"""Calibration of the arms' scores: as they are, with the focal loss undone, and after temperature scaling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from segfocal.runs.info import background_of_run
from segfocal.runs.read import scan_calibration, scan_curves
from segfocal.study.collect import Collection
from segfocal.study.collect_logs import arms_of, seeds_interval
from segfocal.study.report_differences import limited

KINDS = ("raw", "posterior", "temperature")
SCORES = ("ece", "brier", "nll")
_ABSENT = {"raw": "not recorded", "posterior": "not valid for this loss", "temperature": "not fitted"}
_RUNS_AT_ONCE = 20
_ARM = ("dataset", "fraction", "arm", "multiclass", "background")
_WHAT = ("kind", "region", "class_index", "class_name")

Row = dict[str, Any]


def calibration_rows(found: Collection) -> list[Row]:
    """Return calibration error, Brier score and likelihood by kind of score and region.

    Each is pooled: summed over the pixels of all test images of a seed, then divided by their number; classes
    and their mean as in ``segfocal.metrics.PixelCurves``. The interval is over seeds.

    Args:
        found: The study, with the tested checkpoint of every finished cell.

    Returns:
        Rows of the table ``calibration``, by data set, fraction, arm, kind, region, score and class. A kind
        that no cell of an arm recorded has one row, whose status says why.
    """
    values = _by_seed(found)
    columns = ["dataset", "fraction", "arm", "kind", "region", "score", "class"]
    seeds: dict[tuple[Any, ...], list[float]] = {}
    for *key, value in values.select(*columns, "value").iter_rows():
        seeds.setdefault(tuple(key), []).append(value)
    measured: dict[tuple[Any, ...], list[Row]] = {}
    for (*place, region, score, name), own in seeds.items():
        means = limited(seeds_interval(own), low=0.0, high=math.inf if score == "nll" else 1.0)
        row = {"region": region, "score": score, "class": name, **means, "status": "measured"}
        measured.setdefault(tuple(place), []).append(row)
    rows: list[Row] = []
    for where, _ in arms_of(found):
        recorded = (*where.values(), "raw") in measured
        for kind in KINDS:
            absent = [{"status": _ABSENT[kind if recorded else "raw"]}]
            own_rows = measured.get((*where.values(), kind), absent)
            rows += [{**where, "kind": kind, **row} for row in own_rows]
    return rows


def _by_seed(found: Collection) -> pl.DataFrame:
    """One value per seed: columns of arm and data, kind, region, score, class, seed, value, sorted."""
    bins = _per_run(scan_curves, found, (*_WHAT, "low"), ("pixels", "positives", "probability_sum"))
    sums = _per_run(
        scan_calibration, found, _WHAT, ("pixels", "positives", "squared_error", "nll", "nll_positive")
    )
    keys = [*_ARM, "seed", *_WHAT]
    pooled = bins.group_by(*keys, "low", maintain_order=True).agg(
        (pl.col("probability_sum").sum() - pl.col("positives").sum()).abs().alias("ece"),
        pl.col("pixels").sum(),
    )
    errors = pooled.sort("low").group_by(keys, maintain_order=True).agg(pl.col("ece", "pixels").sum())
    exact = sums.group_by(keys, maintain_order=True).agg(
        pl.col("pixels", "positives", "nll", "nll_positive").sum(),
        pl.col("squared_error").sum().alias("brier"),
    )
    order = pl.col("score").replace_strict({name: place for place, name in enumerate(SCORES)})
    every = pl.concat([_long(errors, ("ece",)), _long(exact, ("brier", "nll"))])
    return every.sort(*_ARM, "kind", "region", order, "class_index", "seed")


def _per_run(
    scan: Callable[[Sequence[Path]], pl.LazyFrame],
    found: Collection,
    keys: Sequence[str],
    sums: Sequence[str],
) -> pl.DataFrame:
    """Sum columns over the images of each finished cell's test, a few runs at a time: bins are many."""
    cells, parts = found.done, []
    wanted = pl.col("stage") == "test"
    for start in range(0, len(cells), _RUNS_AT_ONCE):
        table = scan([cell.run for cell in cells[start : start + _RUNS_AT_ONCE]])
        if "curve" in table.collect_schema():
            table = table.filter(pl.col("curve") == "reliability")
        rows = table.filter(wanted).group_by("run", "checkpoint", *keys).agg(pl.col(*sums).sum())
        parts.append(rows.sort("run", "checkpoint", *keys).collect())
    facts = [
        {
            "run": cell.run.as_posix(),
            "checkpoint": cell.checkpoint,
            **{name: getattr(cell, name) for name in ("dataset", "fraction", "arm", "seed")},
            "multiclass": cell.info.get("task") == "multiclass",
            "background": -1 if (left_out := background_of_run(cell.info)) is None else left_out,
        }
        for cell in cells
    ]
    return pl.concat(parts).join(pl.DataFrame(facts), on=["run", "checkpoint"], maintain_order="left")


def _long(table: pl.DataFrame, scores: tuple[str, ...]) -> pl.DataFrame:
    """Divide by pixels, and add the mean over the classes as class "mean", index -1."""
    parts = []
    keys = [*_ARM, "seed", "kind", "region"]
    for score in scores:
        each = table.with_columns((pl.col(score) / pl.col("pixels")).alias("value"))
        several = pl.col("class_index").n_unique().over(*_ARM) > 1
        mean, ours = pl.col("value").mean(), pl.col("class_index") != pl.col("background")
        if score == "nll":  # of the true class, each pixel once
            true = pl.col("nll_positive").sum() / pl.col("positives").sum()
            mean = pl.when(pl.col("multiclass").first()).then(true).otherwise(mean)
            ours = ours | ((pl.col("region") != "foreground") & pl.col("multiclass"))
        means = (
            each.filter(ours).sort("class_index").group_by(keys, maintain_order=True).agg(mean.alias("value"))
        )
        named = means.with_columns(pl.lit(-1, pl.Int64).alias("class_index"), pl.lit("mean").alias("class"))
        singles = each.filter(several).with_columns(pl.col("class_name").alias("class"))
        columns = [*keys, "class_index", "class", "value"]
        both = pl.concat([named.select(columns), singles.select(columns)])
        known = pl.col("value").is_not_null() & pl.col("value").is_not_nan()
        parts.append(both.filter(known).with_columns(pl.lit(score).alias("score")))
    return pl.concat(parts)
