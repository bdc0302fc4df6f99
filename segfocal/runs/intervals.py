"""Confidence intervals of a mean over seeds and clusters, which are crossed: every seed meets every cluster.

A cluster is what belongs together: the images of one patient or sequence, else one image. Its value is the
mean over its images, so that every cluster weighs the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from segfocal.errors import SegfocalError, check_range
from segfocal.runs.crossed import Array, crossed_variance, half_width, mean_squares

Covers = Literal["seeds and clusters", "clusters", "seeds", "nothing"]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and clusters, its interval, and where its variation comes from.

    Args:
        mean: Over all seeds x clusters.
        low: Lower end; NaN where one value alone gives none.
        high: Upper end.
        level: Share of repetitions that such intervals are meant to cover.
        degrees_of_freedom: Satterthwaite's; NaN without interval.
        seeds: Trainings per cluster.
        clusters: Clusters per seed.
        covers: The variation it speaks for. With one seed "clusters": other seeds may differ by more.
        seed_variance: Between seeds, at least 0; NaN where it cannot be told from the others.
        cluster_variance: Between clusters; with one seed the residual is in it.
        residual_variance: What neither explains; NaN with one seed or one cluster.
    """

    mean: float
    low: float
    high: float
    level: float
    degrees_of_freedom: float
    seeds: int
    clusters: int
    covers: Covers
    seed_variance: float
    cluster_variance: float
    residual_variance: float

    @property
    def excludes_zero(self) -> bool:
        """Whether both ends lie on one side of 0; False without interval."""
        return self.low > 0 or self.high < 0

    @property
    def shares(self) -> dict[str, float]:
        """Share of each source in the variance of one value (seed, cluster), adding to 1; NaN if unknown."""
        parts = {
            "seed": self.seed_variance,
            "cluster": self.cluster_variance,
            "residual": self.residual_variance,
        }
        total = sum(parts.values())
        return {name: part / total if total > 0 else math.nan for name, part in parts.items()}


def crossed_interval(values: ArrayLike, *, level: float = 0.95, centre: float | None = None) -> Interval:
    """Return the mean of a table of seeds x clusters with the interval of a two-way random-effects model.

    Half of its width is ``half_width``'s. With one seed or one cluster the interval is Student's over the
    other, and ``covers`` says so; with one value there is none.

    Args:
        values: (seeds, clusters), no value missing (see ``segfocal.runs.complete``).
        level: Of confidence.
        centre: The middle of the interval where it is not the mean, as for jackknife pseudo-values.

    Returns:
        The interval.

    Raises:
        SegfocalError: For another shape, an empty table, or missing values.

    Example:
        >>> found = crossed_interval([[1.0, 2.0, 3.0]])
        >>> found.mean, round(found.low, 3), found.covers
        (2.0, -0.484, 'clusters')
    """
    check_range("level", level, low=0.0, high=1.0, open_low=True, open_high=True)
    table = _checked(values)
    seeds, clusters = table.shape
    mean = float(table.mean()) if centre is None else centre
    half, freedom, parts = _spread(table, level)
    covers: Covers = "seeds and clusters" if min(seeds, clusters) > 1 else "nothing"
    if min(seeds, clusters) == 1 < max(seeds, clusters):
        covers = "clusters" if seeds == 1 else "seeds"
    return Interval(mean, mean - half, mean + half, level, freedom, seeds, clusters, covers, *parts)


def _checked(values: ArrayLike) -> Array:
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or table.size == 0:
        raise SegfocalError(
            f"values must have shape (seeds, clusters), at least one each, got {table.shape}."
        )
    if not np.isfinite(table).all():
        missing = int((~np.isfinite(table)).sum())
        raise SegfocalError(
            f"values must be complete, got {missing} of {table.size} missing or infinite. "
            "Choose seeds and clusters with segfocal.runs.complete first."
        )
    return table


def _spread(table: Array, level: float) -> tuple[float, float, tuple[float, float, float]]:
    """Half the width, degrees of freedom and the components of seed, cluster and residual; NaN for none."""
    from scipy.special import stdtrit

    (seeds, clusters), unknown = table.shape, math.nan
    if min(seeds, clusters) > 1:
        by_seed, by_cluster, residual = (float(part) for part in mean_squares(table))
        between = max(0.0, (by_seed - residual) / clusters), max(0.0, (by_cluster - residual) / seeds)
        freedom = float(crossed_variance(table)[2])
        return float(half_width(table, level=level)), freedom, (*between, residual)
    count = table.size
    if count == 1:
        return unknown, unknown, (unknown, unknown, unknown)
    single = float(table.var(ddof=1))
    parts = (unknown, single, unknown) if seeds == 1 else (single, unknown, unknown)
    return float(stdtrit(count - 1, (1 + level) / 2)) * math.sqrt(single / count), count - 1.0, parts
