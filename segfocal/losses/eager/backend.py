"""The four steps of the backend: blocks of pixels, and the formulas that fit them.

Pixels are taken in blocks that stay in the processor's cache, so that no intermediate has the size of the
logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import torch
from torch import Tensor

from segfocal.losses.eager import sigmoid, soft, softmax
from segfocal.losses.eager.upstream import Upstream, upstream_of
from segfocal.losses.primitive.fields import Inputs, Spec, layout, map_shape, pack, sum_dtype, work_dtype

BLOCK_CPU = 2**17  # logits: 512 KiB in float32, so that a core's cache holds the intermediates as well
BLOCK_DEVICE = 2**26

Span = tuple[slice, slice]  # images; first axis of space


def formulas(inputs: Inputs, spec: Spec) -> ModuleType:
    """Pick the module whose formulas fit activation and target."""
    if spec.sigmoid:
        return sigmoid
    if inputs.smoothing is not None or inputs.target.ndim == inputs.logits.ndim:
        return soft
    return softmax


def spans(logits: Tensor) -> Iterator[Span]:
    """Cut (N, C, *S) into blocks of whole images, or of whole rows of one image where images are large."""
    limit = BLOCK_CPU if logits.device.type == "cpu" else BLOCK_DEVICE
    if not logits.numel():
        return
    image = logits[0].numel()
    if image <= limit or logits.ndim == 2:
        step = max(1, limit // image)
        yield from ((slice(n, n + step), slice(None)) for n in range(0, logits.shape[0], step))
        return
    step = max(1, limit // (image // logits.shape[2]))
    for n in range(logits.shape[0]):
        yield from ((slice(n, n + 1), slice(s, s + step)) for s in range(0, logits.shape[2], step))


def cut(tensor: Tensor, span: Span, channel_axis: bool) -> Tensor:
    """Return the block's view of a tensor."""
    images, rows = span
    if rows == slice(None):
        return tensor[images]
    return tensor[images, :, rows] if channel_axis else tensor[images, rows]


def block_of(inputs: Inputs, span: Span) -> Inputs:
    """Return the block's view of all inputs."""
    return inputs._replace(
        logits=cut(inputs.logits, span, True),
        target=cut(inputs.target, span, inputs.target.ndim == inputs.logits.ndim),
        weight=None if inputs.weight is None else cut(inputs.weight, span, True),
    )


def pixel_sums(inputs: Inputs, spec: Spec) -> tuple[Tensor, Tensor]:
    """Compute the packed sums.

    Args:
        inputs: The tensors of the call.
        spec: Its choices.

    Returns:
        Floating fields (N, C, R) and integer fields (N, C, Q), as ``fields.layout`` says. Where an image has
        invalid labels, its floating fields are NaN.
    """
    module = formulas(inputs, spec)
    widths = layout(spec, inputs.target.is_floating_point())
    size = inputs.logits.shape[:2]
    device = inputs.logits.device
    floats = torch.zeros((*size, sum(widths.floats.values())), dtype=sum_dtype(device), device=device)
    ints = torch.zeros((*size, sum(widths.ints.values())), dtype=torch.int64, device=device)
    for span in spans(inputs.logits):
        found = module.sums(block_of(inputs, span), spec)
        if "invalid" not in found:
            found["invalid"] = ints.new_zeros((1, 1)).expand(ints[span[0]].shape[:2])
        if widths.floats:
            floats[span[0]] += pack(found, widths.floats, floats.dtype)
        ints[span[0]] += pack(found, widths.ints, ints.dtype)
    poisoned = (ints[..., -1] > 0).any(1).view(-1, 1, 1)
    return floats.masked_fill_(poisoned, float("nan")), ints


def pixel_sums_backward(grad: Tensor, inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the gradient by the logits from the gradient by the packed floating fields."""
    logits = inputs.logits
    soft = inputs.target.is_floating_point()
    upstream = upstream_of(grad, spec, soft, logits.ndim, work_dtype(logits.dtype))
    out = torch.empty_like(logits)
    module = formulas(inputs, spec)
    for span in spans(logits):
        cut(out, span, True).copy_(module.gradient(block_of(inputs, span), spec, upstream.images(span[0])))
    return out


def pixel_map(inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the loss of every element: (N, *S) for softmax, (N, C, *S) for sigmoid."""
    logits = inputs.logits
    out = logits.new_empty(map_shape(logits, spec), dtype=work_dtype(logits.dtype))
    module = formulas(inputs, spec)
    for span in spans(logits):
        cut(out, span, spec.sigmoid).copy_(module.values(block_of(inputs, span), spec))
    return out


def pixel_map_backward(grad: Tensor, inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the gradient by the logits from the gradient by the map."""
    logits = inputs.logits
    out = torch.empty_like(logits)
    module = formulas(inputs, spec)
    for span in spans(logits):
        part = cut(grad, span, spec.sigmoid).to(work_dtype(logits.dtype))
        loss = part.unsqueeze(-1).expand(*part.shape, 2) if spec.sigmoid else part.unsqueeze(1)
        cut(out, span, True).copy_(module.gradient(block_of(inputs, span), spec, Upstream(loss)))
    return out
