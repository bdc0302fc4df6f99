"""Backend through torch.compile: the formulas of ``planes`` and ``planes_sigmoid``.

What it does not cover goes to the eager backend: float64, softmax on soft or smoothed targets, softmax over
more than 32 classes, images of fewer than 4096 pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.losses import eager, planes, planes_gradient, planes_sigmoid, planes_sigmoid_gradient, views
from segfocal.losses.compiling import call, compiler_found, opened
from segfocal.losses.fields import (
    REGION,
    Inputs,
    Spec,
    layout,
    unpack,
)
from segfocal.losses.rows import gather, packed, rows_of

LEAST_SPACE = 2**12
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


def pixel_sums(inputs: Inputs, spec: Spec) -> tuple[Tensor, Tensor]:
    """Compute the packed sums; see ``eager.pixel_sums``."""
    if not covers(inputs, spec):
        return eager.pixel_sums(inputs, spec)
    tensors = views.merged(inputs, spec)
    pixels = tensors[0].shape[-1] // views.CHUNK * views.CHUNK
    rows = rows_of(inputs, spec)
    chunks = [None if tensor is None else views.chunked(tensor, pixels) for tensor in tensors]
    zero = opened(torch.zeros((pixels // views.CHUNK, 1), device=inputs.logits.device), 0)
    extra = views.channel_rows(inputs, 4) if spec.sigmoid else (inputs.curve.float(),)
    function = planes_sigmoid.sums if spec.sigmoid else planes.sums
    found = call(function, inputs, *chunks, *extra, zero, **views.static_of(inputs, spec), rows=rows)
    floats, ints = packed(gather(found, rows, inputs, spec), inputs, spec)
    if pixels < tensors[0].shape[-1]:  # the last pixels fill no chunk
        more = eager.pixel_sums(views.rest_of(inputs, tensors, pixels), spec)
        floats, ints = floats + more[0], ints + more[1]
    return floats, ints


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


def softmax_gradient(
    inputs: Inputs, spec: Spec, pull: Tensor | None, alpha: Tensor | None, region: Sequence[Tensor | None]
) -> Tensor:
    """Run the gradient of the planes."""
    tensors = views.whole(inputs, spec)
    last = views.innermost(inputs.logits)
    upstream = (*views.opened_all([pull]), alpha, views.opened_all(region))
    out = call(
        planes_gradient.gradient,
        inputs,
        *tensors,
        inputs.curve.float(),
        *upstream,
        **views.static_of(inputs, spec),
        last=last,
    )
    return views.like(
        (out.movedim(-1, 1) if last else out).unflatten(2, inputs.logits.shape[2:]), inputs.logits
    )


def sigmoid_gradient(
    inputs: Inputs, spec: Spec, pull: Sequence[Tensor] | None, region: Sequence[Tensor | None]
) -> Tensor:
    """Run the gradient of the elements."""
    upstream = (None if pull is None else views.opened_all(pull), views.opened_all(region))
    extra = views.channel_rows(inputs, 3)
    out = call(
        planes_sigmoid_gradient.gradient,
        inputs,
        *views.whole(inputs, spec),
        *extra,
        *upstream,
        **views.static_of(inputs, spec),
    )
    return views.like(out.unflatten(2, inputs.logits.shape[2:]), inputs.logits)


def pixel_map(inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the loss of every element; see ``eager.pixel_map``."""
    if not covers(inputs, spec):
        return eager.pixel_map(inputs, spec)
    static = views.static_of(inputs, spec)
    if spec.sigmoid:
        out = call(
            planes_sigmoid_gradient.values,
            inputs,
            *views.whole(inputs, spec),
            *views.channel_rows(inputs, 3),
            **static,
        )
    else:
        alpha = None if inputs.alpha is None else inputs.alpha.float()
        out = call(
            planes_gradient.values, inputs, *views.whole(inputs, spec), inputs.curve.float(), alpha, **static
        )
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
