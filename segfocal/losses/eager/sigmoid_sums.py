"""What sigmoid needs of a block of pixels but its loss: the two sides, regions, counts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.losses.eager.adding import total, weighted
from segfocal.losses.primitive.pixel import part


class Elements(NamedTuple):
    """A block's pixels: ``x`` is 0 where ignored, ``y`` is bool (hard) or floating (soft)."""

    x: Tensor
    y: Tensor
    share: Tensor  # y in the dtype of x
    valid: Tensor | None
    weight: Tensor | None
    invalid: Tensor | None
    power: int | None  # gamma where it is a small whole number


class Sides(NamedTuple):
    """A value of every element, apart for its share of negative and of positive; the other share is 0."""

    negative: Tensor
    positive: Tensor


def divide(value: Tensor, y: Tensor) -> Sides:
    """Give each element's value to its label, in shares where the label is soft."""
    if y.dtype == torch.bool:
        return Sides(value.masked_fill(y, 0), value.masked_fill(~y, 0))
    return Sides(part(1 - y, value), part(y, value))


def region_sums(item: Elements, want: set[str]) -> dict[str, Tensor]:
    """Compute I, P, P2, Y, Y2."""
    found: dict[str, Tensor] = {}
    y = item.share
    if want & {"intersection", "prediction", "prediction_squared"}:
        p = torch.sigmoid(item.x)
        mass = weighted(p, item.weight)
        found["intersection"] = total(mass * y)
        found["prediction"] = total(mass)
        found["prediction_squared"] = total(mass * p)
    if want & {"target", "target_squared"}:
        found["target"] = total(weighted(y, item.weight))
        found["target_squared"] = total(weighted(y * y, item.weight))
    return found


def count_sums(item: Elements, want: set[str]) -> dict[str, Tensor]:
    """Count elements, and hard decisions at logit 0; a soft label above 0.5 is positive."""
    found: dict[str, Tensor] = {}
    hard = item.y.dtype == torch.bool
    if "count" in want:
        sides = divide(torch.ones_like(item.x), item.y) if not hard else Sides((~item.y), item.y)
        if item.valid is not None:
            sides = Sides(sides.negative * item.valid, sides.positive)
        found["count"] = torch.stack([total(side, torch.int64 if hard else None) for side in sides], -1)
    if want & {"tp", "fp", "fn"}:
        y = item.y if hard else item.y > 0.5
        positive = item.x > 0
        found["tp"] = total(positive & y, torch.int64)
        found["fp"] = total(positive & ~y, torch.int64)
        found["fn"] = total(~positive & y, torch.int64)
    return found
