"""The primitive as operators of torch, so that torch.compile, export and autocast treat each as one step.

Registered by hand: ``torch.library.custom_op`` spends more time on checks than a small loss takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.losses.primitive.backends import backend_module
from segfocal.losses.primitive.fields import Inputs, Spec, layout, map_shape, sum_dtype, work_dtype

SCHEMA = (
    "Tensor logits, Tensor target, Tensor? weight, Tensor curve, Tensor? alpha, Tensor? smoothing, "
    "str activation, str form, str want, int? ignore_index, bool joined, str? backend"
)
TENSORS = 6

library = torch.library.Library("segfocal", "DEF")
library.define(f"pixel_sums({SCHEMA}) -> (Tensor, Tensor)")
library.define(f"pixel_sums_backward(Tensor grad, {SCHEMA}) -> Tensor")
library.define(f"pixel_map({SCHEMA}) -> Tensor")
library.define(f"pixel_map_backward(Tensor grad, {SCHEMA}) -> Tensor")


def read(arguments: tuple[Any, ...]) -> tuple[Inputs, Spec]:
    """Sort the arguments of an operator into tensors and choices."""
    activation, form, want, ignore_index, _, _ = arguments[TENSORS:]
    return Inputs(*arguments[:TENSORS]), Spec(activation, form, tuple(want.split()), ignore_index)


def join(inputs: Inputs) -> Inputs:
    """View all images as one, (1, C, N, *S): nothing is copied, and one pass serves (N, C) rows."""
    target, weight = inputs.target, inputs.weight
    masks = target.ndim == inputs.logits.ndim
    return inputs._replace(
        logits=inputs.logits.transpose(0, 1).unsqueeze(0),
        target=(target.transpose(0, 1) if masks else target).unsqueeze(0),
        weight=None if weight is None else weight.transpose(0, 1).unsqueeze(0),
    )


def part(joined: Tensor, like: Tensor) -> Tensor:
    """View (1, C, N, *S) as (N, C, *S) again, with the strides that a new tensor like the logits has."""
    found = joined.squeeze(0).transpose(0, 1)
    if like.is_contiguous():
        return found.contiguous()  # as a rule it is
    strides = torch.empty_like(like, device="meta").stride()
    if found.stride() == strides:
        return found
    return torch.empty_strided(like.shape, strides, dtype=found.dtype, device=found.device).copy_(found)


def compute(step: str, arguments: tuple[Any, ...], *before: Tensor) -> Any:
    """Run one of the four steps of a backend, outside autograd and autocast."""
    inputs, spec = read(arguments)
    inputs = inputs._replace(logits=inputs.logits.detach())
    if arguments[-2]:
        inputs = join(inputs)
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
    return part(result, arguments[0]) if arguments[-2] else result


@torch.library.impl(library, "pixel_map", "CompositeExplicitAutograd")
def pixel_map(*arguments: Any) -> Tensor:
    """Compute the loss of every element."""
    result: Tensor = compute("pixel_map", arguments)
    if not arguments[-2]:
        return result
    return (
        result.squeeze(0).transpose(0, 1).contiguous()
        if arguments[TENSORS] == "sigmoid"
        else result.squeeze(0)
    )


@torch.library.impl(library, "pixel_map_backward", "CompositeExplicitAutograd")
def pixel_map_backward(grad: Tensor, *arguments: Any) -> Tensor:
    """Compute the gradient by the logits from the gradient by the map."""
    if not arguments[-2]:
        result: Tensor = compute("pixel_map_backward", arguments, grad)
        return result
    grad = grad.transpose(0, 1) if arguments[TENSORS] == "sigmoid" else grad
    return part(compute("pixel_map_backward", arguments, grad.unsqueeze(0)), arguments[0])


@torch.library.register_fake("segfocal::pixel_sums", lib=library)
def fake_sums(*arguments: Any) -> tuple[Tensor, Tensor]:
    """Give the shapes of the packed sums."""
    inputs, spec = read(arguments)
    widths = layout(spec, inputs.target.is_floating_point())
    (images, classes), device = inputs.logits.shape[:2], inputs.logits.device
    size = (1 if arguments[-2] else images, classes)
    floats = torch.empty((*size, sum(widths.floats.values())), dtype=sum_dtype(device), device=device)
    return floats, torch.empty((*size, sum(widths.ints.values())), dtype=torch.int64, device=device)


@torch.library.register_fake("segfocal::pixel_map", lib=library)
def fake_map(*arguments: Any) -> Tensor:
    """Give the shape of the map."""
    inputs, spec = read(arguments)
    logits = inputs.logits
    return logits.new_empty(map_shape(logits, spec), dtype=work_dtype(logits.dtype))


@torch.library.register_fake("segfocal::pixel_sums_backward", lib=library)
@torch.library.register_fake("segfocal::pixel_map_backward", lib=library)
def fake_backward(grad: Tensor, *arguments: Any) -> Tensor:
    """Give the shape of the gradient: that of the logits."""
    return torch.empty_like(arguments[0])


class Differentiable(torch.autograd.Function):
    """One of the two operators with its gradient; nothing is kept that the caller did not hand in.

    Written out where ``torch.library.register_autograd`` would do, which takes longer than a small loss.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(operator: Any, backward: Any, *arguments: Any) -> Any:
        """Compute."""
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep what the gradient is computed from anew."""
        _, backward, *arguments = inputs
        ctx.save_for_backward(*arguments[:TENSORS])
        ctx.choices, ctx.operator = tuple(arguments[TENSORS:]), backward
        if isinstance(output, tuple):
            ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_counts: Tensor) -> tuple[Tensor | None, ...]:
        """Chain the gradient by the packed sums, or by the map."""
        found = ctx.operator(grad, *ctx.saved_tensors, *ctx.choices)
        return (None, None, found, *[None] * (TENSORS - 1 + len(ctx.choices)))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> NoReturn:
        """Refuse."""
        raise SegfocalError(
            "A segfocal loss has a gradient but no forward derivative, got jvp, jacfwd or a dual tensor. "
            "Use torch.func.grad, vjp or jacrev."
        )


class Final(torch.autograd.Function):
    """A gradient, which cannot be differentiated again."""

    generate_vmap_rule = True

    @staticmethod
    def forward(operator: Any, *arguments: Any) -> Any:
        """Compute the gradient."""
        with torch._C._AutoDispatchBelowAutograd():
            return operator(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep nothing."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> NoReturn:
        """Refuse."""
        raise SegfocalError(
            "The gradient of a segfocal loss cannot be differentiated again, got a second derivative. "
            "Drop create_graph=True, or compute the penalty with a loss written in plain torch."
        )


class Plain(torch.autograd.Function):
    """``Differentiable`` without torch.func, for whose rules torch spends more time than on small logits."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        """Compute, and keep what the gradient is computed from."""
        output = Differentiable.forward(*arguments)
        Differentiable.setup_context(ctx, arguments, output)
        return output

    backward = staticmethod(Differentiable.backward)
    jvp = staticmethod(Differentiable.jvp)


class PlainFinal(torch.autograd.Function):
    """``Final`` without torch.func."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        """Compute the gradient."""
        return Final.forward(*arguments)

    backward = staticmethod(Final.backward)


def register_gradient(name: str) -> Any:
    """Give an operator and its gradient their places in autograd; return what calls the operator.

    torch.func has rules for functions of autograd, but only where they are called outside of a kernel.
    """
    operator = getattr(torch.ops.segfocal, name).default
    of_gradient = getattr(torch.ops.segfocal, f"{name}_backward").default

    def backward(*arguments: Any) -> Any:
        if torch._C._are_functorch_transforms_active():
            return Final.apply(of_gradient, *arguments)
        return of_gradient(*arguments)

    def call(*arguments: Any) -> Any:
        if torch._C._are_functorch_transforms_active():
            return Differentiable.apply(operator, backward, *arguments)
        return operator(*arguments)

    def first(*arguments: Any) -> Any:
        mapped = torch._C._are_functorch_transforms_active()
        return (Differentiable if mapped else Plain).apply(operator, backward, *arguments)

    def second(*arguments: Any) -> Any:
        mapped = torch._C._are_functorch_transforms_active()
        return (Final if mapped else PlainFinal).apply(of_gradient, *arguments)

    library.impl(name, first, "Autograd")
    library.impl(f"{name}_backward", second, "Autograd")
    return call


def folded(size: int, dims: Sequence[int | None], arguments: Sequence[Any]) -> list[Any]:
    """Put the samples of torch.func.vmap, (B, N, ...), behind one another as images, (B N, ...)."""
    if any(dim is not None for dim in dims[3:TENSORS]):
        raise SegfocalError(
            "torch.func.vmap goes over logits, target and weight, got gamma, alpha or smoothing. "
            "Call the loss once per setting."
        )
    images = [fold(size, dim, tensor) for dim, tensor in zip(dims[:3], arguments[:3], strict=True)]
    return [*images, *arguments[3:-2], False, arguments[-1]]


def fold(size: int, dim: int | None, tensor: Tensor | None) -> Tensor | None:
    """Return (B N, ...) of a tensor with an axis of samples, or of one that all samples share."""
    if tensor is None:
        return None
    samples = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    return samples.flatten(0, 1)


def vmap_sums(info: Any, dims: Sequence[int | None], *arguments: Any) -> tuple[Any, Any]:
    """Compute the packed sums of every sample: (B, N, C, R)."""
    found = torch.ops.segfocal.pixel_sums.default(*folded(info.batch_size, dims, arguments))
    samples = [sums.unflatten(0, (info.batch_size, -1)) for sums in found]
    return tuple(sums.sum(1, keepdim=True) if arguments[-2] else sums for sums in samples), (0, 0)


def vmap_map(info: Any, dims: Sequence[int | None], *arguments: Any) -> tuple[Any, Any]:
    """Compute the losses of the elements of every sample."""
    found = torch.ops.segfocal.pixel_map.default(*folded(info.batch_size, dims, arguments))
    return found.unflatten(0, (info.batch_size, -1)), 0


def vmap_backward(name: str) -> Any:
    """Return the rule of an operator that computes gradients."""
    operator = getattr(torch.ops.segfocal, name).default

    def rule(info: Any, dims: Sequence[int | None], grad: Tensor, *arguments: Any) -> tuple[Any, Any]:
        size = info.batch_size
        grad = grad.expand(size, *grad.shape) if dims[0] is None else grad.movedim(dims[0], 0)
        rest = folded(size, dims[1:], arguments)
        if arguments[-2] and name == "pixel_sums_backward":  # one row for all images
            grad = grad.expand(size, rest[0].shape[0] // size, *grad.shape[2:])
        return operator(grad.flatten(0, 1), *rest).unflatten(0, (size, -1)), 0

    return rule


sums_operator = register_gradient("pixel_sums")
map_operator = register_gradient("pixel_map")
torch.library.register_vmap("segfocal::pixel_sums", vmap_sums, lib=library)
torch.library.register_vmap("segfocal::pixel_map", vmap_map, lib=library)
for backward in ("pixel_sums_backward", "pixel_map_backward"):
    torch.library.register_vmap(f"segfocal::{backward}", vmap_backward(backward), lib=library)
