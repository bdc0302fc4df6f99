"""Ratios of region sums, smoothed as peers smooth them."""

from __future__ import annotations

import torch
from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.losses.compat.inputs import can_look
from segfocal.losses.overlap import Overlap
from segfocal.losses.primitive.sums import PixelSums
from segfocal.losses.reduction import ratio


def one_less(top: Tensor, bottom: Tensor) -> Tensor:
    """Compute ``1 - top / bottom`` without cancellation; 0 where the denominator is.

    Args:
        top: Any shape.
        bottom: Same shape, not negative.

    Returns:
        Same shape.

    Example:
        >>> one_less(torch.tensor([1.0, 0.0]), torch.tensor([4.0, 0.0]))
        tensor([0.7500, 0.0000])
    """
    return ratio(bottom - top, bottom)


def tversky_parts(region: Overlap, *, fp_weight: float, fn_weight: float) -> tuple[Tensor, Tensor]:
    """Return I and ``I + fp_weight FP + fn_weight FN``, before smoothing.

    Args:
        region: Sums of any shape.
        fp_weight: Weight of false positives.
        fn_weight: Weight of false negatives.

    Returns:
        Two tensors of that shape.
    """
    i, p, y = region
    return i, i + fp_weight * (p - i) + fn_weight * (y - i)


def soft_target(sums: PixelSums) -> Tensor:
    """Tell from Y and Y2 whether a target held values between 0 and 1.

    Args:
        sums: With ``target`` and ``target_squared``.

    Returns:
        A bool scalar.
    """
    assert sums.target is not None
    assert sums.target_squared is not None
    # t - t^2 is above 0 only where 0 < t < 1
    return (sums.target_squared < sums.target * (1 - 1e-6)).any()


def refuse_soft(value: Tensor, soft: Tensor) -> Tensor:
    """Refuse soft targets, or make the loss NaN where a look would wait for the device.

    Args:
        value: The loss.
        soft: Whether there are any.

    Returns:
        The loss.

    Raises:
        SegfocalError: On a CPU.
    """
    if can_look(soft) and bool(soft):
        raise SegfocalError(
            "target must hold 0 and 1 only, got values between them: that library defines soft targets "
            "in its own way. Round the target, or use a loss of segfocal.losses, which takes probabilities."
        )
    return torch.where(soft, float("nan"), value)


def with_axes(values: Tensor, axes: int) -> Tensor:
    """Append axes of length 1, so that values broadcast over space."""
    return values.view(*values.shape, *[1] * axes)
