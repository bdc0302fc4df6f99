"""Softmax on label maps, written for a compiler: every class is a plane of pixels of its own.

Plain functions without loops over pixels; classes are unrolled, so that the compiler vectorises along the pixels and
keeps all classes of a pixel in registers. Same formulas as ``eager_softmax``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.losses.pixel import FINITE, Parts, modulation, pixel_loss, split

TINY = 1.2e-38


class Math(NamedTuple):
    """The functions that the planes are computed with.

    ``apart`` is applied where a compiler would store an intermediate. In sums it adds a zero per chunk, without which
    the compiler merges the axes of chunks and pixels there and can no longer join these loops with those of the sums.
    """

    exp: Callable[[Tensor], Tensor]
    log1p: Callable[[Tensor], Tensor]
    apart: Callable[[Tensor], Tensor] = lambda value: value

    def split(self, margin: Tensor) -> Parts:
        """Compute the parts of the pixel losses."""
        parts = split(
            margin, lambda value: self.exp(self.apart(value)), lambda value: self.log1p(self.apart(value))
        )
        fields = {name: self.apart(getattr(parts, name)) for name in ("p", "u", "nll", "log_u")}
        return parts._replace(**fields)


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
    power = [math.exp(math.apart((plane - largest).clamp(max=0))) for plane in wrong]
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
    parts = item.parts
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
    value = {
        "loss": lambda: weighted(pixel_loss(form, parts, rates).loss, mass),
        "modulation": lambda: weighted(modulation(parts, rates[0]), mass),
        "intersection": lambda: weighted(parts.p, mass),
        "weight": lambda: weighted(torch.ones_like(parts.p), mass),
        "count": lambda: 1.0,
    }[row]()
    return [torch.where(mask, value, 0.0) for mask in item.hit]


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


def gradient(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    curve: Tensor,
    pull: Tensor | None,
    alpha: Tensor | None,
    region: Sequence[Tensor | None],
    *,
    form: str,
    ignore_index: int | None,
    last: bool,
    math: Math,
) -> Tensor:
    """Compute the gradient by the logits.

    Args:
        logits: (N, C, S).
        target: (N, S).
        weight: (N, S).
        curve: float32, rows of the form by 1 or C.
        pull: Upstream gradient of the loss: (N, C) by label, or (N, 1, S) of every pixel.
        alpha: (C,); None where it is part of ``pull`` already.
        region: Upstream gradients of I, P, P2, (N, C) each; all None where there is no region term.
        form: The pixel loss.
        ignore_index: Label that takes no part.
        last: Whether channels are innermost in memory.
        math: Functions to compute with.

    Returns:
        (N, C, S) or (N, S, C), in the dtype of the logits.
    """
    item = pixels(logits, target, ignore_index, math)
    mass = weight_of(item, weight)
    planes: list[Tensor] = [torch.zeros_like(item.label)] * len(item.x)
    if pull is not None:
        table = pull.unbind(1) if pull.ndim == 3 else [column.unsqueeze(-1) for column in pull.unbind(1)]
        slope = pixel_loss(form, item.parts, curve_of(item, curve)).slope
        slope = weighted(slope * of_label(item, table), mass)
        if alpha is not None:
            slope = slope * of_label(item, alpha.unbind(0))
        planes = [
            torch.where(mask, -slope, slope * share) for mask, share in zip(item.hit, item.share, strict=True)
        ]
    if any(term is not None for term in region):
        planes = [
            plane + extra for plane, extra in zip(planes, region_planes(item, mass, region), strict=True)
        ]
    return torch.stack([plane.to(logits.dtype) for plane in planes], -1 if last else 1)


def region_planes(item: Pixels, mass: Tensor | None, region: Sequence[Tensor | None]) -> list[Tensor]:
    """Chain the region sums through the softmax: ``p_c (h_c - sum_k p_k h_k)``."""
    by_i, by_p, by_p2 = region
    p = probabilities(item)
    slopes: list[Tensor] = []
    for c, (plane, mask) in enumerate(zip(p, item.hit, strict=True)):
        h = torch.zeros_like(plane) if by_p is None else by_p[:, c, None]
        h = h if by_i is None else h + torch.where(mask, by_i[:, c, None], 0.0)
        slopes.append(h if by_p2 is None else h + 2.0 * by_p2[:, c, None] * plane)
    mean = add([plane * h for plane, h in zip(p, slopes, strict=True)])
    return [weighted(plane, mass) * (h - mean) for plane, h in zip(p, slopes, strict=True)]


def values(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    curve: Tensor,
    alpha: Tensor | None,
    *,
    form: str,
    ignore_index: int | None,
    math: Math,
) -> Tensor:
    """Compute the loss of every pixel, (N, S), NaN where the label is none; alpha (C,)."""
    item = pixels(logits, target, ignore_index, math)
    loss = pixel_loss(form, item.parts, curve_of(item, curve)).loss
    if alpha is not None:
        loss = loss * of_label(item, alpha.unbind(0))
    (wrong,) = row_planes("invalid", item, None, [], form)
    return torch.where(wrong > 0, torch.nan, weighted(loss, weight_of(item, weight)))
