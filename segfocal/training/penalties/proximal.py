"""The proximal step of the L1 norm, as long as the optimizer's own step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError


def shrink(weight: nn.Parameter, amount: Tensor | float) -> None:
    """Move every value towards 0 by ``amount``; what lies within it becomes exactly 0.

    Args:
        weight: Changed in place.
        amount: At least 0; one number, or one per value.

    Example:
        >>> weight = nn.Parameter(torch.tensor([1.0, -0.5, 0.2]))
        >>> shrink(weight, 0.25)
        >>> weight.tolist()
        [0.75, -0.25, 0.0]
    """
    with torch.no_grad():
        weight.sub_(weight.clamp(min=-amount, max=amount))  # type: ignore[arg-type]


def step_size(
    optimizer: torch.optim.Optimizer, group: Mapping[str, Any], weight: nn.Parameter
) -> Tensor | float:
    """Return how far an optimizer goes per unit of a constant gradient, once its averages have settled.

    A proximal step as long as that leaves weights at rest exactly where loss + penalty is smallest.

    Args:
        optimizer: SGD, Adam or AdamW, after a step.
        group: The one of its parameter groups that holds the weight.
        weight: The parameter.

    Returns:
        ``lr / (1 - momentum)`` for SGD; ``lr / (sqrt(v) + eps)`` for Adam, v as corrected for its bias, of
        the weight's shape. 0 for a weight that has not been moved yet.

    Raises:
        SegfocalError: For another optimizer.

    Example:
        >>> weight = nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.5)
        >>> step_size(optimizer, optimizer.param_groups[0], weight)
        0.2
    """
    if isinstance(optimizer, torch.optim.SGD):
        return float(group["lr"] / (1.0 - group["momentum"]))
    if isinstance(optimizer, (torch.optim.Adam, torch.optim.AdamW)):
        state = optimizer.state.get(weight)
        if not state:
            return 0.0
        corrected = state["exp_avg_sq"] / (1.0 - group["betas"][1] ** float(state["step"]))
        size: Tensor = group["lr"] / corrected.sqrt_().add_(group["eps"])
        return size
    raise SegfocalError(
        f"L1 with proximal=True knows the steps of SGD, Adam and AdamW, got {type(optimizer).__name__}. Use "
        "proximal=False."
    )
