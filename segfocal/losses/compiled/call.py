"""How a call reaches the kernels: the structures of ``call.h`` and ``views.h``, field by field."""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Sequence
from ctypes import Structure, c_double, c_int64, c_void_p

import torch
from torch import Tensor

from segfocal.losses.primitive.curve import FORMS, whole_gamma
from segfocal.losses.primitive.elements import can_hold
from segfocal.losses.primitive.fields import FIELDS, Inputs, Spec, layout
from segfocal.losses.primitive.strides import Shape, axes_of, shape_of

AXES = 4  # of space, after merging
DTYPES = {
    torch.float32: 0,
    torch.bfloat16: 1,
    torch.float16: 2,
    torch.float64: 3,
    torch.uint8: 4,
    torch.bool: 4,
    torch.int8: 5,
    torch.int16: 6,
    torch.int32: 7,
    torch.int64: 8,
}
TENSORS = ("logits", "target", "weight", "out", "pull")
STEPS = ("sums", "gradient", "values")


class View(Structure):
    """A tensor; strides count elements."""

    _fields_ = [
        ("data", c_void_p),
        ("dtype", c_int64),
        ("image", c_int64),
        ("channel", c_int64),
        ("space", c_int64 * AXES),
    ]


class Size(Structure):
    """Lengths of the axes of the logits."""

    _fields_ = [("images", c_int64), ("channels", c_int64), ("axes", c_int64), ("space", c_int64 * AXES)]


class Call(Structure):
    """All that the kernels are told."""

    _fields_ = [
        ("size", Size),
        *[(name, View) for name in TENSORS],
        *[(name, c_int64) for name in ("step", "sigmoid", "masks", "soft", "has_ignore", "ignore")],
        *[(name, c_int64) for name in ("form", "power", "columns", "threads")],
        ("column", c_int64 * len(FIELDS)),
        ("widths", c_int64 * 2),
        ("smoothing", c_double),
        *[(name, c_void_p) for name in ("curve", "alpha", "upstream", "floats", "ints")],
    ]


def fill_view(view: View, item: Shape, ndim: int, steps: Sequence[int]) -> None:
    """Describe a tensor, whose channel axis may be missing or serve all channels."""
    view.dtype, view.image = DTYPES[item.dtype], item.stride[0]
    has_channels = len(item.shape) == ndim and item.shape[1] > 1
    view.channel = item.stride[1] if has_channels else 0
    view.space[: len(steps)] = steps


def fill_choices(call: Call, spec: Spec, target: Shape, ndim: int) -> None:
    """Set what the choices of the call and its target say."""
    soft, ignore = target.dtype.is_floating_point, spec.ignore_index
    call.sigmoid, call.form = spec.sigmoid, FORMS.index(spec.form)
    call.masks, call.soft = len(target.shape) == ndim, soft
    if ignore is not None and can_hold(target.dtype, ignore):
        call.has_ignore, call.ignore = True, ignore
    widths = layout(spec, soft)
    call.widths[:] = [sum(part.values()) for part in widths]
    call.column[:] = [-1] * len(FIELDS)
    for part in widths:
        places = itertools.accumulate(part.values(), initial=0)
        for name, place in zip(part, places, strict=False):
            call.column[FIELDS.index(name)] = place


@functools.lru_cache(maxsize=1024)
def description(step: str, spec: Spec, *shapes: Shape | None) -> bytes:
    """Fill in all but addresses and numbers; shapes in the order of ``TENSORS``."""
    call = Call()
    there = {name: item for name, item in zip(TENSORS, shapes, strict=True) if item is not None}
    logits = there["logits"].shape
    axes = axes_of(list(there.values()), len(logits))
    call.size.images, call.size.channels, call.size.axes = *logits[:2], len(axes)
    call.size.space[: len(axes)] = [length for length, _ in axes]
    for index, (name, item) in enumerate(there.items()):
        fill_view(getattr(call, name), item, len(logits), [steps[index] for _, steps in axes])
    call.step = STEPS.index(step)
    fill_choices(call, spec, there["target"], len(logits))
    return bytes(call)


def run(
    kernels: ctypes.CDLL,
    step: str,
    inputs: Inputs,
    spec: Spec,
    *,
    out: Tensor | None = None,
    pull: Tensor | None = None,
    upstream: Tensor | None = None,
    sums: tuple[Tensor, Tensor] | None = None,
) -> None:
    """Run one step of the kernels.

    Args:
        kernels: The built library.
        step: One of ``STEPS``.
        inputs: The tensors of the call, on the CPU.
        spec: Its choices.
        out: Where gradient (like the logits) or map go.
        pull: Gradient by the map.
        upstream: Gradient by the packed floating fields.
        sums: Where the packed sums go.
    """
    tensors = (inputs.logits, inputs.target, inputs.weight, out, pull)
    call = Call.from_buffer_copy(description(step, spec, *map(shape_of, tensors)))
    for name, tensor in zip(TENSORS, tensors, strict=True):
        if tensor is not None:
            getattr(call, name).data = tensor.data_ptr()
    alpha = None if inputs.alpha is None else inputs.alpha.expand(inputs.logits.shape[1])
    small = {"curve": inputs.curve, "alpha": alpha, "upstream": upstream}
    kept = {name: tensor.float().contiguous() for name, tensor in small.items() if tensor is not None}
    for name, tensor in kept.items():
        setattr(call, name, tensor.data_ptr())
    if sums is not None:
        call.floats, call.ints = sums[0].data_ptr(), sums[1].data_ptr()
    power = whole_gamma(inputs.curve)
    call.power, call.columns = -1 if power is None else power, inputs.curve.shape[1]
    call.smoothing = -1.0 if inputs.smoothing is None else inputs.smoothing.item()
    call.threads = torch.get_num_threads()
    kernels.segfocal_run(ctypes.byref(call))
