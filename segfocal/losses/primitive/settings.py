"""Checks of the numbers that shape a loss: alpha, gamma, the parameter of the form, the smoothing."""

from __future__ import annotations

import math

from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.losses.primitive.curve import as_row, slope_ratio
from segfocal.losses.primitive.fields import Inputs, Spec


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


def check_values(name: str, row: Tensor, low: float, high: float, *, open_ends: bool = False) -> None:
    """Raise unless every number lies between low and high."""
    values = row.reshape(-1).tolist()
    inside = all(low < v < high if open_ends else low <= v <= high for v in values)
    if not (inside and all(map(math.isfinite, values))):
        ends = "()" if open_ends else "[]"
        found = values if len(values) > 1 else values[0]
        raise SegfocalError(f"{name} must lie in {ends[0]}{low:g}, {high:g}{ends[1]}, got {found}.")


def check_settings(inputs: Inputs, spec: Spec, parameter: float | Tensor | None) -> None:
    """Raise where alpha, gamma, the parameter of the form or the smoothing are out of range."""
    device = inputs.curve.device
    gamma = inputs.curve[0]
    check_values("gamma", gamma, 0.0, float("inf"))
    if inputs.alpha is not None:
        check_values("alpha", inputs.alpha, 0.0, 1.0 if spec.sigmoid else float("inf"))
    if inputs.smoothing is not None:
        check_values("label_smoothing", inputs.smoothing, 0.0, 1.0)
    if spec.form == "focal" or parameter is None:
        return
    row = as_row(parameter, device)
    if spec.form == "poly":
        check_values("parameter of poly (epsilon)", row, float("-inf"), float("inf"))
    elif spec.form == "tail":
        check_values("parameter of tail (tau)", row, 0.0, 1.0)
    elif spec.form == "convex":
        check_values("gamma of the convex form", gamma, 0.0, float("inf"), open_ends=True)
        check_values("second parameter of convex (tau)", row[1:], 0.0, 1.0)
    elif spec.form in ("knee", "reduced"):
        check_values(f"parameter of {spec.form} (a probability)", row, 0.0, 1.0, open_ends=True)
        check_knee(spec.form, row, gamma)


def check_knee(form: str, row: Tensor, gamma: Tensor) -> None:
    """Raise where the knee lies so low that focal loss is still steeper than cross-entropy there."""
    if form == "knee" and bool((slope_ratio(row, gamma) > 1 + 1e-12).any()):
        raise SegfocalError(
            f"the knee must lie where focal loss is flatter than cross-entropy, got {row.tolist()} for gamma "
            f"{gamma.tolist()}. For gamma 2 that is above 0.2976."
        )
