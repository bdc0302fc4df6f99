"""Checks of what a caller hands to the primitive. Structure is always checked, values only where asked."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from segfocal.errors import SegfocalError, check_choice
from segfocal.losses.primitive.fields import FIELDS, Spec
from segfocal.losses.primitive.hints import (
    another_shape,
    views_that_fit,
    way_out,
    way_out_of_float_labels,
    way_out_of_floats,
)

ACTIVATIONS = ("sigmoid", "softmax")


def shape(tensor: Tensor) -> str:
    """Write a shape as a tuple."""
    return str(tuple(tensor.shape))


def check_tensor(name: str, value: object) -> None:
    """Raise unless a value is a tensor."""
    if not isinstance(value, Tensor):
        raise SegfocalError(
            f"{name} must be a tensor, got {type(value).__name__}. Did you mean torch.as_tensor({name})?"
        )
    if value.is_nested:
        raise SegfocalError(f"{name} must be one block, got a nested tensor. Call the loss once per tensor.")
    if value.layout != torch.strided:
        raise SegfocalError(
            f"{name} must be dense, got the layout {value.layout}. Did you mean {name}.to_dense()?"
        )


def check_logits(logits: Tensor, activation: str, target: Tensor) -> None:
    """Raise unless logits are floating point (N, C, *S) with enough channels for the activation."""
    check_choice("activation", activation, ACTIVATIONS)
    check_tensor("logits", logits)
    if not logits.is_floating_point():
        swapped = isinstance(target, Tensor) and target.is_floating_point() and not logits.is_complex()
        hint = "Did you swap logits and target?" if swapped else "Did you mean logits.float()?"
        hint = "Did you mean logits.real?" if logits.is_complex() else hint
        raise SegfocalError(f"logits must be floating point, got {logits.dtype}. {hint}")
    fewest = 2 if activation == "softmax" else 1
    if logits.ndim < 2:
        hint = views_that_fit(logits, target, fewest=fewest)
        raise SegfocalError(f"logits must have shape (N, C, *S), got {shape(logits)}.{hint}")
    if logits.shape[1] < fewest:
        hint = views_that_fit(logits, target, fewest=fewest) or " For one channel use task='binary'."
        raise SegfocalError(
            f"softmax needs at least 2 channels, got logits of shape {shape(logits)}: "
            f"the softmax over one channel is always 1.{hint}"
        )


def check_no_grad(**tensors: Tensor | float | Collection[float] | None) -> None:
    """Raise where an argument other than the logits asks for a gradient."""
    for name, value in tensors.items():
        if isinstance(value, Tensor) and value.requires_grad:
            raise SegfocalError(
                f"{name} requires a gradient, but the primitive differentiates by the logits only. "
                f"Pass {name}.detach()."
            )


def check_want(want: Collection[str]) -> None:
    """Raise where a wanted field does not exist."""
    if isinstance(want, str):
        raise SegfocalError(
            f"want must be a collection of field names, got the string {want!r}. Use [{want!r}]."
        )
    for name in want:
        check_choice("want", name, FIELDS)


def hint_of_floats(target: Tensor, classes: int, ignore_index: int | None) -> str:
    """Say what a map of floating point numbers needs; by its values, where there are any to look at."""
    unseen = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    if unseen or isinstance(target, FakeTensor) or target.device.type == "meta" or not target.numel():
        return "Did you mean target.long()?"
    return way_out_of_float_labels(target, classes, ignore_index)


def check_target(logits: Tensor, target: Tensor, activation: str, ignore_index: int | None = None) -> Tensor:
    """Check shape, dtype and device of the target.

    Args:
        logits: (N, C, *S).
        target: Label map (N, *S) or masks (N, C, *S).
        activation: ``"sigmoid"`` or ``"softmax"``.
        ignore_index: Of the call, for a hint.

    Returns:
        The target as the backends expect it: binary as masks (N, 1, *S); unsigned integers that torch can
        hardly compute with widened.

    Raises:
        SegfocalError: Naming the shapes and the repair.
    """
    check_tensor("target", target)
    labels, masks = (logits.shape[0], *logits.shape[2:]), tuple(logits.shape)
    got = tuple(target.shape)
    if target.device != logits.device:
        raise SegfocalError(
            f"target must be on {logits.device} like logits, got {target.device}. "
            "Did you mean target.to(logits.device)?"
        )
    if got not in (labels, masks):
        hint = views_that_fit(logits, target, fewest=2 if activation == "softmax" else 1)
        hint = hint or another_shape(masks, got)
        raise SegfocalError(
            f"target must have shape {labels} or {masks} to match logits {masks}, got {got}.{hint}"
        )
    if target.is_complex():
        raise SegfocalError(f"target must be integer, bool or floating point, got {target.dtype}.")
    binary = activation == "sigmoid" and logits.shape[1] == 1
    if target.is_floating_point() and got == labels and got != masks and not binary:
        hint = hint_of_floats(target, logits.shape[1], ignore_index)
        raise SegfocalError(
            f"a label map must be integer or bool, got {target.dtype} of shape {got}. "
            f"{hint} Soft targets have the shape of the logits."
        )
    if target.dtype in (torch.uint16, torch.uint32, torch.uint64):
        target = target.to(torch.int32 if target.dtype == torch.uint16 else torch.int64)
    return target.unsqueeze(1) if binary and got != masks else target


def check_weight(logits: Tensor, weight: Tensor | None, activation: str) -> Tensor | None:
    """Check the pixel weight and return it as (N, 1, *S) or (N, C, *S)."""
    if weight is None:
        return None
    check_tensor("weight", weight)
    pixel = (logits.shape[0], *logits.shape[2:])
    one = (logits.shape[0], 1, *logits.shape[2:])
    allowed = [pixel, one, *([tuple(logits.shape)] if activation == "sigmoid" else [])]
    got = tuple(weight.shape)
    if got not in allowed:
        raise SegfocalError(
            f"weight must have shape {' or '.join(map(str, dict.fromkeys(allowed)))}, got {got}. "
            "It weighs pixels; weights of classes are alpha."
        )
    if weight.device != logits.device:
        raise SegfocalError(f"weight must be on {logits.device} like logits, got {weight.device}.")
    return weight.unsqueeze(1) if len(got) < logits.ndim else weight


def check_weight_values(weight: Tensor | None) -> None:
    """Raise where a pixel weight is negative, infinite or NaN."""
    if weight is None:
        return
    wrong = weight.numel() - int(((weight >= 0) & (weight < float("inf"))).sum())
    if wrong:
        raise SegfocalError(
            f"pixel weights must be finite and not negative, got {wrong} that are not. "
            "A weight of 0 takes a pixel out of the sums, ignore_index takes it out of the mean too."
        )


def invalid_target(logits: Tensor, target: Tensor, spec: Spec) -> SegfocalError:
    """Describe the values of a target that are no labels."""
    if target.is_floating_point():
        right = (target >= 0) & (target <= 1)
        wrong = target[~(right if spec.ignore_index is None else right | (target == spec.ignore_index))]
        what = f"soft targets must lie in [0, 1], got {wrong.numel()} values outside"
        if wrong.numel() and not bool(wrong.isnan().any()):
            what += f", from {wrong.min().item():g} to {wrong.max().item():g}"
        return SegfocalError(f"{what}. {way_out_of_floats(target, logits, spec.ignore_index)}")
    classes = logits.shape[1] if target.ndim < logits.ndim else 2
    values, counts = target.unique(return_counts=True)
    values = values.long()
    keep = (values < 0) | (values >= classes)
    if spec.ignore_index is not None:
        keep &= values != spec.ignore_index
    found = list(zip(values[keep].tolist(), counts[keep].tolist(), strict=True))
    listed = ", ".join(f"{value} ({count} times)" for value, count in found[:8])
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    remedy = way_out(values.tolist(), [value for value, _ in found], classes, spec.ignore_index)
    if target.dtype == torch.int8 and set(values.tolist()) <= {-1, 0} and classes == 2:
        remedy = (
            "255 does not fit into int8: did you mean target != 0? Or ignore_index=-1, where -1 marks none?"
        )
    if len(found) > 1 and target.ndim == logits.ndim and numbered(target):
        remedy = "Did you mean target > 0?"
    return SegfocalError(
        f"labels must lie in [0, {classes - 1}] (ignore_index={spec.ignore_index}), "
        f"got {listed}{more}. {remedy}"
    )


def numbered(masks: Tensor) -> bool:
    """Tell whether every channel holds 0 and one number of its own above 0."""
    found = [set(channel.unique().tolist()) - {0} for channel in masks.unbind(1)]
    return all(len(each) <= 1 and min(each, default=1) > 0 for each in found)
