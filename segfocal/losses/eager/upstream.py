"""The gradients that arrive at the sums, shaped to broadcast over pixels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.losses.primitive.fields import REGION, Spec, layout, unpack


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

    def images(self, which: slice) -> Upstream:
        """Keep some of the images."""
        loss = None if self.loss is None else self.loss[which]
        return Upstream(loss, *[term[which] if isinstance(term, Tensor) else term for term in self[1:]])


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
    fields = {name: field.to(dtype) for name, field in unpack(grad, layout(spec, soft).floats).items()}
    loss, ones = fields.get("loss"), [1] * (ndim - 2)
    if loss is not None:
        loss = loss.reshape(*loss.shape[:2], *ones, *loss.shape[2:])
    region = [fields[name].reshape(*grad.shape[:2], *ones) if name in fields else 0.0 for name in REGION]
    return Upstream(loss, *region)
