"""Gradient and map of softmax on label maps, written for a compiler as ``planes`` is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.losses.pixel import pixel_loss
from segfocal.losses.planes import (
    Math,
    Pixels,
    add,
    curve_of,
    of_label,
    pixels,
    probabilities,
    row_planes,
    weight_of,
    weighted,
)


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
