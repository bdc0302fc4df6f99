"""The primitive as operators of torch, so that torch.compile, export and autocast treat each as one step.

Registered by hand: ``torch.library.custom_op`` spends more time on checks than a small loss takes.
"""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.losses.backends import backend_module
from segfocal.losses.fields import Inputs, Spec, layout, sum_dtype, work_dtype

SCHEMA = (
    "Tensor logits, Tensor target, Tensor? weight, Tensor curve, Tensor? alpha, Tensor? smoothing, "
    "str activation, str form, str want, int? ignore_index, str? backend"
)
TENSORS = 6

library = torch.library.Library("segfocal", "DEF")
library.define(f"pixel_sums({SCHEMA}) -> (Tensor, Tensor)")
library.define(f"pixel_sums_backward(Tensor grad, {SCHEMA}) -> Tensor")
library.define(f"pixel_map({SCHEMA}) -> Tensor")
library.define(f"pixel_map_backward(Tensor grad, {SCHEMA}) -> Tensor")


def read(arguments: tuple[Any, ...]) -> tuple[Inputs, Spec]:
    """Sort the arguments of an operator into tensors and choices."""
    activation, form, want, ignore_index, _ = arguments[TENSORS:]
    return Inputs(*arguments[:TENSORS]), Spec(activation, form, tuple(want.split()), ignore_index)


def compute(step: str, arguments: tuple[Any, ...], *before: Tensor) -> Any:
    """Run one of the four steps of a backend, outside autograd and autocast."""
    inputs, spec = read(arguments)
    inputs = inputs._replace(logits=inputs.logits.detach())
    module = backend_module(arguments[-1], inputs.logits)
    device = inputs.logits.device.type
    with torch.no_grad():
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return getattr(module, step)(*before, inputs, spec)
        return getattr(module, step)(*before, inputs, spec)


@torch.library.impl(library, "pixel_sums", "CompositeExplicitAutograd")
def pixel_sums(*arguments: Any) -> tuple[Tensor, Tensor]:
    """Compute the packed sums."""
    result: tuple[Tensor, Tensor] = compute("pixel_sums", arguments)
    return result


@torch.library.impl(library, "pixel_sums_backward", "CompositeExplicitAutograd")
def pixel_sums_backward(grad: Tensor, *arguments: Any) -> Tensor:
    """Compute the gradient by the logits."""
    result: Tensor = compute("pixel_sums_backward", arguments, grad)
    return result


@torch.library.impl(library, "pixel_map", "CompositeExplicitAutograd")
def pixel_map(*arguments: Any) -> Tensor:
    """Compute the loss of every element."""
    result: Tensor = compute("pixel_map", arguments)
    return result


@torch.library.impl(library, "pixel_map_backward", "CompositeExplicitAutograd")
def pixel_map_backward(grad: Tensor, *arguments: Any) -> Tensor:
    """Compute the gradient by the logits from the gradient by the map."""
    result: Tensor = compute("pixel_map_backward", arguments, grad)
    return result


@torch.library.register_fake("segfocal::pixel_sums", lib=library)
def fake_sums(*arguments: Any) -> tuple[Tensor, Tensor]:
    """Give the shapes of the packed sums."""
    inputs, spec = read(arguments)
    widths = layout(spec, inputs.target.is_floating_point())
    size, device = inputs.logits.shape[:2], inputs.logits.device
    floats = torch.empty((*size, sum(widths.floats.values())), dtype=sum_dtype(device), device=device)
    return floats, torch.empty((*size, sum(widths.ints.values())), dtype=torch.int64, device=device)


@torch.library.register_fake("segfocal::pixel_map", lib=library)
def fake_map(*arguments: Any) -> Tensor:
    """Give the shape of the map."""
    inputs, spec = read(arguments)
    logits = inputs.logits
    shape = logits.shape if spec.sigmoid else (logits.shape[0], *logits.shape[2:])
    return logits.new_empty(shape, dtype=work_dtype(logits.dtype))


@torch.library.register_fake("segfocal::pixel_sums_backward", lib=library)
@torch.library.register_fake("segfocal::pixel_map_backward", lib=library)
def fake_backward(grad: Tensor, *arguments: Any) -> Tensor:
    """Give the shape of the gradient: that of the logits."""
    return torch.empty_like(arguments[0])


def remember(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    """Keep what the gradient is computed from anew: nothing that the caller did not hand in."""
    ctx.save_for_backward(*inputs[:TENSORS])
    ctx.choices = inputs[TENSORS:]


def sums_gradient(ctx: Any, grad: Tensor, _counts: Tensor) -> tuple[Tensor | None, ...]:
    """Chain the gradient by the packed sums."""
    found = torch.ops.segfocal.pixel_sums_backward.default(grad, *ctx.saved_tensors, *ctx.choices)
    return (found, *[None] * (TENSORS - 1 + len(ctx.choices)))


def map_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Chain the gradient by the map."""
    found = torch.ops.segfocal.pixel_map_backward.default(grad, *ctx.saved_tensors, *ctx.choices)
    return (found, *[None] * (TENSORS - 1 + len(ctx.choices)))


def no_second_derivative(ctx: Any, grad: Tensor) -> NoReturn:
    """Refuse to differentiate the gradient."""
    raise SegfocalError(
        "The gradient of a segfocal loss cannot be differentiated again, got a second derivative. "
        "Drop create_graph=True, or compute the penalty with a loss written in plain torch."
    )


torch.library.register_autograd("segfocal::pixel_sums", sums_gradient, setup_context=remember, lib=library)
torch.library.register_autograd("segfocal::pixel_map", map_gradient, setup_context=remember, lib=library)
torch.library.register_autograd("segfocal::pixel_sums_backward", no_second_derivative, lib=library)
torch.library.register_autograd("segfocal::pixel_map_backward", no_second_derivative, lib=library)

sums_operator = torch.ops.segfocal.pixel_sums.default
map_operator = torch.ops.segfocal.pixel_map.default
