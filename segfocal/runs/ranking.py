"""How stable the order of arms is when other clusters could have been tested."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segfocal.errors import SegfocalError
from segfocal.runs.complete import complete_block


@dataclass(frozen=True)
class Ranking:
    """Ranks of arms, 1 the best.

    Args:
        first: (arms,) share of the bootstrap samples in which an arm has the highest mean; arms that tie
            share it, so that the shares add to 1.
        rank: (arms,) mean rank over the samples.
        seeds: Seeds that all arms have.
        clusters: Clusters that all arms have; samples draw as many of them, with replacement.
        samples: Bootstrap samples.
    """

    first: NDArray[np.float64]
    rank: NDArray[np.float64]
    seeds: int
    clusters: int
    samples: int


def rank_stability(scores: ArrayLike, *, samples: int = 2000, seed: int = 0) -> Ranking | None:
    """Rank arms over bootstrap samples of clusters.

    Clusters are drawn for all arms together, so that the pairing stays; seeds are averaged first and are
    taken as given.

    Args:
        scores: (arms, seeds, clusters), higher is better; NaN where missing. Used are the seeds and clusters
            that every arm has (``complete_block``).
        samples: How many to draw.
        seed: Of the draw: the same input gives the same output.

    Returns:
        The ranking, None where the arms have no seed and cluster in common.

    Raises:
        SegfocalError: For another shape.

    Example:
        >>> rank_stability([[[1.0, 1.0]], [[0.0, 0.5]]]).first.tolist()
        [1.0, 0.0]
    """
    from scipy.stats import rankdata

    table = np.asarray(scores, np.float64)
    if table.ndim != 3:
        raise SegfocalError(f"scores must have shape (arms, seeds, clusters), got {table.shape}.")
    seeds, clusters = complete_block(np.isfinite(table).all(axis=0))
    if not len(seeds) or not len(table):
        return None
    by_cluster = table[:, seeds][:, :, clusters].mean(axis=1)
    count = len(clusters)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)
    means = np.round(draws @ by_cluster.T / count, 12)
    best = means == means.max(axis=1, keepdims=True)
    first = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    ranks = rankdata(-means, axis=1).mean(axis=0)
    return Ranking(first, ranks, len(seeds), count, samples)
