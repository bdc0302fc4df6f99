"""Bins of probabilities: fine ones for precision and recall, equal-width ones for calibration."""

from __future__ import annotations

import torch
from torch import Tensor

PR_BINS = 2**16
COARSE_PR_BINS = 256
RELIABILITY_BINS = 15

# float32 keeps 23 bits of fraction; the top 10 of them make 1024 bins of equal width per factor of 2
_SHIFT = 13
_HALF = PR_BINS // 2
_FIRST_CODE = (127 - 33) << (23 - _SHIFT)  # of 2^-33: the 32 factors of 2 from there to 0.5 fill one half


def pr_bin(probability: Tensor) -> Tensor:
    """Return the bin of each probability, of 2^16 whose width is in proportion to p, or to 1 - p above 0.5.

    Equal-width bins would put all of a rare class's scores into a few; these are at most 0.1 % of p (or
    1 - p) wide down to 2^-33, below which all is one bin. Float16 and bfloat16 numbers have a bin each.

    Args:
        probability: float32 in [0, 1]; wider types are rounded to it.

    Returns:
        int32, same shape, rising with the probability; bins hold low <= p < high below 0.5, and
        low < p <= high above.

    Example:
        >>> pr_bin(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])).tolist()
        [0, 31744, 32768, 33791, 65535]
    """
    probability = probability.float()
    upper = (2 * probability).int().clamp_(max=1)
    code = torch.minimum(probability, 1 - probability).view(torch.int32) >> _SHIFT
    return (code - _FIRST_CODE).clamp_(0, _HALF - 1) ^ (upper * (PR_BINS - 1))


def pr_edges(bins: int = PR_BINS) -> Tensor:
    """Return the ``bins + 1`` edges of the bins, float64; fewer bins join neighbours.

    Args:
        bins: 2^16 or a power of two below.

    Returns:
        Edges from 0 to 1.

    Example:
        >>> pr_edges(4).tolist()
        [0.0, 7.62939453125e-06, 0.5, 0.9999923706054688, 1.0]
    """
    codes = torch.arange(_HALF + 1, dtype=torch.int32) + _FIRST_CODE
    lower = (codes << _SHIFT).view(torch.float32).double()
    lower[0] = 0.0
    edges = torch.cat([lower, (1 - lower[:-1]).flip(0)])
    return edges[:: PR_BINS // bins]


def reliability_bin(probability: Tensor) -> Tensor:
    """Return the bin of each probability, of 15 equal-width ones; 1 belongs to the last.

    Example:
        >>> reliability_bin(torch.tensor([0.0, 0.5, 1.0])).tolist()
        [0, 7, 14]
    """
    return (probability * RELIABILITY_BINS).int().clamp_(max=RELIABILITY_BINS - 1)


def average_precision(negatives: Tensor, positives: Tensor) -> Tensor:
    """Area under the precision-recall curve by steps, sum of precision times the gain in recall.

    Args:
        negatives: (..., bins) counts of pixels labelled otherwise, bins rising with the probability.
        positives: (..., bins) counts of pixels labelled with the class.

    Returns:
        (...), float64, NaN where there is no positive.

    Example:
        >>> average_precision(torch.tensor([2, 1, 0]), torch.tensor([0, 1, 1])).item()
        0.8333333333333333
    """
    gained = positives.flip(-1).double()
    hits, found = gained.cumsum(-1), (positives + negatives).flip(-1).double().cumsum(-1)
    return (gained * hits / found.clamp(min=1)).sum(-1) / hits[..., -1]


def average_precision_of_33(negatives: Tensor, positives: Tensor) -> Tensor:
    """Area under the precision-recall curve of the IDRiD challenge, from 33 thresholds.

    The challenge pools the pixels of all test images, lesion by lesion, and thresholds the probability at 0,
    1/32, ..., 1, or grey levels at 0, 8, ..., 256. So do we, exactly, since these are edges of the bins. How
    the points are joined it does not say: we take trapezoids, and from the highest threshold that predicts
    anything a level line to recall 0. ``average_precision`` uses every threshold and no trapezoids; the two
    differ most where few of the 33 thresholds fall among the scores: by .000 to .019 for the findings of
    IDRiD's test set under two networks.

    Args:
        negatives: (..., 2^16) counts of pixels labelled otherwise, bins rising with the probability.
        positives: (..., 2^16) counts of pixels labelled with the class.

    Returns:
        (...), float64, NaN where there is no positive.

    Source:
        Porwal et al., "IDRiD: Diabetic Retinopathy - Segmentation and Grading Challenge", Medical Image
        Analysis 59, 2020, section 6.

    Example:
        >>> counts = torch.zeros(2, PR_BINS)
        >>> counts[0, 100], counts[1, PR_BINS - 1] = 3, 1
        >>> average_precision_of_33(*counts).item()
        1.0
    """
    first = torch.searchsorted(pr_edges(), torch.arange(33, dtype=torch.float64) / 32)[:-1]
    above = [counts.double().flip(-1).cumsum(-1).flip(-1)[..., first] for counts in (positives, negatives)]
    hits, found = above[0], above[0] + above[1]
    recall = hits / hits[..., :1]
    precision = hits / found.clamp(min=1)
    # thresholds that predict nothing repeat the point before them, at recall 0
    last = (found > 0).sum(-1, keepdim=True) - 1
    level = precision.gather(-1, last.clamp(min=0))
    precision = torch.where(found > 0, precision, level)
    recall = torch.cat([recall, torch.zeros_like(recall[..., :1])], -1)
    precision = torch.cat([precision, level], -1)
    return ((recall[..., :-1] - recall[..., 1:]) * (precision[..., :-1] + precision[..., 1:])).sum(-1) / 2
