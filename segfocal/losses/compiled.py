"""Backend through torch.compile: the formulas of ``planes`` and ``planes_sigmoid``.

What it does not cover goes to the eager backend: float64, softmax on soft or smoothed targets, softmax over
more than 32 classes, images of fewer than 4096 pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segfocal.losses import eager, planes, planes_gradient, planes_sigmoid
from segfocal.losses.compiling import call, compiler_found, opened
from segfocal.losses.elements import can_hold
from segfocal.losses.fields import (
    DIFFERENTIABLE,
    REGION,
    SPLIT,
    Inputs,
    Spec,
    layout,
    pack,
    sum_dtype,
    unpack,
)

LEAST_SPACE = 2**12
CHUNK = 1024  # pixels summed in float32 before float64 takes over: 64 additions per lane
MOST_CLASSES = 32
LEAST_PIXELS = 2**16


def suits(logits: Tensor) -> bool:
    """Return whether compiling pays for these logits, and is possible.

    The rule: at least 2^16 pixels, at least 4096 of them in each image, at most 32 channels, no float64,
    axes of space that can be merged without a copy, and a compiler for the device.
    """
    return (
        logits.ndim > 2
        and logits.numel() >= LEAST_PIXELS * logits.shape[1]
        and logits.shape[1] <= MOST_CLASSES
        and large(logits)
        and mergeable(logits)
        and compiler_found(logits.device.type)
    )


def large(logits: Tensor) -> bool:
    """Return whether the planes can compute with these logits at all."""
    return logits.dtype != torch.float64 and math.prod(logits.shape[2:]) >= LEAST_SPACE


def mergeable(tensor: Tensor) -> bool:
    """Return whether the axes of space can be seen as one."""
    axes = [
        (size, stride) for size, stride in zip(tensor.shape[2:], tensor.stride()[2:], strict=True) if size > 1
    ]
    return all(outer[1] == inner[0] * inner[1] for outer, inner in itertools.pairwise(axes))


def covers(inputs: Inputs, spec: Spec) -> bool:
    """Return whether the planes have formulas for this call."""
    if not large(inputs.logits) or not inputs.logits.shape[0]:
        return False
    labels = inputs.target.ndim < inputs.logits.ndim and inputs.smoothing is None
    return spec.sigmoid or (labels and inputs.logits.shape[1] <= MOST_CLASSES)


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


def rows_of(inputs: Inputs, spec: Spec) -> tuple[str, ...]:
    """Name the rows that the wanted fields are made of."""
    want = set(spec.want)
    if spec.sigmoid:
        return (*[name for name in spec.want if name != "invalid"], "invalid")
    rows = want & {"loss", "modulation", *DIFFERENTIABLE}
    if want & {"weight", "target", "target_squared"}:
        rows.add("count" if inputs.weight is None else "weight")
    if want & {"count", "tp", "fp", "fn"}:
        rows.add("count")
    if want & {"tp", "fp", "fn"}:
        rows |= {"tp", "decided"}
    return (*sorted(rows), "invalid")


def pixel_sums(inputs: Inputs, spec: Spec) -> tuple[Tensor, Tensor]:
    """Compute the packed sums; see ``eager.pixel_sums``."""
    if not covers(inputs, spec):
        return eager.pixel_sums(inputs, spec)
    tensors = merged(inputs, spec)
    pixels = tensors[0].shape[-1] // CHUNK * CHUNK
    rows = rows_of(inputs, spec)
    chunks = [None if tensor is None else chunked(tensor, pixels) for tensor in tensors]
    zero = opened(torch.zeros((pixels // CHUNK, 1), device=inputs.logits.device), 0)
    extra = channel_rows(inputs, 4) if spec.sigmoid else (inputs.curve.float(),)
    function = planes_sigmoid.sums if spec.sigmoid else planes.sums
    found = call(function, inputs, *chunks, *extra, zero, **static_of(inputs, spec), rows=rows)
    floats, ints = packed(gather(found, rows, inputs, spec), inputs, spec)
    if pixels < tensors[0].shape[-1]:  # the last pixels fill no chunk
        more = eager.pixel_sums(rest_of(inputs, tensors, pixels), spec)
        floats, ints = floats + more[0], ints + more[1]
    return floats, ints


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


def gather(found: list[Tensor], rows: tuple[str, ...], inputs: Inputs, spec: Spec) -> dict[str, Tensor]:
    """Add up the chunks and name the sums: (N, C) or (N, C, 2), float64 where there is one."""
    n, classes = inputs.logits.shape[:2]
    dtype = sum_dtype(inputs.logits.device)
    sums: dict[str, Tensor] = {}
    if spec.sigmoid:
        totals = iter([part.sum(-1, dtype=dtype) for part in found])
        for row in rows:
            sums[row] = torch.stack([next(totals), next(totals)], -1) if row in SPLIT else next(totals)
        return sums
    table = torch.stack(found).sum(-1, dtype=dtype)
    for index, row in enumerate(rows):
        sums[row] = table[index * classes : (index + 1) * classes].t()
    sums["invalid"] = torch.cat([table[-1:].t(), table.new_zeros((n, classes - 1))], 1)
    if "loss" in sums and inputs.alpha is not None:
        sums["loss"] = sums["loss"] * inputs.alpha
    mass = sums.get("weight", sums.get("count"))
    if mass is not None:
        sums["weight"] = sums["target"] = sums["target_squared"] = mass
    if "tp" in sums:
        sums["fp"], sums["fn"] = sums["decided"] - sums["tp"], sums["count"] - sums["tp"]
    return sums


def packed(sums: dict[str, Tensor], inputs: Inputs, spec: Spec) -> tuple[Tensor, Tensor]:
    """Pack the sums as the operator returns them."""
    widths = layout(spec, inputs.target.is_floating_point())
    shape, dtype = inputs.logits.shape[:2], sum_dtype(inputs.logits.device)
    floats = (
        pack(sums, widths.floats, dtype)
        if widths.floats
        else inputs.logits.new_zeros((*shape, 0), dtype=dtype)
    )
    ints = pack(sums, widths.ints, torch.int64)
    poisoned = (ints[..., -1] > 0).any(1).view(-1, 1, 1)
    return floats.masked_fill_(poisoned, float("nan")), ints


def like(grad: Tensor, logits: Tensor) -> Tensor:
    """Give a gradient the strides that torch expects for these logits."""
    out = torch.empty_like(logits, device="meta")
    return grad if grad.stride() == out.stride() else torch.empty_like(logits).copy_(grad)


def innermost(logits: Tensor) -> bool:
    """Return whether channels lie innermost in memory."""
    return logits.stride(1) == 1 and logits.stride(2) != 1


def pixel_sums_backward(grad: Tensor, inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the gradient by the logits; see ``eager.pixel_sums_backward``."""
    if not covers(inputs, spec):
        return eager.pixel_sums_backward(grad, inputs, spec)
    fields = unpack(grad.float(), layout(spec, inputs.target.is_floating_point()).floats)
    region = [fields.get(name) for name in REGION]
    pull = fields.get("loss")
    if spec.sigmoid:
        region = [None if term is None else term.unsqueeze(-1) for term in region]
        sides = None if pull is None else [side.unsqueeze(-1) for side in pull.unbind(-1)]
        return sigmoid_gradient(inputs, spec, sides, region)
    if pull is not None and inputs.alpha is not None:
        pull = pull * inputs.alpha.float()
    return softmax_gradient(inputs, spec, pull, None, region)


