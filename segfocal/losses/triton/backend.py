"""Backend for CUDA: kernels in Triton, one read of the logits forward, one read and one write backward.

The formulas are those of the eager backend, in float32. A fixed number of programs share the pixels of each
image; what they found is added up in their order in float64, so that every run gives the same bits. Nothing
waits for the device. Softmax with over 32 classes reads its logits twice, forward and backward; with soft or
smoothed targets twice and three times. What the kernels do not cover goes to the eager backend: float64, and
empty tensors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segfocal.losses import eager
from segfocal.losses.primitive.fields import Inputs, Spec, map_shape
from segfocal.losses.triton import distribution, online, sigmoid, softmax, softmax_sums
from segfocal.losses.triton.call import Plan, covers, finish_arguments, plan_of, tensors_of
from segfocal.losses.triton.launch import launch
from segfocal.losses.triton.pixel import finish

KERNELS: dict[str, dict[str, Any]] = {
    "softmax": {
        "sums": softmax_sums.softmax_sums,
        "map": softmax.softmax_map,
        "gradient": softmax.softmax_gradient,
    },
    "online": {
        "sums": online.online_sums,
        "map": online.online_map,
        "gradient": online.online_gradient,
    },
    "distribution": {
        "sums": distribution.distribution_sums,
        "map": distribution.distribution_map,
        "gradient": distribution.distribution_gradient,
    },
    "sigmoid": {
        "sums": sigmoid.sigmoid_sums,
        "map": sigmoid.sigmoid_map,
        "gradient": sigmoid.sigmoid_gradient,
    },
}


def probe(device: torch.device) -> None:
    """Start the smallest kernel; raises what keeps kernels from running on the device."""
    tensors = {
        "floats": torch.zeros(1, dtype=torch.float64, device=device),
        "ints": torch.zeros(1, dtype=torch.int64, device=device),
        "float_parts": torch.zeros(2, dtype=torch.float32, device=device),
        "int_parts": torch.zeros(2, dtype=torch.int32, device=device),
    }
    launch(finish, 2, 4, finish_arguments((1, 1, 1, 1), 2, False), tensors, {}, device)


def run(step: str, plan: Plan, inputs: Inputs, **more: Tensor | None) -> None:
    """Start the kernel of a plan."""
    kernel = KERNELS[plan.family][step]
    tensors = {**tensors_of(inputs, plan.family), **more}
    grid = plan.rows * plan.programs
    launch(kernel, grid, plan.warps, plan.fixed, tensors, plan.built, inputs.logits.device)


def pixel_sums(inputs: Inputs, spec: Spec) -> tuple[Tensor, Tensor]:
    """Compute the packed sums; see ``eager.pixel_sums``."""
    if not covers(inputs):
        return eager.pixel_sums(inputs, spec)
    plan = plan_of("sums", inputs, spec)
    (k, q), device = plan.widths, inputs.logits.device
    images, classes = inputs.logits.shape[:2]
    parts = images * classes * plan.programs
    of_floats = torch.empty(parts * k, dtype=torch.float32, device=device)
    of_ints = torch.empty(parts * q, dtype=torch.int32, device=device)
    run("sums", plan, inputs, floats=of_floats, ints=of_ints)
    floats = torch.empty((images, classes, k), dtype=torch.float64, device=device)
    ints = torch.empty((images, classes, q), dtype=torch.int64, device=device)
    tensors = {"floats": floats, "ints": ints, "float_parts": of_floats, "int_parts": of_ints}
    launch(finish, images * classes * (k + q), 4, plan.last, tensors, plan.built_last, device)
    return floats, ints


def pixel_sums_backward(grad: Tensor, inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the gradient by the logits; see ``eager.pixel_sums_backward``."""
    if not covers(inputs):
        return eager.pixel_sums_backward(grad, inputs, spec)
    out = torch.empty_like(inputs.logits)
    plan = plan_of("gradient", inputs, spec, out)
    run("gradient", plan, inputs, upstream=grad.contiguous(), pull=None, out=out)
    return out


def pixel_map(inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the loss of every element; see ``eager.pixel_map``."""
    if not covers(inputs):
        return eager.pixel_map(inputs, spec)
    out = torch.empty(map_shape(inputs.logits, spec), dtype=torch.float32, device=inputs.logits.device)
    plan = plan_of("map", inputs, spec, out)
    run("map", plan, inputs, out=out)
    return out


def pixel_map_backward(grad: Tensor, inputs: Inputs, spec: Spec) -> Tensor:
    """Compute the gradient by the logits from the gradient by the map; see ``eager.pixel_map_backward``."""
    if not covers(inputs):
        return eager.pixel_map_backward(grad, inputs, spec)
    out = torch.empty_like(inputs.logits)
    plan = plan_of("gradient", inputs, spec, out, grad)
    run("gradient", plan, inputs, upstream=None, pull=grad, out=out)
    return out
