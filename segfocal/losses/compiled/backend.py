"""Backend for the CPU: kernels in C++, built once by the machine's own compiler.

The formulas are those of the eager backend, in float32; sums of 512 pixels and fewer are float32, all above
float64. What it does not cover goes to the eager backend: float64, and tensors that lie in more than four
pieces.
"""

from __future__ import annotations

import ctypes
import functools
import math

import torch
from torch import Tensor

from segfocal.losses import eager
from segfocal.losses.compiled.building import library
from segfocal.losses.compiled.call import AXES, DTYPES, run
from segfocal.losses.primitive.fields import Inputs, Spec, layout, map_shape
from segfocal.losses.primitive.strides import Shape, axes_of, shape_of

LEAST_LOGITS = 2**16
LEAST_SPACE = 2**8


def suits(logits: Tensor) -> bool:
    """Return whether the kernels pay for these logits, and can be had.

    The rule: a CPU, at least 2^16 logits and 2^8 pixels in each image, no float64, and a C++ compiler.
    """
    return (
        logits.device.type == "cpu"
        and logits.dtype != torch.float64
        and logits.numel() >= LEAST_LOGITS
        and math.prod(logits.shape[2:]) >= LEAST_SPACE
        and library() is not None
    )


def kernels_for(inputs: Inputs) -> ctypes.CDLL | None:
    """Return the kernels, None where they cannot compute this call."""
    shapes = [shape_of(tensor) for tensor in (inputs.logits, inputs.target, inputs.weight)]
    return library() if covers(inputs.logits.device, *shapes) else None


@functools.lru_cache(maxsize=1024)
def covers(device: torch.device, *shapes: Shape | None) -> bool:
    """Return whether the kernels can read logits, target and weight of these shapes."""
    there = [item for item in shapes if item is not None]
    logits = there[0]
    return (
        device.type == "cpu"
        and logits.dtype != torch.float64
        and 0 not in logits.shape
        and all(item.dtype in DTYPES for item in there)
        and len(axes_of(there, len(logits.shape))) < AXES  # output and upstream may cut one axis more
    )


def pixel_sums(inputs: Inputs, spec: Spec) -> tuple[Tensor, Tensor]:
    """Compute the packed sums; see ``eager.pixel_sums``."""
    kernels = kernels_for(inputs)
    if kernels is None:
        return eager.pixel_sums(inputs, spec)
    widths = layout(spec, inputs.target.is_floating_point())
    size = inputs.logits.shape[:2]
    floats = inputs.logits.new_empty((*size, sum(widths.floats.values())), dtype=torch.float64)
    ints = inputs.logits.new_empty((*size, sum(widths.ints.values())), dtype=torch.int64)
    run(kernels, "sums", inputs, spec, sums=(floats, ints))
    return floats, ints


def pixel_sums_backward(grad: Tensor, inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the gradient by the logits; see ``eager.pixel_sums_backward``."""
    kernels = kernels_for(inputs)
    if kernels is None:
        return eager.pixel_sums_backward(grad, inputs, spec)
    out = torch.empty_like(inputs.logits)
    run(kernels, "gradient", inputs, spec, out=out, upstream=grad)
    return out


def pixel_map(inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the loss of every element; see ``eager.pixel_map``."""
    kernels = kernels_for(inputs)
    if kernels is None:
        return eager.pixel_map(inputs, spec)
    out = inputs.logits.new_empty(map_shape(inputs.logits, spec), dtype=torch.float32)
    run(kernels, "values", inputs, spec, out=out)
    return out


def pixel_map_backward(grad: Tensor, inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the gradient by the logits from the gradient by the map; see ``eager.pixel_map_backward``."""
    kernels = kernels_for(inputs)
    if kernels is None:
        return eager.pixel_map_backward(grad, inputs, spec)
    out = torch.empty_like(inputs.logits)
    shapes = [shape_of(tensor) for tensor in (inputs.logits, inputs.target, inputs.weight, out, grad)]
    if len(axes_of([item for item in shapes if item is not None], inputs.logits.ndim)) > AXES:
        grad = grad.contiguous()  # then no finer cut than that of the output
    run(kernels, "gradient", inputs, spec, out=out, pull=grad)
    return out
