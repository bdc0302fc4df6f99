"""From the inputs that peers take to those of the one pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.losses.primitive.fields import work_dtype

LARGEST_LOGIT = 60.0  # where p (1 - p) = 9e-27 still carries a gradient through float32
NO_LABEL = -(2**31)


def can_look(tensor: Tensor) -> bool:
    """Return whether a look at values costs nothing: on a CPU, and outside a graph that is being traced."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def labels(target: Tensor) -> Tensor:
    """Return a label map as integers.

    Args:
        target: ``(N, *S)`` integer, bool, or floating with whole numbers.

    Returns:
        Same shape; a fraction becomes a value that is no label, so that it never passes unseen.

    Raises:
        SegfocalError: For fractions, on a CPU.
    """
    if not target.is_floating_point():
        return target
    whole = target == target.trunc()
    if can_look(target) and not bool(whole.all()):
        raise SegfocalError(
            f"target must hold whole labels, got {int((~whole).sum())} fractions in a floating label map. "
            "Soft targets have one channel per class."
        )
    return torch.where(whole, target, NO_LABEL).to(torch.int32)


def without_channel(name: str, target: Tensor, logits: Tensor) -> Tensor:
    """Drop the channel axis of a label map.

    Args:
        name: The argument's name at the peer.
        target: ``(N, 1, *S)``.
        logits: ``(N, C, *S)``.

    Returns:
        ``(N, *S)`` integer labels.

    Raises:
        SegfocalError: For another shape.
    """
    check_shape(name, target, (logits.shape[0], 1, *logits.shape[2:]), logits)
    return labels(target.squeeze(1))


def check_shape(
    name: str, target: Tensor, expected: tuple[int, ...], logits: Tensor, remedy: str = ""
) -> None:
    """Raise unless the target has the expected shape."""
    if tuple(target.shape) != tuple(expected):
        raise SegfocalError(
            f"{name} must have shape {tuple(expected)} to match {tuple(logits.shape)}, got "
            f"{tuple(target.shape)}.{remedy}"
        )


def elementwise(logits: Tensor, target: Tensor, *, one_channel: bool = False) -> tuple[Tensor, Tensor]:
    """View tensors of any shape as ``(N, C, *S)``, for losses of single elements; nothing is copied.

    Args:
        logits: Any shape.
        target: The same shape.
        one_channel: Whether C has to be 1.

    Returns:
        Both as they are, or as one image of one channel, ``(1, 1, *shape)``.
    """
    if logits.ndim > 2 and (logits.shape[1] == 1 or not one_channel):
        return logits, target
    return logits[None, None], target[None, None]


class Logit(torch.autograd.Function):
    """The logit of probabilities, with a gradient that is right at 0 and 1 as well."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, skipped: int) -> Tensor:
        """Compute ``log(p / (1 - p))``, cut off at +-60; NaN outside [0, 1]."""
        cast = probabilities.detach().to(work_dtype(probabilities.dtype))
        logits = torch.logit(cast).clamp_(-LARGEST_LOGIT, LARGEST_LOGIT)
        logits[:, :skipped] = 0
        ctx.save_for_backward(logits)
        ctx.dtype = probabilities.dtype
        return logits

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Divide by ``p (1 - p)``, which the sigmoid's gradient holds as a factor."""
        (logits,) = ctx.saved_tensors
        return (grad / (torch.sigmoid(logits) * torch.sigmoid(-logits))).to(ctx.dtype), None


def logits_of(name: str, probabilities: Tensor, remedy: str, *, skipped: int = 0) -> Tensor:
    """Turn probabilities into logits whose sigmoid they are; this keeps one tensor of their size.

    Args:
        name: The argument's name at the peer.
        probabilities: ``(N, C, *S)`` in [0, 1].
        remedy: What to do where they are no probabilities.
        skipped: First channels that take no part; their values do not matter.

    Returns:
        Same shape, float32, or float64 for float64.

    Raises:
        SegfocalError: For values outside [0, 1], on a CPU; elsewhere they become NaN.
    """
    used = probabilities[:, skipped:]
    if can_look(used) and used.numel():
        low, high = (bound.item() for bound in torch.aminmax(used.detach()))
        if not (low >= 0 and high <= 1):
            raise SegfocalError(
                f"{name} must be probabilities in [0, 1], got values from {low:g} to {high:g}. {remedy}"
            )
    found: Tensor = Logit.apply(probabilities, skipped)
    return found
