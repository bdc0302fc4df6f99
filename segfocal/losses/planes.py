"""Softmax on label maps, written for a compiler: every class is a plane of pixels of its own.

Plain functions without loops over pixels; classes are unrolled, so that the compiler vectorises along the
pixels and keeps all classes of a pixel in registers. Same formulas as ``eager_softmax``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.losses.pixel import FINITE, Parts, modulation, pixel_loss

TINY = 1.2e-38


class Math(NamedTuple):
    """The functions that the planes are computed with.

    ``apart`` is applied where a compiler would store an intermediate. In sums it adds a zero per chunk,
    without which the compiler merges the axes of chunks and pixels there and can no longer join these loops
    with those of the sums. ``power`` is gamma where it is a small whole number.
    """

    exp: Callable[[Tensor], Tensor]
    log1p: Callable[[Tensor], Tensor]
    power: int | None = None
    apart: Callable[[Tensor], Tensor] = lambda value: value

    def split(self, margin: Tensor) -> Parts:
        """Compute what ``pixel.split`` does, with one exponential."""
        small = self.exp(self.apart(-margin.abs()))
        larger = (1.0 + small).reciprocal()
        smaller = small * larger
        rest = self.log1p(self.apart(small))
        wrong = margin > 0
        return Parts(
            margin=margin,
            p=self.apart(torch.where(wrong, smaller, larger)),
            u=self.apart(torch.where(wrong, larger, smaller)),
            nll=self.apart(torch.relu(margin) + rest),
            log_u=self.apart(margin.clamp(min=-FINITE, max=0) - rest),
            exp=self.exp,
            split=self.split,
            power=self.power,
        )


class Pixels(NamedTuple):
    """All planes have the shape of the label map."""

    x: list[Tensor]
    label: Tensor  # float32: comparing floats yields the masks that the processor selects floats with
    hit: list[Tensor]  # per class: label == c
    share: list[Tensor]  # per class: softmax over the wrong classes, 0 at the label
    parts: Parts
    valid: Tensor | None


def add(planes: Sequence[Tensor]) -> Tensor:
    """Sum planes."""
    value = planes[0]
    for plane in planes[1:]:
        value = value + plane
    return value


def pixels(logits: Tensor, target: Tensor, ignore_index: int | None, math: Math) -> Pixels:
    """Find the margin of every pixel; logits (N, C, ...), target (N, ...)."""
    label = math.apart(target.to(torch.float32))
    valid = None if ignore_index is None else label != ignore_index
    x = [logits[:, c].to(torch.float32) for c in range(logits.shape[1])]
    if valid is not None:
        label = torch.where(valid, label, -1.0)
    hit = [label == c for c in range(len(x))]
    # an ignored pixel has no class at all: its logits are never computed with
    hidden = hit if valid is None else [mask | ~valid for mask in hit]
    wrong = [torch.where(mask, -torch.inf, plane) for mask, plane in zip(hidden, x, strict=True)]
    right = add([torch.where(mask, plane, 0.0) for mask, plane in zip(hit, x, strict=True)])
    largest = wrong[0]
    for plane in wrong[1:]:
        largest = torch.maximum(largest, plane)
    largest = largest.clamp(-FINITE, FINITE)
    power = [math.exp(math.apart(plane - largest)) for plane in wrong]
    scale = math.apart(add(power).clamp(min=TINY))
    inverse = 1.0 / scale
    parts = math.split(math.apart((largest - right) + torch.log(scale)))
    return Pixels(x, label, hit, [plane * inverse for plane in power], parts, valid)


def weight_of(item: Pixels, weight: Tensor | None) -> Tensor | None:
    """Return the weight, 0 where ignored; None where all weigh 1."""
    if weight is None:
        return None if item.valid is None else torch.where(item.valid, 1.0, 0.0)
    cast = weight.to(torch.float32)
    return cast if item.valid is None else torch.where(item.valid, cast, 0.0)


def weighted(value: Tensor, weight: Tensor | None) -> Tensor:
    """Multiply by the weight, if there is one."""
    return value if weight is None else value * weight


def of_label(item: Pixels, table: Sequence[Tensor]) -> Tensor:
    """Look up the label's entry; a table of one entry serves all classes."""
    if len(table) == 1:
        return table[0]
    return add([torch.where(mask, entry, 0.0) for mask, entry in zip(item.hit, table, strict=True)])


