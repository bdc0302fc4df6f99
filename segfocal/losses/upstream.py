"""The gradients that arrive at the sums, shaped to broadcast over pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.losses.fields import DIFFERENTIABLE, Spec, layout, unpack


class Upstream(NamedTuple):
    """Gradients by the differentiable sums; None or 0.0 where a sum was not asked for."""

    loss: Tensor | None  # (n, C, 1...) for softmax, (n, C, 1..., 2) for sigmoid, or of every element
    intersection: Tensor | float = 0.0  # (n, C, 1...)
    prediction: Tensor | float = 0.0
    prediction_squared: Tensor | float = 0.0

    @property
    def region(self) -> bool:
        """Whether any of the region sums was asked for."""
        return any(isinstance(term, Tensor) for term in self[1:])

    def narrow(self, images: slice) -> Upstream:
        """Keep some of the images."""
        return Upstream(*[term[images] if isinstance(term, Tensor) else term for term in self])


def spread(tensor: Tensor, ndim: int, dtype: torch.dtype) -> Tensor:
    """Append axes of length 1 for the ``ndim - 2`` axes of space.

    Example:
        >>> spread(torch.ones(5, 3), 4, torch.float32).shape
        torch.Size([5, 3, 1, 1])
    """
    return tensor.to(dtype).reshape(*tensor.shape, *[1] * (ndim - 2))


def upstream_of(grad: Tensor, spec: Spec, soft: bool, ndim: int, dtype: torch.dtype) -> Upstream:
    """Read the gradients by the sums from the packed gradient.

    Args:
        grad: (N, C, R) as ``fields.layout`` lays out the floating fields.
        spec: The choices of the call.
        soft: Whether the target is floating.
        ndim: Axes of the logits.
        dtype: Working precision.

    Returns:
        Gradients that broadcast over (N, C, *S).
    """
    fields = unpack(grad, layout(spec, soft).floats)
    terms: dict[str, Tensor | None] = dict.fromkeys(DIFFERENTIABLE)
    for name in DIFFERENTIABLE:
        if name in fields:
            terms[name] = spread(fields[name], ndim + (name == "loss" and 0), dtype)
    if spec.sigmoid and terms["loss"] is not None:
        n, channels = grad.shape[:2]
        terms["loss"] = fields["loss"].to(dtype).reshape(n, channels, *[1] * (ndim - 2), 2)
    return Upstream(
        terms["loss"], *[0.0 if terms[name] is None else terms[name] for name in DIFFERENTIABLE[1:]]
    )
