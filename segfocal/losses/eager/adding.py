"""Weights and sums over the pixels of a block."""

from __future__ import annotations

import torch
from torch import Tensor

from segfocal.losses.primitive.pixel import part


def weighted(value: Tensor, weight: Tensor | None) -> Tensor:
    """Multiply by the weight, if there is one."""
    return value if weight is None else value * weight


def weighted_loss(loss: Tensor, weight: Tensor | None) -> Tensor:
    """Multiply a loss, which may be infinite, by the weight, if there is one."""
    return loss if weight is None else part(weight, loss)


def total(value: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Sum over space."""
    axes = tuple(range(2, value.ndim))
    return value.sum(axes, dtype=dtype) if axes else value.to(dtype or value.dtype)
