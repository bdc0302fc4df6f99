"""From sums per image and class to one number: the reductions, each with its denominator."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from segfocal.losses.primitive.sums import PixelSums

Task = Literal["binary", "multiclass", "multilabel"]
Reduction = Literal[
    "none", "sum", "mean", "weighted_mean", "positives", "class_sum", "class_mean", "modulation"
]

# which sums a reduction divides by; "none" never gets here, it is a map
SUMS_OF_REDUCTION: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "sum": frozenset({"loss"}),
    "mean": frozenset({"loss", "count"}),
    "weighted_mean": frozenset({"loss", "weight"}),
    "positives": frozenset({"loss", "count"}),
    "class_sum": frozenset({"loss", "count"}),
    "class_mean": frozenset({"loss", "count"}),
    "modulation": frozenset({"loss", "modulation"}),
}


# a smaller sum of modulating factors counts as underflown: 1 / sum, times the scale of a half-precision
# gradient, would overflow float32, and 0 * inf is NaN
LEAST_MODULATION = 1e-30


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide, and give 0 (with zero gradient) where the denominator is 0.

    A NaN numerator stays NaN, so that invalid labels are never hidden.

    Args:
        numerator: Any shape.
        denominator: Same shape, not negative.

    Returns:
        The quotient.

    Example:
        >>> ratio(torch.tensor([3.0, 0.0]), torch.tensor([2.0, 0.0]))
        tensor([1.5000, 0.0000])
    """
    return numerator / denominator.masked_fill(denominator <= 0, math.inf)


def mean_of(total: Tensor, count: Tensor) -> Tensor:
    """Divide a sum by what was counted, which is 0 only where the sum is.

    Args:
        total: Floating, any shape.
        count: Same shape: whole numbers, or masses.

    Returns:
        The mean, 0 (with zero gradient) where nothing was counted; of the total's dtype.

    Example:
        >>> mean_of(torch.tensor([3.0, 0.0]), torch.tensor([2, 0]))
        tensor([1.5000, 0.0000])
    """
    if count.is_floating_point():
        return ratio(total, count.to(total.dtype))
    return total / count.clamp(min=1)


def reduce_sums(sums: PixelSums, reduction: Reduction, *, task: Task, alpha: Tensor | None) -> Tensor:
    """Reduce the pixel loss, summed per image and class, to a scalar.

    Args:
        sums: With the fields of ``SUMS_OF_REDUCTION[reduction]``.
        reduction: ``sum``; ``mean`` divides by the elements that are not ignored (pixels for softmax, pixel x
            channel for sigmoid; those of weight 0 count); ``weighted_mean`` by the sum of alpha times weight;
            ``positives`` by the foreground elements, at least 1; ``class_sum`` and ``class_mean`` take the
            mean per class and then the sum or the mean over the classes that occur; ``modulation`` divides by
            the sum of weight times (1 - p_t)^gamma, held constant, and is 0 where that sum underflows.
        task: Decides what a class is: binary, the two sides; multiclass, the label (0 is the background);
            multilabel, the channel with both its sides.
        alpha: The weights already inside ``sums.loss``, needed by ``weighted_mean``.

    Returns:
        A scalar in nats; 0 with zero gradient where the denominator is 0.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, section 4.1 (``positives``).
    """
    assert sums.loss is not None
    if reduction == "sum":
        return sums.loss.sum()
    if reduction in ("class_sum", "class_mean"):
        return _over_classes(sums, task, average=reduction == "class_mean")
    return mean_of(sums.loss.sum(), _denominator(sums, reduction, task, alpha))


def _denominator(sums: PixelSums, reduction: Reduction, task: Task, alpha: Tensor | None) -> Tensor:
    """Return what the sum of the loss is divided by, without a gradient."""
    if reduction == "modulation":
        assert sums.modulation is not None
        total = sums.modulation.detach().sum()
        return torch.where(total < LEAST_MODULATION, torch.zeros_like(total), total)
    if reduction == "weighted_mean":
        assert sums.weight is not None
        return _alpha_weighted(sums.weight, task, alpha).sum()
    assert sums.count is not None
    if reduction == "positives":
        foreground = sums.count[:, 1:] if task == "multiclass" else sums.count[..., 1]
        return foreground.sum().clamp(min=1)
    return sums.count.sum()


def _alpha_weighted(weight: Tensor, task: Task, alpha: Tensor | None) -> Tensor:
    """Multiply the sum of the weights of each class by its alpha."""
    if alpha is None:
        return weight
    alpha = alpha.to(weight)
    if task == "multiclass":
        return weight * alpha
    return weight * torch.stack([1 - alpha, alpha], dim=-1)


def _over_classes(sums: PixelSums, task: Task, *, average: bool) -> Tensor:
    """Sum or average the mean loss of each class that occurs."""
    assert sums.loss is not None
    assert sums.count is not None
    count = _per_class(sums.count, task)
    total = mean_of(_per_class(sums.loss, task), count).sum()
    return mean_of(total, (count > 0).sum()) if average else total


def _per_class(values: Tensor, task: Task) -> Tensor:
    """Sum ``(N, C)`` or ``(N, C, 2)`` over the images, to one number per class."""
    total = values.sum(0)
    if task == "binary":
        return total.flatten()
    return total if task == "multiclass" else total.sum(-1)
