"""Sigmoid on any target, written for a compiler: one formula for every element, nothing unrolled.

Same formulas as ``eager_sigmoid``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.losses.pixel import Parts, PixelLoss, modulation, pixel_loss
from segfocal.losses.planes import Math, weighted


class Elements(NamedTuple):
    """All (N, C, ...), float32; ``x`` is 0 where ignored, ``y`` is 0 or 1 for hard targets."""

    x: Tensor
    y: Tensor
    positive: Tensor | None  # y as a mask, where targets are hard
    valid: Tensor | None
    invalid: Tensor
    mass: Tensor | None


def elements(logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int | None) -> Elements:
    """Bring logits, target and weight into one shape and float32."""
    x, label = logits.to(torch.float32), target.to(torch.float32)
    valid = None if ignore_index is None else label != ignore_index
    if target.ndim < logits.ndim:
        channels = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
        positive = label.unsqueeze(1) == channels.view(-1, *[1] * (x.ndim - 2))
        wrong = ((label < 0) | (label >= x.shape[1])).unsqueeze(1)
        valid = None if valid is None else valid.unsqueeze(1)
    elif target.is_floating_point():
        positive, wrong = None, ~((label >= 0) & (label <= 1))
    else:
        positive, wrong = label == 1, label * label != label
    y = label if positive is None else torch.where(positive, 1.0, 0.0)
    mass = None if weight is None else weight.to(torch.float32)
    if valid is not None:
        x, y, wrong = torch.where(valid, x, 0.0), torch.where(valid, y, 0.0), wrong & valid
        positive = None if positive is None else positive & valid
        mass = torch.where(valid, 1.0 if mass is None else mass, 0.0)
    return Elements(x, y, positive, valid, wrong, mass)


def sides(item: Elements, value: Tensor) -> list[Tensor]:
    """Give each element's value to its label: negatives, positives."""
    if item.positive is not None:
        return [torch.where(item.positive, 0.0, value), torch.where(item.positive, value, 0.0)]
    return [(1.0 - item.y) * value, item.y * value]


def both(item: Elements, form: str, rates: Sequence[Tensor], math: Math) -> tuple[PixelLoss, PixelLoss]:
    """Compute the pixel loss of every element as a negative and as a positive."""
    as_0 = pixel_loss(form, math.split(item.x), rates)
    return as_0, pixel_loss(form, math.split(-item.x), rates)


def own(x: Tensor, positive: Tensor, math: Math) -> Parts:
    """Split the margin of every hard element."""
    return math.split(torch.where(positive, -x, x))


def probability(item: Elements, math: Math) -> tuple[Tensor, Tensor]:
    """Return ``p`` and ``1 - p``, from what the pixel loss has computed already where targets are hard."""
    if item.positive is None:
        parts = math.split(item.x)
        return parts.u, parts.p
    parts = own(item.x, item.positive, math)
    return torch.where(item.positive, parts.p, parts.u), torch.where(item.positive, parts.u, parts.p)


def losses(
    item: Elements,
    form: str,
    rates: Sequence[Tensor],
    alpha: Tensor | None,
    smoothing: Tensor | None,
    math: Math,
) -> list[Tensor]:
    """Compute the loss of the negative and of the positive share of every element, alpha applied."""
    alpha_0, alpha_1 = (1.0, 1.0) if alpha is None else (1.0 - alpha, alpha)
    if item.positive is not None and smoothing is None:
        negative, positive = sides(item, pixel_loss(form, own(item.x, item.positive, math), rates).loss)
        return [negative * alpha_0, positive * alpha_1]
    (loss_0, _), (loss_1, _) = both(item, form, rates, math)
    loss_0, loss_1 = loss_0 * alpha_0, loss_1 * alpha_1
    moved = 0.0 if smoothing is None else 0.5 * smoothing
    negative = sides(item, loss_0 + moved * (loss_1 - loss_0))[0]
    return [negative, sides(item, loss_1 + moved * (loss_0 - loss_1))[1]]


def sums(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    curve: Tensor,
    alpha: Tensor | None,
    smoothing: Tensor | None,
    zero: Tensor,
    *,
    form: str,
    ignore_index: int | None,
    rows: Sequence[str],
    math: Math,
) -> list[Tensor]:
    """Sum over the last axis: for every row one or two sums (N, C, B); logits (N, C, B, K)."""
    math = math._replace(apart=lambda value: value + zero)
    item = elements(math.apart(logits.to(torch.float32)), target, weight, ignore_index)
    found: list[Tensor] = []
    for row in rows:
        if row == "loss":
            planes = losses(item, form, curve.unbind(0), alpha, smoothing, math)
            found.extend(weighted(plane, item.mass).sum(-1) for plane in planes)
        else:
            found.extend(plane.sum(-1) for plane in row_planes(row, item, curve[0], math))
    return found


def row_planes(row: str, item: Elements, gamma: Tensor, math: Math) -> list[Tensor]:
    """Return what the sums of one row are taken of."""
    one = torch.ones_like(item.x)
    if row == "invalid":
        return [torch.where(item.invalid, one, 0.0)]
    if row == "modulation":
        if item.positive is not None:
            return [
                weighted(side, item.mass)
                for side in sides(item, modulation(own(item.x, item.positive, math), gamma))
            ]
        as_0, as_1 = (modulation(math.split(x), gamma) for x in (item.x, -item.x))
        return [weighted(sides(item, as_0)[0], item.mass), weighted(sides(item, as_1)[1], item.mass)]
    if row == "weight":
        return [weighted(side, item.mass) for side in sides(item, one)]
    if row == "count":
        return sides(item, one if item.valid is None else torch.where(item.valid, one, 0.0))
    if row in ("tp", "fp", "fn"):
        positive, label = item.x > 0, item.y > 0.5
        hit = {"tp": positive & label, "fp": positive & ~label, "fn": ~positive & label}[row]
        return [torch.where(hit, 1.0, 0.0)]
    if row in ("target", "target_squared"):
        return [weighted(item.y if row == "target" else item.y * item.y, item.mass)]
    p = probability(item, math)[0]
    other = {"intersection": item.y, "prediction": one, "prediction_squared": p}[row]
    return [weighted(p * other, item.mass)]