def curve_of(item: Pixels, curve: Tensor) -> list[Tensor]:
    """Return the rows of the curve for every pixel."""
    return [of_label(item, row.unbind(0)) for row in curve.unbind(0)]


def sums(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    curve: Tensor,
    zero: Tensor,
    *,
    form: str,
    ignore_index: int | None,
    rows: Sequence[str],
    math: Math,
) -> list[Tensor]:
    """Sum over the last axis.

    Args:
        logits: (N, C, B, K), S cut into B chunks of K pixels.
        target: (N, B, K).
        weight: (N, B, K).
        curve: float32, rows of the form by 1 or C.
        zero: (B, 1) zeros; see ``Math.apart``.
        form: The pixel loss.
        ignore_index: Label that takes no part.
        rows: What to sum, of ``compiled.ROWS``.
        math: Functions to compute with.

    Returns:
        For every row its C sums, each (N, B); for ``invalid`` a single one.
    """
    item = pixels(logits, target, ignore_index, math._replace(apart=lambda value: value + zero))
    mass = weight_of(item, weight)
    rates = curve_of(item, curve)
    found: list[Tensor] = []
    for row in rows:
        found.extend(plane.sum(-1) for plane in row_planes(row, item, mass, rates, form))
    return found


def row_planes(row: str, item: Pixels, mass: Tensor | None, rates: list[Tensor], form: str) -> list[Tensor]:
    """Return the planes whose sums make up one row."""
    if row == "invalid":
        wrong = (item.label < 0) | (item.label >= len(item.x))
        wrong = wrong if item.valid is None else wrong & item.valid
        return [torch.where(wrong, 1.0, 0.0)]
    if row in ("prediction", "prediction_squared"):
        p = probabilities(item)
        return [weighted(plane if row == "prediction" else plane * plane, mass) for plane in p]
    if row in ("tp", "decided"):
        decided = decisions(item)
        if row == "tp":
            decided = [mask & hit for mask, hit in zip(decided, item.hit, strict=True)]
        return [torch.where(mask, 1.0, 0.0) for mask in decided]
    return [torch.where(mask, pixel_row(row, item, mass, rates, form), 0.0) for mask in item.hit]


def pixel_row(row: str, item: Pixels, mass: Tensor | None, rates: list[Tensor], form: str) -> Tensor:
    """Return what each pixel adds to the row at its label."""
    one = torch.ones_like(item.label)
    if row == "count":
        return one
    value = {"weight": one, "intersection": item.parts.p}.get(row)
    if row == "loss":
        value = pixel_loss(form, item.parts, rates).loss
    if row == "modulation":
        value = modulation(item.parts, rates[0])
    assert value is not None
    return weighted(value, mass)


def probabilities(item: Pixels) -> list[Tensor]:
    """Return the softmax, every class to full relative precision."""
    return [
        torch.where(mask, item.parts.p, plane * item.parts.u)
        for mask, plane in zip(item.hit, item.share, strict=True)
    ]


def decisions(item: Pixels) -> list[Tensor]:
    """Return where each class has the largest logit, the first of equals."""
    best, winner = item.x[0], torch.zeros_like(item.label)
    for c, plane in enumerate(item.x[1:], start=1):
        better = plane > best
        best, winner = torch.where(better, plane, best), torch.where(better, float(c), winner)
    won = [winner == c for c in range(len(item.x))]
    return won if item.valid is None else [mask & item.valid for mask in won]
