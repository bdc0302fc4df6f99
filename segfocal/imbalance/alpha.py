"""Class weights (alpha) from class counts."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from segfocal.errors import SegfocalError, check_choice
from segfocal.imbalance.counts import check_counts

Method = Literal["inverse", "median", "effective"]


def alpha_from_counts(counts: npt.ArrayLike, method: Method = "inverse") -> npt.NDArray[np.float64]:
    """Weigh the classes of a multiclass task by how rarely they occur.

    With counts n_c and their sum N: ``inverse`` is 1 / n_c; ``median`` is median(n) / n_c, the median taken
    over the classes that occur; ``effective`` is (1 - b) / (1 - b^n_c) with b = 1 - 1/N. Each is then scaled
    to mean 1 over the classes that occur, which makes ``median`` the same as ``inverse``: they differ only
    where frequencies are counted per image, as Eigen and Fergus do. A class that never occurs gets weight 1.

    Args:
        counts: ``(C,)`` pixels per class in the training split.
        method: Which rule. ``effective`` flattens towards equal weights where counts approach N.

    Returns:
        ``(C,)`` float64 weights, mean 1 over the classes that occur.

    Raises:
        SegfocalError: For an unknown method, a wrong shape, negative counts or all zeros.

    Source:
        Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels", 2015, section 4.3.2
        (median frequency). Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", 2019,
        eq. 2; their fixed b = .9999 no longer balances at millions of pixels, so b follows N here.

    Example:
        >>> alpha_from_counts([90, 10])
        array([0.2, 1.8])
    """
    check_choice("method", method, ("inverse", "median", "effective"))
    checked = check_counts(counts, axes=1)
    occurs = checked > 0
    n = checked[occurs].astype(np.float64)
    if method == "effective":
        raw = 1.0 / _effective_number(n)
    else:
        raw = (np.median(n) if method == "median" else 1.0) / n
    alpha = np.ones(checked.shape, dtype=np.float64)
    alpha[occurs] = raw / raw.mean()
    return alpha


def binary_alpha(counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Weigh positives against negatives per channel: alpha = 1 - pi, pi the foreground fraction.

    The focal loss multiplies positives by alpha and negatives by 1 - alpha, so that with this alpha both
    sides have the same total weight.

    Args:
        counts: ``(K, 2)`` = (negatives, positives) per channel; K = 1 for a binary task.

    Returns:
        ``(K,)`` float64, each inside (0, 1).

    Raises:
        SegfocalError: For a wrong shape, negative counts, or a channel with one side only, whose other side
            would get weight 0.

    Example:
        >>> binary_alpha([[990, 10]])
        array([0.99])
    """
    checked = check_counts(counts, axes=2)
    lonely = np.flatnonzero((checked == 0).any(axis=1))
    if lonely.size:
        found = "; ".join(
            f"channel {k}: {checked[k, 0]} negatives, {checked[k, 1]} positives" for k in lonely
        )
        raise SegfocalError(
            f"balanced alpha needs negatives and positives in every channel, got {found}. "
            "Give alpha as numbers, or leave the class out."
        )
    return np.asarray(checked[:, 0] / checked.sum(axis=1), dtype=np.float64)


def _effective_number(n: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (1 - b^n) / (1 - b) for b = 1 - 1/N without the cancellation of 1 - b^n at large N."""
    total = n.sum()
    if total == 1:
        return np.ones_like(n)
    return np.asarray(-np.expm1(n * np.log1p(-1.0 / total)) * total, dtype=np.float64)
