"""Learning curves: what was logged while training, with a band over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from segfocal.errors import SegfocalError
from segfocal.runs.read import scan_metrics

_PARTS = r"^train/loss(/.+)?$|^train/(dice|iou|dataset_dice|dataset_iou)$|^val/(loss|dice|iou|dataset_dice)$"
LEARNING_NAMES = rf"{_PARTS}|^learning_rate$|^penalty/.+$"


def learning_curves(runs: pl.DataFrame, *, points: int = 200) -> pl.DataFrame:
    """Return what each arm logged in training.

    Args:
        runs: Of ``runs_table``.
        points: Most steps to keep per run and name; of longer logs every k-th and the last.

    Returns:
        arm, name, step, runs, mean, low, high: over the runs of the arm that logged the name at the step; the
        band from low to high is their range. Sorted. Runs whose log cannot be read add nothing.

    Example:
        >>> learning_curves(_no_runs()).columns
        ['arm', 'name', 'step', 'runs', 'mean', 'low', 'high']
    """
    usable = runs.filter(pl.col("problem").is_null())
    logs = _logs(usable["run"].to_list()).filter(
        pl.col("name").str.contains(LEARNING_NAMES) & pl.col("value").is_finite()
    )
    place = pl.int_range(pl.len()).over("run", "name")
    count = pl.len().over("run", "name")
    every = ((count + points - 1) // points).clip(lower_bound=1)
    thinned = logs.filter(((count - 1 - place) % every) == 0)
    arms = usable.select("run", "arm")
    return (
        thinned.join(arms, on="run", maintain_order="left")
        .group_by("arm", "name", "step")
        .agg(
            pl.len().cast(pl.Int64).alias("runs"),
            pl.col("value").mean().alias("mean"),
            pl.col("value").min().alias("low"),
            pl.col("value").max().alias("high"),
        )
        .sort("arm", "name", "step")
    )


def _logs(runs: Sequence[str]) -> pl.DataFrame:
    tables = [scan_metrics([]).collect()]
    for run in runs:
        try:
            tables.append(scan_metrics([run]).collect())
        except (SegfocalError, pl.exceptions.PolarsError, OSError):
            continue  # a damaged log hides its own curves, no other's
    return pl.concat(tables)


def _no_runs() -> pl.DataFrame:
    from segfocal.report.tables.runs import runs_table

    return runs_table([])
