"""Two arms on the same images: differences per image, with the interval and the test of the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from segfocal.report.tables.scores import pick
from segfocal.runs.comparison import Comparison, compare
from segfocal.runs.read import scan_cases


@dataclass(frozen=True)
class Paired:
    """One arm against a baseline.

    Args:
        arm: The arm.
        baseline: What it is compared with.
        images: name, group, arm_score, baseline_score, difference (arm minus baseline, seeds averaged),
            sorted by difference.
        comparison: Interval and test over seeds and clusters; None where no seed of one arm met an image of
            the other.
        seeds: How the runs were paired, in words.
    """

    arm: str
    baseline: str
    images: pl.DataFrame
    comparison: Comparison | None
    seeds: str = ""


def image_scores(
    runs: pl.DataFrame, *, stage: str, score: str = "dice", class_name: str | None = None, tuned: bool = False
) -> pl.DataFrame:
    """Return one score per run and image.

    Args:
        runs: Of ``runs_table``; only those with readable scores.
        stage: "val" or "test".
        score: A column of ``cases.parquet``.
        class_name: One class; None averages over all but the background, as far as some image holds them and
            the empty-mask policy scores them.
        tuned: At the threshold chosen on validation.

    Returns:
        run, arm, name (of the image), group, seed, value; without images that the policy leaves out.
    """
    cases = scan_cases([Path(run) for run in runs["run"].to_list()])
    columns = ["run", "stage", "checkpoint", "threshold_kind", "name", "group", "class_name", "background"]
    columns += ["tp", "fn", "empty", score]
    rows = cases.select(columns).filter(pl.col("stage") == stage)
    if class_name is not None:
        rows = rows.filter(pl.col("class_name") == class_name)
    table = rows.collect().rename({"name": "image"})
    chosen = pick(table, runs, stage=stage, tuned=tuned)
    if class_name is None:
        chosen = chosen.filter(~pl.col("background").fill_null(False) & _held())
    means = chosen.group_by("run", "arm", "image", maintain_order=True).agg(
        pl.col("group").first(), pl.col(score).fill_nan(None).mean().alias("value")
    )
    seeds = runs.select("run", "seed")
    known = means.filter(pl.col("value").is_not_null()).join(seeds, on="run", maintain_order="left")
    return known.select("run", "arm", pl.col("image").alias("name"), "group", "seed", "value")


def _held() -> pl.Expr:
    """Whether some image holds the class (or both-empty counts as 1)."""
    held = (pl.col("tp") + pl.col("fn")).sum().over("run", "class_name") > 0
    return held | (pl.col("empty") == "one").fill_null(False)


def paired(values: pl.DataFrame, *, arm: str, baseline: str) -> Paired:
    """Compare an arm with a baseline on the images that both scored.

    Runs are paired by their seed, image by image, so that folds meet; where the arms have no seed in common,
    the means over each arm's runs are compared.

    Args:
        values: Of ``image_scores``.
        arm: An arm's name.
        baseline: Another's.

    Returns:
        Differences per image, and the comparison over seeds and clusters (``group``, else the image).
    """
    sides = [values.filter(pl.col("arm") == name) for name in (arm, baseline)]
    means = [side.group_by("name").agg(pl.col("group").first(), pl.col("value").mean()) for side in sides]
    images = (
        means[0]
        .rename({"value": "arm_score"})
        .join(means[1].select("name", pl.col("value").alias("baseline_score")), on="name")
        .with_columns((pl.col("arm_score") - pl.col("baseline_score")).alias("difference"))
        .sort("difference", "name")
    )
    differences = _differences(sides)
    found = None if differences.size == 0 else compare(differences)
    return Paired(arm, baseline, images, found, _pairing(sides))


def _differences(sides: Sequence[pl.DataFrame]) -> NDArray[np.float64]:
    """Return (pairs of runs, clusters), NaN where one of the two is missing."""
    seeds = [set(side["seed"].to_list()) for side in sides]
    if not seeds[0] & seeds[1] - {None}:  # nothing to pair by: of each arm the mean over its runs
        sides = [side.with_columns(pl.lit(0, pl.Int64).alias("seed")) for side in sides]
    # folds of one seed test different images; an image that several of them test counts with its mean
    first, second = (
        side.group_by("seed", "name").agg(pl.col("group").first(), pl.col("value").mean()) for side in sides
    )
    joined = first.join(second.select("seed", "name", other="value"), on=["seed", "name"]).rename(
        {"seed": "pair"}
    )
    cells = (
        joined.with_columns(pl.coalesce("group", "name").alias("cluster"))
        .group_by("pair", "cluster")
        .agg((pl.col("value") - pl.col("other")).mean().alias("difference"))
        .with_columns(
            pl.col("pair").rank("dense").alias("row") - 1, pl.col("cluster").rank("dense").alias("column") - 1
        )
    )
    if cells.is_empty():
        return np.empty((0, 0))
    rows, columns = cells["row"].to_numpy(), cells["column"].to_numpy()
    table = np.full((int(rows.max()) + 1, int(columns.max()) + 1), np.nan)
    table[rows, columns] = cells["difference"].to_numpy()
    return table


def _pairing(sides: Sequence[pl.DataFrame]) -> str:
    """Say which seeds are not in a comparison."""
    first, second = (set(side["seed"].drop_nulls().to_list()) for side in sides)
    if not first & second:
        return "no seed in common: means over each arm's runs are compared"
    alone = sorted(first ^ second)
    return f"without seeds {', '.join(map(str, alone))}, which one arm lacks" if alone else ""
