"""Gradient and map of sigmoid on any target, written for a compiler as ``planes_sigmoid`` is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.losses.pixel import pixel_loss
from segfocal.losses.planes import Math, weighted
from segfocal.losses.planes_sigmoid import Elements, both, elements, losses, own, probability


def gradient(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    curve: Tensor,
    alpha: Tensor | None,
    smoothing: Tensor | None,
    pull: Sequence[Tensor] | None,
    region: Sequence[Tensor | None],
    *,
    form: str,
    ignore_index: int | None,
    math: Math,
) -> Tensor:
    """Compute the gradient by the logits, (N, C, S); ``pull``: for negatives and positives."""
    item = elements(logits, target, weight, ignore_index)
    grad = torch.zeros_like(item.x)
    rates = curve.unbind(0)
    if pull is not None:
        alpha_0, alpha_1 = (1.0, 1.0) if alpha is None else (1.0 - alpha, alpha)
        if item.positive is not None and smoothing is None:
            slope = pixel_loss(form, own(item.x, item.positive, math), rates).slope
            grad = slope * torch.where(item.positive, -(pull[1] * alpha_1), pull[0] * alpha_0)
        else:
            moved = 0.0 if smoothing is None else 0.5 * smoothing
            pull_0, pull_1 = pull[0] * (1.0 - item.y), pull[1] * item.y
            (_, slope_0), (_, slope_1) = both(item, form, rates, math)
            grad = alpha_0 * (pull_0 + moved * (pull_1 - pull_0)) * slope_0
            grad = grad - alpha_1 * (pull_1 + moved * (pull_0 - pull_1)) * slope_1
    if any(term is not None for term in region):
        grad = grad + region_slope(item, region, math)
    return weighted(grad, item.mass).to(logits.dtype)


def region_slope(item: Elements, region: Sequence[Tensor | None], math: Math) -> Tensor:
    """Chain the region sums through the sigmoid: ``p (1-p) h``."""
    by_i, by_p, by_p2 = region
    p, rest = probability(item, math)
    h = torch.zeros_like(item.x) if by_p is None else by_p
    h = h if by_i is None else h + by_i * item.y
    h = h if by_p2 is None else h + 2.0 * by_p2 * p
    return p * rest * h


def values(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    curve: Tensor,
    alpha: Tensor | None,
    smoothing: Tensor | None,
    *,
    form: str,
    ignore_index: int | None,
    math: Math,
) -> Tensor:
    """Compute the loss of every element, (N, C, S), NaN where the label is none."""
    item = elements(logits, target, weight, ignore_index)
    negative, positive = losses(item, form, curve.unbind(0), alpha, smoothing, math)
    return torch.where(item.invalid, torch.nan, weighted(negative + positive, item.mass))
