"""The paired test of two arms, its correction for several contrasts, and what it can show at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segfocal.errors import SegfocalError, check_range

EXACT_UP_TO = 100
_DIGITS = 12  # differences of means that are equal on paper differ in the last bits


@dataclass(frozen=True)
class SignedRank:
    """Result of Wilcoxon's signed-rank test.

    Args:
        p_value: Two-sided; 1 where every difference is 0.
        statistic: Sum of the ranks of the positive differences.
        clusters: Differences given.
        zeros: Those equal to 0, which are left out before ranking, as Wilcoxon did.
        exact: Whether p comes from all sign patterns and not from the normal approximation.
    """

    p_value: float
    statistic: float
    clusters: int
    zeros: int
    exact: bool


def signed_rank(differences: ArrayLike) -> SignedRank:
    """Test whether differences of clusters are symmetric around 0, two-sided.

    Up to 100 non-zero differences p is exact also with ties: the share of the 2^n sign patterns, given the
    (mean) ranks, whose rank sum lies as far from its middle. Beyond, scipy's normal approximation with
    correction for ties. Differences are rounded to 12 decimals, so that rounding breaks no tie.

    Args:
        differences: (clusters,): one number per cluster, averaged over its images and over seeds.

    Returns:
        The test.

    Raises:
        SegfocalError: For another shape or values that are not finite.

    Source:
        F. Wilcoxon, Individual comparisons by ranking methods (1945).

    Example:
        >>> signed_rank([0.1, 0.2, 0.3, 0.4]).p_value
        0.125
    """
    from scipy import stats

    values = np.asarray(differences, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise SegfocalError(f"differences must be finite, of shape (clusters,), got {values.shape}.")
    values = np.round(values, _DIGITS)
    kept = values[values != 0]
    if not kept.size:
        return SignedRank(1.0, 0.0, values.size, values.size, True)
    ranks = stats.rankdata(np.abs(kept))
    statistic = float(ranks[kept > 0].sum())
    exact = kept.size <= EXACT_UP_TO
    p = _exact_p(ranks, statistic) if exact else stats.wilcoxon(kept, method="asymptotic").pvalue
    return SignedRank(float(p), statistic, values.size, values.size - kept.size, exact)


def smallest_p(clusters: int) -> float:
    """Return the smallest two-sided p that the signed-rank test can reach, 2 / 2^clusters.

    Args:
        clusters: Differences to be tested, none 0 and no ties.

    Returns:
        p, at most 1.

    Example:
        >>> smallest_p(8), smallest_p(4)
        (0.0078125, 0.125)
    """
    return min(1.0, 2.0 ** (1 - clusters))


def is_decidable(clusters: int, *, contrasts: int, level: float = 0.05) -> bool:
    """Return whether the test can reach Holm's strictest level, ``level / contrasts``, with these clusters.

    Args:
        clusters: That will be tested.
        contrasts: Primary comparisons named in advance.
        level: Of the whole family.

    Returns:
        False means: whatever the outcome, no decision.

    Example:
        >>> is_decidable(8, contrasts=6), is_decidable(8, contrasts=7)
        (True, False)
    """
    return smallest_p(clusters) <= level / max(contrasts, 1)


def fewest_clusters(level: float = 0.05) -> int:
    """Return the fewest clusters with which the test can reach a level.

    Example:
        >>> fewest_clusters(), fewest_clusters(0.05 / 6)
        (6, 8)
    """
    check_range("level", level, low=0.0, high=1.0, open_low=True)
    return next(count for count in range(1, 2000) if smallest_p(count) <= level)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p for several contrasts, so that the chance of any false one stays below the level.

    Args:
        p_values: One per contrast named in advance; None where it could not be tested: it counts among the
            contrasts as if its p were 1, so that a failed run never makes the others easier to show.

    Returns:
        Adjusted p, in the order given; None stays None.

    Raises:
        SegfocalError: For values outside [0, 1].

    Source:
        S. Holm, A simple sequentially rejective multiple test procedure (1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    for value in p_values:
        if value is not None:
            check_range("p_values", value, low=0.0, high=1.0)
    count, adjusted, running = len(p_values), [None] * len(p_values), 0.0
    result: list[float | None] = [*adjusted]
    known = sorted((value, index) for index, value in enumerate(p_values) if value is not None)
    for place, (value, index) in enumerate(known):
        running = max(running, min(1.0, (count - place) * value))
        result[index] = running
    return result


def _exact_p(ranks: NDArray[np.float64], statistic: float) -> float:
    """Count sign patterns by their rank sum; doubled, mean ranks are whole numbers."""
    doubled = np.rint(2 * ranks).astype(np.int64)
    total = int(doubled.sum())
    share = np.zeros(total + 1)
    share[0] = 1.0
    reached = 0
    for rank in doubled:
        share[: reached + 1] *= 0.5
        share[rank : rank + reached + 1] += share[: reached + 1].copy()
        reached += int(rank)
    below = min(int(np.rint(2 * statistic)), total - int(np.rint(2 * statistic)))
    return min(1.0, 2.0 * float(share[: below + 1].sum()))
