"""Scores of summed counts, one per seed, and how they vary with the clusters that were tested."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from segfocal.errors import SegfocalError

Array = NDArray[np.float64]


def pseudo_values(counts: Array, score: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Return a data-set-level score per seed and its jackknife pseudo-values per seed and cluster.

    Such a score is no mean over clusters: Dice of summed counts is one quotient. The pseudo-value of cluster
    j is ``n theta - (n - 1) theta_(-j)``, theta_(-j) being the score without it; their spread over clusters
    is the score's, so that ``crossed_interval`` holds for them as it does for scores per image.

    Args:
        counts: (seeds, clusters, ...): summed over each cluster's images.
        score: From counts summed over clusters, (..., what follows), to (...).

    Returns:
        Scores (seeds,) and pseudo-values (seeds, clusters); with one cluster the scores themselves.

    Raises:
        SegfocalError: For fewer than two axes.

    Source:
        J. W. Tukey, Bias and confidence in not-quite large samples (1958).

    Example:
        >>> sums = np.array([[[1.0, 1.0], [2.0, 1.0], [6.0, 1.0]]])  # a mean: its parts are the values
        >>> whole, parts = pseudo_values(sums, lambda total: total[..., 0] / total[..., 1])
        >>> whole.tolist(), parts.tolist()
        ([3.0], [[1.0, 2.0, 6.0]])
    """
    if counts.ndim < 2:
        raise SegfocalError(f"counts must have shape (seeds, clusters, ...), got {counts.shape}.")
    total = counts.sum(axis=1)
    whole, number = score(total), counts.shape[1]
    if number == 1:
        return whole, whole[:, None]
    without = score(total[:, None] - counts)
    return whole, number * whole[:, None] - (number - 1) * without
