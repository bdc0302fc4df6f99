"""Confidence intervals of a mean over seeds and clusters, which are crossed: every seed meets every cluster.

A cluster is what belongs together: the images of one patient or sequence, else one image. Its value is the
mean over its images, so that every cluster weighs the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segfocal.errors import SegfocalError, check_range

Array = NDArray[np.float64]
Covers = Literal["seeds and clusters", "clusters", "seeds", "nothing"]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and clusters, its interval, and where its variation comes from.

    Args:
        mean: Over all seeds x clusters.
        low: Lower end; NaN where one value alone gives none.
        high: Upper end.
        level: Share of repetitions that such intervals are meant to cover.
        degrees_of_freedom: Of the t quantile; NaN without interval.
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

    With one seed or one cluster the interval is Student's over the other, and ``covers`` says so; with one
    value there is none.

    Args:
        values: (seeds, clusters), no value missing (see ``segfocal.runs.complete``).
        level: Of confidence.
        centre: The middle of the interval where it is not the mean, as for jackknife pseudo-values.

    Returns:
        The interval; its variance is ``crossed_variance``'s.

    Raises:
        SegfocalError: For another shape, an empty table, or missing values.

    Source:
        F. E. Satterthwaite, An approximate distribution of estimates of variance components (1946).

    Example:
        >>> found = crossed_interval([[1.0, 2.0, 3.0]])
        >>> found.mean, round(found.low, 3), found.covers
        (2.0, -0.484, 'clusters')
    """
    from scipy.special import stdtrit

    check_range("level", level, low=0.0, high=1.0, open_low=True, open_high=True)
    table = _checked(values)
    seeds, clusters = table.shape
    mean = float(table.mean()) if centre is None else centre
    variance, freedom, parts = _variance(table)
    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance) if freedom > 0 else math.nan
    covers: Covers = "seeds and clusters" if min(seeds, clusters) > 1 else "nothing"
    if min(seeds, clusters) == 1 < max(seeds, clusters):
        covers = "clusters" if seeds == 1 else "seeds"
    return Interval(
        mean, mean - half, mean + half, level, freedom or math.nan, seeds, clusters, covers, *parts
    )


def crossed_variance(values: ArrayLike) -> tuple[Array, Array, Array]:
    """Return mean, variance of the mean and degrees of freedom of tables of seeds x clusters.

    ``Var = (MS_seed + MS_cluster - MS_residual) / (S n)``, the mean squares of a two-way table with one
    value per cell. The estimate can fall below what the residual alone gives, ``MS_residual / (S n)``, even
    below 0, while the variance cannot: then it is the residual's, with its (S - 1)(n - 1) degrees of
    freedom. Satterthwaite's degrees of freedom are at least 1.

    Args:
        values: (..., seeds, clusters), at least two of each, none missing.

    Returns:
        Three arrays of shape (...).
    """
    table = np.asarray(values, np.float64)
    seeds, clusters = table.shape[-2:]
    by_seed, by_cluster, residual = mean_squares(table)
    rest = (seeds - 1) * (clusters - 1)
    total = by_seed + by_cluster - residual
    spread = by_seed**2 / (seeds - 1) + by_cluster**2 / (clusters - 1) + residual**2 / rest
    small = total <= residual
    freedom = np.where(small, 1.0, total) ** 2 / np.where(small, 1.0, spread)
    variance = np.where(small, residual, total) / (seeds * clusters)
    return table.mean(axis=(-2, -1)), variance, np.where(small, float(rest), np.maximum(freedom, 1.0))


def mean_squares(table: Array) -> tuple[Array, Array, Array]:
    """Return the mean squares of seeds, clusters and residual of (..., seeds, clusters).

    Example:
        >>> [part.item() for part in mean_squares(np.array([[1.0, 2.0], [3.0, 8.0]]))]
        [16.0, 9.0, 4.0]
    """
    seeds, clusters = table.shape[-2:]
    rows, columns = table.mean(axis=-1, keepdims=True), table.mean(axis=-2, keepdims=True)
    mean = rows.mean(axis=-2, keepdims=True)
    rest = table - rows - columns + mean
    return (
        clusters * np.square(rows - mean).sum(axis=(-2, -1)) / (seeds - 1),
        seeds * np.square(columns - mean).sum(axis=(-2, -1)) / (clusters - 1),
        np.square(rest).sum(axis=(-2, -1)) / ((seeds - 1) * (clusters - 1)),
    )


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


def _variance(table: Array) -> tuple[float, float, tuple[float, float, float]]:
    """Variance of the mean, degrees of freedom (0: none) and the components of seed, cluster, residual."""
    (seeds, clusters), unknown = table.shape, math.nan
    if min(seeds, clusters) > 1:
        by_seed, by_cluster, residual = (float(part) for part in mean_squares(table))
        _, variance, freedom = crossed_variance(table)
        between = max(0.0, (by_seed - residual) / clusters), max(0.0, (by_cluster - residual) / seeds)
        return float(variance), float(freedom), (*between, residual)
    count = table.size
    if count == 1:
        return unknown, 0.0, (unknown, unknown, unknown)
    single = float(table.var(ddof=1))
    parts = (unknown, single, unknown) if seeds == 1 else (single, unknown, unknown)
    return single / count, float(count - 1), parts