def static_of(inputs: Inputs, spec: Spec) -> dict[str, Any]:
    """Return what a function is compiled for."""
    return {"form": spec.form, "ignore_index": reachable(inputs.target, spec.ignore_index)}


def opened_all(terms: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Open the sizes of upstream gradients."""
    return [None if term is None else opened(term.contiguous()) for term in terms]


def softmax_gradient(
    inputs: Inputs, spec: Spec, pull: Tensor | None, alpha: Tensor | None, region: Sequence[Tensor | None]
) -> Tensor:
    """Run the gradient of the planes."""
    tensors = whole(inputs, spec)
    last = innermost(inputs.logits)
    upstream = (*opened_all([pull]), alpha, opened_all(region))
    out = call(
        planes_gradient.gradient,
        inputs,
        *tensors,
        inputs.curve.float(),
        *upstream,
        **static_of(inputs, spec),
        last=last,
    )
    return like((out.movedim(-1, 1) if last else out).unflatten(2, inputs.logits.shape[2:]), inputs.logits)


def sigmoid_gradient(
    inputs: Inputs, spec: Spec, pull: Sequence[Tensor] | None, region: Sequence[Tensor | None]
) -> Tensor:
    """Run the gradient of the elements."""
    upstream = (None if pull is None else opened_all(pull), opened_all(region))
    extra = channel_rows(inputs, 3)
    out = call(
        planes_sigmoid.gradient, inputs, *whole(inputs, spec), *extra, *upstream, **static_of(inputs, spec)
    )
    return like(out.unflatten(2, inputs.logits.shape[2:]), inputs.logits)


def pixel_map(inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the loss of every element; see ``eager.pixel_map``."""
    if not covers(inputs, spec):
        return eager.pixel_map(inputs, spec)
    static = static_of(inputs, spec)
    if spec.sigmoid:
        out = call(planes_sigmoid.values, inputs, *whole(inputs, spec), *channel_rows(inputs, 3), **static)
    else:
        alpha = None if inputs.alpha is None else inputs.alpha.float()
        out = call(planes.values, inputs, *whole(inputs, spec), inputs.curve.float(), alpha, **static)
    value: Tensor = out.unflatten(-1, inputs.logits.shape[2:]).contiguous()
    return value


def pixel_map_backward(grad: Tensor, inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the gradient by the logits from the gradient by the map; see ``eager.pixel_map_backward``."""
    if not covers(inputs, spec):
        return eager.pixel_map_backward(grad, inputs, spec)
    none: list[Tensor | None] = [None] * 3
    if spec.sigmoid:
        upstream = grad.flatten(2).float()
        return sigmoid_gradient(inputs, spec, [upstream, upstream], none)
    alpha = None if inputs.alpha is None else inputs.alpha.float()
    return softmax_gradient(inputs, spec, grad.flatten(1).float().unsqueeze(1), alpha, none)
