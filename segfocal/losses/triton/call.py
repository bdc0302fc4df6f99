"""How a call reaches the CUDA kernels: which of them, in tiles of what size, with which strides."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from segfocal.losses.primitive.elements import can_hold
from segfocal.losses.primitive.fields import FIELDS, Inputs, Spec, layout
from segfocal.losses.primitive.strides import Shape, axes_of, shape_of
from segfocal.losses.triton.launch import Built

IN_REGISTERS = 32  # classes; more of them are read twice
IN_LANES = 4  # classes up to which a thread counts for itself
PROGRAMS = 4096  # per pass: enough for any device, few enough that their sums stay small
TURNS = 64  # tiles that one program sums at most, so that float32 holds the sums and 10 bits the counts
LONG = 2**30  # pixels of an image from which on their numbers need 64 bits
LOGITS = frozenset({torch.float32, torch.bfloat16, torch.float16})
WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
VALUES = LOGITS | {torch.float64, *WHOLE}


class Plan(NamedTuple):
    """One call but for its tensors, decided by shapes, strides, dtypes and choices alone."""

    family: str
    programs: int  # along each image, or each channel for sigmoid
    rows: int  # images, or images times channels
    warps: int
    fixed: dict[str, Any]  # arguments of the kernel
    last: dict[str, Any]  # arguments of the kernel that adds up what the programs found
    widths: tuple[int, int]
    built: Built  # the kernel as compiled for tensors of this kind
    built_last: Built


def family_of(spec: Spec, classes: int, masks: bool, smoothed: bool) -> str:
    """Name the kernels that serve a call."""
    if spec.sigmoid:
        return "sigmoid"
    if masks or smoothed:
        return "distribution"
    return "softmax" if classes <= IN_REGISTERS else "online"


def tile_of(family: str, step: str, classes: int, pixels: int, together: bool) -> tuple[int, int, int]:
    """Return the pixels and warps of a tile, and how many classes it holds where they come in chunks.

    Where the classes of a pixel lie together, as in (N, C) rows, a tile has few pixels and many classes: what
    comes with one class of a pixel is used at once, and few rows fill the device.
    """
    if family == "sigmoid":
        return (512 if step == "sums" else 1024), 4, 0
    if family == "softmax" and step == "sums":  # each thread holds the sums of all classes too
        return 64 * (4 if classes <= 4 else 2 if classes <= 12 else 1), 2, 0
    if family == "softmax":
        return 128 * (4 if classes <= 8 else 2 if classes <= 16 else 1), 4, 0
    if together and family == "online":
        return 128, 4, 16
    block = min(1024, max(128, triton.next_power_of_2(pixels)))
    return block, 8 if block == 1024 else 4, 4


def steps_of(item: Shape, ndim: int, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of image, channel (0 where one serves all) and merged axes of a tensor."""
    has_channels = len(item.shape) == ndim and item.shape[1] > 1
    return (item.stride[0], item.stride[1] if has_channels else 0, *steps)


def covers(inputs: Inputs) -> bool:
    """Return whether the kernels can compute a call with these tensors."""
    logits, target, weight = inputs.logits, inputs.target, inputs.weight
    return (
        logits.dtype in LOGITS
        and logits.numel() > 0
        and target.dtype in VALUES
        and (weight is None or weight.dtype in VALUES)
    )


