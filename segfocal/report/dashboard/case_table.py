"""Which images a reader sees for which runs, with their scores."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from segfocal.report.dashboard.filters import folder
from segfocal.report.dashboard.selection import MOST_RUNS, Selection
from segfocal.report.sources import Sources
from segfocal.report.tables.paired import image_scores

ORDERS = {"": "lowest score first", "difference": "largest difference first", "name": "name"}


def compared_runs(sources: Sources, chosen: Selection, *, root: Path) -> pl.DataFrame:
    """Return the runs that stand side by side: the chosen ones, else the first of the first two arms.

    Args:
        sources: The runs to show.
        chosen: What the reader chose.
        root: LOGDIR.

    Returns:
        At most four rows of ``sources.runs``, in the order of the choice.
    """
    runs = sources.scored_runs()
    places = {folder(run, root=root): place for place, run in enumerate(runs["run"].to_list())}
    wanted = [places[name] for name in chosen.run if name in places]
    if not wanted:
        firsts = runs.with_row_index("place").group_by("arm", maintain_order=True).first()
        wanted = firsts["place"].head(2).to_list()
    return runs[wanted[:MOST_RUNS]]


def case_table(sources: Sources, runs: pl.DataFrame, chosen: Selection) -> pl.DataFrame:
    """Return the score of every image for each run, in the order that was asked for.

    Args:
        sources: The runs to show.
        runs: Of ``compared_runs``.
        chosen: ``label`` names a class, ``order`` one of ``ORDERS``.

    Returns:
        image, one column per run ("0", "1", ...), difference (the first run minus the second).
    """
    label = chosen.label if chosen.label in class_names(sources) else None
    values = image_scores(runs, stage=sources.stage, class_name=label, tuned=sources.tuned)
    table = values.select(pl.col("name").alias("image")).unique().sort("image")
    for place, run in enumerate(runs["run"].to_list()):
        own = values.filter(pl.col("run") == run).select(
            pl.col("name").alias("image"), pl.col("value").alias(str(place))
        )
        table = table.join(own, on="image", how="left")
    first, second = (pl.col(name) if name in table.columns else pl.lit(None) for name in ("0", "1"))
    table = table.with_columns((first - second).cast(pl.Float64).alias("difference"))
    if chosen.order == "difference":
        return table.sort(pl.col("difference").abs(), "image", descending=[True, False], nulls_last=True)
    return table if chosen.order == "name" or runs.is_empty() else table.sort("0", "image", nulls_last=True)


def class_names(sources: Sources) -> list[str]:
    """Return the classes of all runs, each once, in the order of the tables."""
    order = sources.scores.select("class_index", "class_name").unique().sort("class_index", "class_name")
    return order["class_name"].unique(maintain_order=True).to_list()
