"""Losses from elsewhere among the terms of a sum."""

from __future__ import annotations

from torch import Tensor, nn

from segfocal.errors import SegfocalError


def call_foreign(term: nn.Module, logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Call a loss from elsewhere, and refuse to drop pixel weights on the way."""
    if weight is not None:
        raise SegfocalError(
            f"{type(term).__name__} takes no pixel weights. Call it yourself, or leave weight=None."
        )
    value = term(logits, target)
    if not isinstance(value, Tensor) or value.ndim != 0:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise SegfocalError(f"{type(term).__name__} must return a scalar tensor to be added, got {shape}.")
    return value