@functools.lru_cache(maxsize=1024)
def plan(step: str, spec: Spec, smoothed: bool, form: tuple[int, int], *shapes: Shape | None) -> Plan:
    """Decide all that does not need the tensors themselves.

    Args:
        step: ``"sums"``, ``"gradient"`` or ``"map"``.
        spec: The choices of the call.
        smoothed: Whether labels are smoothed.
        form: Columns of the curve, length of alpha.
        shapes: Of logits, target, weight, output and the gradient by the map.
    """
    names = ("logits", "target", "weight", "out", "pull")
    there = {name: item for name, item in zip(names, shapes, strict=True) if item is not None}
    logits, target = there["logits"], there["target"]
    images, classes, ndim = *logits.shape[:2], len(logits.shape)
    masks, soft = len(target.shape) == ndim, target.dtype.is_floating_point
    axes = axes_of(list(there.values()), ndim)
    strides = {
        name: steps_of(item, ndim, tuple(steps[index] for _, steps in axes))
        for index, (name, item) in enumerate(there.items())
    }
    family = family_of(spec, classes, masks, smoothed)
    pixels = math.prod(logits.shape[2:])
    block, warps, chunk = tile_of(family, step, classes, pixels, strides["logits"][1] == 1)
    tiles = triton.cdiv(pixels, block)
    rows = images * classes if spec.sigmoid else images
    fixed: dict[str, Any] = {
        "at_x": strides["logits"],
        "at_t": strides["target"],
        "at_w": strides.get("weight", strides["logits"]),
        "space": tuple(length for length, _ in axes),
        "S": pixels,
        "C": classes,
        "AXES": len(axes),
        "FORM": spec.form,
        "COLUMNS": form[0],
        "BLOCK": block,
        "LONG": pixels > LONG,
    }
    ignore = spec.ignore_index
    fixed["HAS_IGNORE"] = ignore is not None and can_hold(target.dtype, ignore)
    fixed["ignore"] = ignore if fixed["HAS_IGNORE"] else 0
    if family in ("sigmoid", "distribution"):
        fixed |= {"MASKS": masks, "SOFT": soft}
    if family == "sigmoid":
        fixed["ALPHAS"] = form[1]
    if chunk:
        fixed["ROWS"] = chunk
    widths = tuple(sum(part.values()) for part in layout(spec, soft))
    programs = tiles
    if step == "sums" and not chunk:
        programs = min(tiles, max(triton.cdiv(PROGRAMS, rows), triton.cdiv(tiles, TURNS)))
        fixed |= {"programs": programs, "turns": triton.cdiv(tiles, programs)}
    else:
        fixed["tiles"] = tiles
    if step != "sums":
        fixed["at_out"] = strides["out"]
    if step == "gradient":
        fixed["at_pull"] = strides.get("pull", strides["out"])
    if step != "map":
        by_map = "pull" in there
        fixed["WANT"] = tuple(int(name in spec.want) for name in FIELDS[:-1])
        if by_map:
            fixed["WANT"] = (1, *[0] * (len(FIELDS) - 2))
        fixed["K"] = 0 if by_map else widths[0]
    if step == "sums":
        fixed["Q"] = widths[1]
        if family == "softmax":
            fixed |= distinct(spec, "weight" in there, classes)
    poison = spec.sigmoid and masks and classes > 1
    last = finish_arguments((images, classes, *widths), programs, poison) if step == "sums" else {}
    return Plan(family, programs, rows, warps, fixed, last, (widths[0], widths[1]), {}, {})


def finish_arguments(sizes: tuple[int, ...], parts: int, poison: bool) -> dict[str, Any]:
    """Return the arguments of ``pixel.finish``; sizes are N, C, floating and integer sums of each class."""
    images, classes, k, q = sizes
    return {
        "N_C": images * classes,
        "C": classes,
        "parts": parts,
        "K": k,
        "Q": q,
        "POISON": poison,
        "BLOCK": min(1024, triton.next_power_of_2(parts)),
    }


def distinct(spec: Spec, weighted: bool, classes: int) -> dict[str, Any]:
    """Return what the kernel of few classes adds up for each of them, and where.

    W, Y and Y2 of label maps are one sum, or a count where nothing is weighted; P is the wrong classes' sum
    and I.
    """
    want = set(spec.want)
    masses = bool(want & {"weight", "target", "target_squared"})
    names = ["loss", "intersection", "prediction", "prediction_squared", "modulation", "weight"]
    kept = want - {"weight"} | ({"intersection"} if "prediction" in want else set())
    kept |= {"weight"} if masses and weighted else set()
    places = itertools.accumulate((int(name in kept) for name in names), initial=0)
    counts = bool(want & {"count", "tp", "fp", "fn"}) or (masses and not weighted)
    return {
        "AT": tuple(place if name in kept else -1 for name, place in zip(names, places, strict=False)),
        "SUMS": len(kept & set(names)),
        "TALLY": int(counts and classes <= IN_LANES),
        "BINS": triton.next_power_of_2(classes) if counts and classes > IN_LANES else 0,
    }


def plan_of(
    step: str, inputs: Inputs, spec: Spec, out: Tensor | None = None, pull: Tensor | None = None
) -> Plan:
    """Return the plan of a call."""
    tensors = (inputs.logits, inputs.target, inputs.weight, out, pull)
    alphas = 0 if inputs.alpha is None else inputs.alpha.numel()
    smoothed = inputs.smoothing is not None
    found: Plan = plan(
        step, spec, smoothed, (inputs.curve.shape[1], alphas), *[shape_of(tensor) for tensor in tensors]
    )
    return found


def as_bytes(tensor: Tensor | None) -> Tensor | None:
    """Return a view that kernels can read: bool as uint8."""
    return tensor.view(torch.uint8) if tensor is not None and tensor.dtype == torch.bool else tensor


def tensors_of(inputs: Inputs, family: str) -> dict[str, Tensor | None]:
    """Return the tensors of a call by the names that the kernels use."""
    found: dict[str, Tensor | None] = {
        "logits": inputs.logits,
        "target": as_bytes(inputs.target),
        "weight": as_bytes(inputs.weight),
        "curve": inputs.curve.contiguous(),
        "alpha": None if inputs.alpha is None else inputs.alpha.contiguous(),
    }
    if family in ("sigmoid", "distribution"):
        found["smoothing"] = inputs.smoothing
    return found
