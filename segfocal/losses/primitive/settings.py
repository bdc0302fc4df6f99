"""Checks of the numbers that shape a loss: alpha, gamma, the parameter of the form, the smoothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.losses.primitive.curve import Number, as_row
from segfocal.losses.primitive.fields import Spec


def check_length(name: str, row: Tensor, channels: int, *, scalar: bool) -> None:
    """Raise unless there is one number per class (or one for all, where that has a meaning)."""
    if row.numel() == channels or (scalar and row.numel() == 1):
        return
    if row.numel() == 1:
        raise SegfocalError(
            f"{name} must hold one weight per class ({channels}) where softmax is used, got a single number: "
            f"it could mean several things. Did you mean {name}=[...] with {channels} numbers?"
        )
    raise SegfocalError(f"{name} must hold {channels} numbers, one per class, got {row.numel()}.")


def seen(value: Number | None, look: bool) -> list[float] | None:
    """Return the numbers of a setting; None where it has none, or is a tensor not to look at."""
    if isinstance(value, int | float):
        return [value]
    if value is None or (isinstance(value, Tensor) and not look):
        return None
    if isinstance(value, list | tuple) and all(isinstance(each, int | float) for each in value):
        return list(value)
    row = value.reshape(-1) if isinstance(value, Tensor) else as_row(value, torch.device("cpu"))
    numbers: list[float] = row.tolist()
    return numbers


def check_values(
    name: str, values: list[float] | None, low: float, high: float, *, open_ends: bool = False
) -> None:
    """Raise unless every number lies between low and high; None is not looked at."""
    if values is None:
        return
    inside = all(low < v < high if open_ends else low <= v <= high for v in values)
    if not (inside and all(map(math.isfinite, values))):
        ends = "()" if open_ends else "[]"
        found = values if len(values) > 1 else values[0]
        raise SegfocalError(f"{name} must lie in {ends[0]}{low:g}, {high:g}{ends[1]}, got {found}.")


def check_settings(
    spec: Spec,
    gamma: Number,
    alpha: Number | None,
    parameter: float | Tensor | None,
    smoothing: float | Tensor,
    *,
    look: bool,
) -> None:
    """Raise where alpha, gamma, the parameter of the form or the smoothing are out of range.

    Plain numbers are always checked, tensors, which may lie on a device, only where ``look``.
    """
    exponents, row = seen(gamma, look), seen(parameter, look)
    check_values("gamma", exponents, 0.0, float("inf"))
    check_values("alpha", seen(alpha, look), 0.0, 1.0 if spec.sigmoid else float("inf"))
    check_values("label_smoothing", seen(smoothing, look), 0.0, 1.0)
    if spec.form == "convex":
        check_values("gamma of the convex form", exponents, 0.0, float("inf"), open_ends=True)
    if row is None:
        return
    if spec.form == "poly":
        check_values("parameter of poly (epsilon)", row, float("-inf"), float("inf"))
    elif spec.form == "tail":
        check_values("parameter of tail (tau)", row, 0.0, 1.0)
    elif spec.form == "convex":
        check_values("second parameter of convex (tau)", row[1:], 0.0, 1.0)
    elif spec.form in ("knee", "reduced"):
        check_values(f"parameter of {spec.form} (a probability)", row, 0.0, 1.0, open_ends=True)
        check_knee(spec.form, row[0], exponents or [])


def check_knee(form: str, at: float, gamma: list[float]) -> None:
    """Raise where the knee lies so low that focal loss is still steeper than cross-entropy there."""
    rest = 1 - at
    slopes = [rest**g - g * at * rest ** (g - 1) * math.log(at) for g in gamma]  # see curve.slope_ratio
    if form == "knee" and any(slope > 1 + 1e-12 for slope in slopes):
        raise SegfocalError(
            f"the knee must lie where focal loss is flatter than cross-entropy, got {at} for gamma "
            f"{gamma}. For gamma 2 that is above 0.2976."
        )
