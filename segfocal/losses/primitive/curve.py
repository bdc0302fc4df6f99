"""The few numbers that shape a pixel loss, as one small float64 tensor with a row each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice

Form = Literal["focal", "knee", "tail", "poly", "reduced", "convex"]
FORMS = get_args(Form)
ROWS = {"focal": 1, "poly": 2, "tail": 2, "knee": 4, "reduced": 3, "convex": 3}

Number = float | Sequence[float] | Tensor


def as_row(value: Number, device: torch.device) -> Tensor:
    """Return a number or a sequence of numbers as a float64 vector.

    A number is filled in on the device; a copy to it, as a sequence needs, waits for the device.
    """
    dtype = torch.float32 if device.type == "mps" else torch.float64
    if isinstance(value, Tensor) and value.numel() == 1 and value.device.type == "cpu" != device.type:
        value = value if torch.compiler.is_compiling() else value.item()
    if isinstance(value, int | float):
        return torch.full((1,), value, dtype=dtype, device=device)
    return torch.as_tensor(value, dtype=dtype, device=device).detach().reshape(-1)


def slope_ratio(p: Tensor, gamma: Tensor) -> Tensor:
    """Compute ``G(p) = (1-p)^g - g p (1-p)^(g-1) log p``: focal slope over cross-entropy slope.

    Example:
        >>> round(slope_ratio(torch.tensor(0.75), torch.tensor(2.0)).item(), 4)
        0.1704
    """
    return (1 - p) ** gamma - gamma * p * (1 - p) ** (gamma - 1) * p.log()


def curve(form: str, gamma: Number, parameter: float | Tensor | None, device: torch.device) -> Tensor:
    """Lay out the numbers of a form for the kernels.

    Args:
        form: ``"focal"`` (no parameter), ``"poly"`` (epsilon), ``"tail"`` (tau), ``"knee"`` (p_k),
            ``"reduced"`` (threshold on p), ``"convex"`` (shift, or the pair shift and tau).
        gamma: Focusing exponent, a number or one per class.
        parameter: What the form adds to gamma.
        device: Where the logits live.

    Returns:
        Shape (ROWS[form], 1) or (ROWS[form], C), float64: gamma, then
        poly: epsilon; tail: tau; knee: margin of the knee, tau, offset; reduced: margin of the threshold,
            its log;
        convex: shift, tau.

    Raises:
        SegfocalError: Unknown form, or a parameter missing or superfluous.

    Source:
        knee: ``tau = G(p_k)``, ``offset = (tau - (1-p_k)^g) (-log p_k)``, which makes loss and slope
            continuous.

    Example:
        >>> curve("knee", 2.0, 0.75, torch.device("cpu"))[2].item().__round__(6)
        0.170381
    """
    check_choice("form", form, FORMS)
    exponent = as_row(gamma, device)
    if form == "focal":
        if parameter is not None:
            raise SegfocalError(f"form 'focal' takes no parameter, got {parameter!r}. Leave parameter=None.")
        return exponent.unsqueeze(0)
    if parameter is None:
        raise SegfocalError(f"form {form!r} needs a parameter, got None.")
    value = as_row(parameter, device)
    extra = [row.expand_as(exponent) for row in parameter_rows(form, exponent, value)]
    return torch.stack([exponent, *extra])


def parameter_rows(form: str, gamma: Tensor, value: Tensor) -> list[Tensor]:
    """Derive the rows below gamma from the form's parameter."""
    if ROWS[form] == 2:
        return [value]
    if form == "convex":
        shift, tau = value[:1], value[1:2]
        return [shift, tau if tau.numel() else torch.zeros_like(shift)]
    margin = torch.log1p(-value) - value.log()
    if form == "reduced":
        return [margin, value.log()]
    tau = slope_ratio(value, gamma)
    return [margin, tau, (tau - (1 - value) ** gamma) * -value.log()]


def whole_gamma(rows: Tensor) -> int | None:
    """Return gamma where it is 0, 1, 2 or 3 for all classes and a look at it costs nothing.

    Example:
        >>> whole_gamma(curve("focal", 2.0, None, torch.device("cpu")))
        2
    """
    if rows.device.type != "cpu" or rows.shape[1] > 1:
        return None
    gamma = rows.item() if rows.numel() == 1 else rows[0, 0].item()  # indexing takes longer
    return int(gamma) if gamma in (0, 1, 2, 3) else None
