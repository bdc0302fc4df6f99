"""Two arms compared on the same seeds and clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from segfocal.errors import SegfocalError
from segfocal.runs.complete import complete_block
from segfocal.runs.intervals import Interval, crossed_interval
from segfocal.runs.sample_size import units_needed
from segfocal.runs.signedrank import SignedRank, fewest_clusters, signed_rank, smallest_p


@dataclass(frozen=True)
class Comparison:
    """The paired difference of two arms.

    Args:
        interval: Of the mean difference over seeds and clusters.
        test: Signed-rank test on the clusters' differences, averaged over seeds: it takes these seeds as
            given, the interval does not.
        wins: Clusters whose seed-averaged difference is above 0.
        ties: Those within ``tie`` of 0.
        losses: Those below.
        seeds_left_out: Seeds that one arm or both lack, wholly or for clusters that stayed.
        clusters_left_out: Clusters likewise.
    """

    interval: Interval
    test: SignedRank
    wins: int
    ties: int
    losses: int
    seeds_left_out: int
    clusters_left_out: int

    @property
    def smallest_p(self) -> float:
        """The smallest p that this many clusters allow."""
        return smallest_p(self.test.clusters)

    def clusters_needed(self, *, level: float = 0.05) -> int | None:
        """Return how many clusters would show this difference with these seeds.

        See ``units_needed``; never fewer than with which the test can reach the level.
        """
        parts = self.interval
        found = units_needed(
            parts.mean,
            variance=parts.cluster_variance,
            residual=_known(parts.residual_variance),
            others=parts.seeds,
            other_variance=_known(parts.seed_variance),
            level=level,
        )
        return None if found is None else max(found, fewest_clusters(level))

    def seeds_needed(self, *, level: float = 0.05) -> int | None:
        """Return how many seeds would show this difference on these clusters; None also for one seed."""
        parts = self.interval
        return units_needed(
            parts.mean,
            variance=parts.seed_variance,
            residual=_known(parts.residual_variance),
            others=parts.clusters,
            other_variance=_known(parts.cluster_variance),
            level=level,
        )


def compare(differences: ArrayLike, *, tie: float = 0.0) -> Comparison | None:
    """Compare two arms by their paired differences.

    Args:
        differences: (seeds, clusters): of each cluster's images, arm minus baseline, averaged; NaN where one
            of the two is missing. Only seeds and clusters without a gap between them are used
            (``complete_block``).
        tie: Largest absolute difference that counts as a tie.

    Returns:
        The comparison; None where no value is left.

    Raises:
        SegfocalError: For another shape.

    Example:
        >>> found = compare([[0.1, 0.3, -0.1], [0.2, 0.4, 0.1]])
        >>> round(found.interval.mean, 3), found.wins, found.ties, found.test.p_value
        (0.167, 2, 1, 0.5)
    """
    table = np.asarray(differences, np.float64)
    if table.ndim != 2:
        raise SegfocalError(f"differences must have shape (seeds, clusters), got {table.shape}.")
    seeds, clusters = complete_block(np.isfinite(table))
    if not len(seeds):
        return None
    block = table[np.ix_(seeds, clusters)]
    by_cluster = np.round(block.mean(axis=0), 12)
    ties = int((np.abs(by_cluster) <= tie).sum())
    wins = int((by_cluster > tie).sum())
    return Comparison(
        interval=crossed_interval(block),
        test=signed_rank(by_cluster),
        wins=wins,
        ties=ties,
        losses=by_cluster.size - ties - wins,
        seeds_left_out=table.shape[0] - len(seeds),
        clusters_left_out=table.shape[1] - len(clusters),
    )


def _known(variance: float) -> float:
    return 0.0 if math.isnan(variance) else variance
