"""Which cases tell most: the worst, the middle, and those on which runs differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

CHOSEN = 24


def choose_cases(scores: pl.DataFrame, *, available: Iterable[str], count: int | None = CHOSEN) -> list[str]:
    """Return the images to show.

    Args:
        scores: Of ``image_scores``: one value per run and image.
        available: Images of which at least one run keeps pictures.
        count: How many; None for all.

    Returns:
        Names: a third with the lowest mean score, a third with the largest difference between runs, a third
        around the median, in the order of the mean score. Images without a score come only where there is
        room.

    Example:
        >>> table = pl.DataFrame({"run": ["r"] * 3, "name": ["a", "b", "c"], "value": [0.9, 0.1, 0.5]})
        >>> choose_cases(table, available=["a", "b", "c"], count=1)
        ['b']
    """
    pictured = dict.fromkeys(available)
    by_image = (
        scores.filter(pl.col("name").is_in(list(pictured)))
        .group_by("name")
        .agg(
            pl.col("value").mean().alias("mean"),
            (pl.col("value").max() - pl.col("value").min()).alias("spread"),
        )
        .sort("mean", "name")
    )
    order = by_image["name"].to_list()
    unscored = [name for name in pictured if name not in set(order)]
    if count is None or len(pictured) <= count:
        return order + unscored
    apart = by_image.sort("spread", "name", descending=[True, False])["name"].to_list()
    middle = sorted(order, key=lambda name: abs(order.index(name) - len(order) // 2))
    chosen = set(_take_turns([order, apart, middle], count))
    return [name for name in order if name in chosen] + unscored[: count - len(chosen)]


def _take_turns(lists: Sequence[Sequence[str]], count: int) -> list[str]:
    """Take from each list in turn what is not yet taken."""
    taken: dict[str, None] = {}
    for places in zip(*lists, strict=True):
        for name in places:
            if len(taken) < count:
                taken[name] = None
    return list(taken)
