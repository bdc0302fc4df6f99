"""Which arm is best: means over seeds with their intervals, over all classes and for each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl

from segfocal.report.tables.scalars import EXTRA_SCORES
from segfocal.report.tables.scores import MEASURED, SCORES
from segfocal.runs.intervals import crossed_interval

COSTS = ("trainable", "parameters", "fit_s")
FROM_CASES = (*SCORES, "dataset_dice", "dataset_iou", *MEASURED)
_UNIT = pl.col("distance_unit").drop_nulls().first()  # of hd95: mm or px


def run_board(scores: pl.DataFrame, runs: pl.DataFrame, *, scalars: pl.DataFrame) -> pl.DataFrame:
    """Return one row per run that has scores.

    Args:
        scores: Of ``pick``: one evaluation per run, a row per class.
        runs: Of ``runs_table``.
        scalars: Of ``last_scalars``.

    Returns:
        run, name, arm, seed, data (8 digits of its fingerprint), images; means over all classes
        but the background of ``FROM_CASES``; distance_unit (of hd95); worst_class and worst_dice;
        ``EXTRA_SCORES``; ``COSTS``.
    """
    counted = scores.filter(~pl.col("background"))
    worst = (
        counted.filter(pl.col("dice").is_not_null())
        .sort("dice", "class_index")
        .group_by("run", maintain_order=True)
        .agg(pl.col("class_name").first().alias("worst_class"), pl.col("dice").first().alias("worst_dice"))
    )
    means = counted.group_by("run", maintain_order=True).agg(
        pl.col("images").max(), *(pl.col(name).fill_nan(None).mean() for name in FROM_CASES), _UNIT
    )
    facts = runs.select("run", "name", "arm", "seed", pl.col("scored").str.head(8).alias("data"), *COSTS)
    joined = facts.join(means, on="run", how="inner", maintain_order="left")
    for table in (worst, scalars):
        joined = joined.join(table, on="run", how="left", maintain_order="left")
    return joined


def covered(scores: pl.DataFrame) -> str:
    """Return which classes the means of ``run_board`` cover, in words.

    Args:
        scores: Of ``pick``.

    Returns:
        As ``mean over: MA, HE; without background``; where runs differ, what each kind covers; how many runs
        were scored under another policy for empty masks, and how many under an older definition.
    """
    lines: dict[str, None] = {}
    kept = pl.col("class_name").filter(~pl.col("background"))
    left = pl.col("class_name").filter("background")
    for names, without in (
        scores.sort("class_index")
        .group_by("run", maintain_order=True)
        .agg(kept.alias("kept"), left.alias("left"))
        .select("kept", "left")
        .iter_rows()
    ):
        shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
        lines[f"mean over: {shown}" + (f"; without {', '.join(without)}" if without else "")] = None
    told = " | ".join(list(lines)[:4]) + (f" | {len(lines) - 4} more sets" if len(lines) > 4 else "")
    for policy in ("one", "exclude"):
        if count := scores.filter(empty=policy)["run"].n_unique():
            of = scores["run"].n_unique()
            told += f"; {count} of {of} runs are scored with empty: {policy}, which is another Dice"
    older = scores.filter("older")["run"].n_unique()
    note = (
        f"; {older} runs are from before that definition: Dice, IoU and distances are counted anew, AUPR, "
        "ECE and tuned Dice are as they were logged then"
    )
    return told + (note if older else "")


def leaderboard(
    board: pl.DataFrame, *, by: str = "dice", level: float = 0.95, known: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return one row per arm, the best first, data set by data set.

    Args:
        board: Of ``run_board``.
        by: The score to order by, higher first.
        level: Of the intervals.
        known: Numbers of arms that stand in place of those of their runs: a study's, by ``arm``.

    Returns:
        arm, runs, data, images; the mean over runs of every number of ``run_board``; dice_low and
        dice_high: Student's interval over seeds within [0, 1], null with one run; worst_class: that of the
        run with the lowest, see ``class_board``; rank among the arms of the same data.
    """
    numbers = [*FROM_CASES, "worst_dice", *EXTRA_SCORES, *COSTS]
    arms = board.group_by("arm", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("runs"),
        pl.col("data").first(),
        pl.col("images").max(),
        *(pl.col(name).mean() for name in numbers),
        _UNIT,
        pl.col("dice").alias("values"),
        pl.col("worst_class").sort_by("worst_dice", nulls_last=True).first(),
    )
    ends = [_ends(values, level=level) for values in arms["values"].to_list()]
    low = pl.Series("dice_low", [low for low, _ in ends], dtype=pl.Float64)
    high = pl.Series("dice_high", [high for _, high in ends], dtype=pl.Float64)
    table = arms.drop("values").with_columns(low, high)
    if known is not None:
        table = table.update(known, on="arm")
    order = table.sort("data", by, "arm", descending=[False, True, False], nulls_last=True)
    return order.select((1 + pl.int_range(pl.len())).over("data").alias("rank"), pl.all())


def class_board(scores: pl.DataFrame, *, level: float = 0.95) -> pl.DataFrame:
    """Return one row per arm and class.

    Args:
        scores: Of ``pick``.
        level: Of the intervals.

    Returns:
        arm, class_index, class_name, runs, and the means over runs of ``FROM_CASES`` with
        distance_unit, dice_low and dice_high as in ``leaderboard``; in the order of arms in
        ``scores``, then of classes.
    """
    table = scores.group_by("arm", "class_index", "class_name", maintain_order=True).agg(
        pl.len().cast(pl.Int64).alias("runs"),
        *(pl.col(name).fill_nan(None).mean() for name in FROM_CASES),
        _UNIT,
        pl.col("dice").alias("values"),
    )
    ends = [_ends(values, level=level) for values in table["values"].to_list()]
    return table.drop("values").with_columns(
        pl.Series("dice_low", [low for low, _ in ends], dtype=pl.Float64),
        pl.Series("dice_high", [high for _, high in ends], dtype=pl.Float64),
    )


def heat_map(scores: pl.DataFrame, *, score: str = "dice") -> pl.DataFrame:
    """Return one row per run and class: what a heat map shows.

    Args:
        scores: Of ``pick``.
        score: One of ``FROM_CASES``.

    Returns:
        name, arm, class_index, class_name, images and the score.
    """
    return scores.select("name", "arm", "class_index", "class_name", "images", score)


def _ends(values: Sequence[float | None], *, level: float) -> tuple[float | None, float | None]:
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return None, None
    found = crossed_interval([[value] for value in known], level=level)
    return max(0.0, found.low), min(1.0, found.high)
