"""The tensors of a call as the compiled functions see them: one axis of space, open sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segfocal.losses.compiling import opened
from segfocal.losses.elements import can_hold
from segfocal.losses.fields import Inputs, Spec

CHUNK = 1024  # pixels summed in float32 before float64 takes over: 64 additions per lane


def merged(inputs: Inputs, spec: Spec) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits, target and weight with one axis of space; under softmax the weight as (N, S)."""
    axis = 2 if inputs.target.ndim == inputs.logits.ndim else 1
    weight = None if inputs.weight is None else inputs.weight.flatten(2)
    if weight is not None and not spec.sigmoid:
        weight = weight.squeeze(1)
    return inputs.logits.flatten(2), inputs.target.flatten(axis), weight


def whole(inputs: Inputs, spec: Spec) -> list[Tensor | None]:
    """Return logits, target and weight as ``merged`` does, their sizes open."""
    return [None if tensor is None else opened(tensor, tensor.ndim - 1) for tensor in merged(inputs, spec)]


def chunked(tensor: Tensor, pixels: int) -> Tensor:
    """Cut the last axis into chunks, leaving out the rest."""
    return opened(tensor[..., :pixels].unflatten(-1, (-1, CHUNK)), tensor.ndim - 1)


def rest_of(inputs: Inputs, tensors: tuple[Tensor, Tensor, Tensor | None], pixels: int) -> Inputs:
    """Return the inputs from a pixel on."""
    logits, target, weight = tensors
    if weight is not None:
        weight = (weight if weight.ndim == 3 else weight.unsqueeze(1))[..., pixels:]
    return inputs._replace(logits=logits[..., pixels:], target=target[..., pixels:], weight=weight)


def reachable(target: Tensor, ignore_index: int | None) -> int | None:
    """Return the label to ignore; None where the target's dtype cannot hold it."""
    return ignore_index if ignore_index is not None and can_hold(target.dtype, ignore_index) else None


def channel_rows(inputs: Inputs, ndim: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return curve, alpha and smoothing in float32, shaped to broadcast over (N, C, ...)."""
    ones = [1] * (ndim - 2)
    alpha = None if inputs.alpha is None else inputs.alpha.float().view(-1, *ones)
    smoothing = None if inputs.smoothing is None else inputs.smoothing.float()
    return inputs.curve.float().view(*inputs.curve.shape, *ones), alpha, smoothing


def static_of(inputs: Inputs, spec: Spec) -> dict[str, Any]:
    """Return what a function is compiled for."""
    return {"form": spec.form, "ignore_index": reachable(inputs.target, spec.ignore_index)}


def opened_all(terms: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Open the sizes of upstream gradients."""
    return [None if term is None else opened(term.contiguous()) for term in terms]


def like(grad: Tensor, logits: Tensor) -> Tensor:
    """Give a gradient the strides that torch expects for these logits."""
    out = torch.empty_like(logits, device="meta")
    return grad if grad.stride() == out.stride() else torch.empty_like(logits).copy_(grad)


def innermost(logits: Tensor) -> bool:
    """Return whether channels lie innermost in memory."""
    return logits.stride(1) == 1 and logits.stride(2) != 1
