"""Sums and gradient of one block of pixels under softmax where the target is a distribution over the classes.

Soft masks, one-hot masks and label smoothing: every class has its own margin. With target ``q`` and
smoothing ``e`` the share of class c is ``q_c [(1-e) alpha_c phi_c + e/C sum_k alpha_k phi_k]``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.losses.eager.adding import total, weighted
from segfocal.losses.eager.softmax import wrong_classes
from segfocal.losses.eager.upstream import Upstream, spread
from segfocal.losses.primitive.curve import whole_gamma
from segfocal.losses.primitive.elements import element_weight, invalid_labels, invalid_masks, valid_elements
from segfocal.losses.primitive.fields import Inputs, Spec, work_dtype
from segfocal.losses.primitive.pixel import FINITE, Parts, modulation, pixel_loss, split


class Distribution(NamedTuple):
    """A block's pixels, (n, C, *S) each, but ``best``, ``valid`` and ``weight`` (n, 1, *S)."""

    x: Tensor
    q: Tensor
    parts: Parts
    best: Tensor  # class of the largest logit
    rivals: Tensor  # softmax over the other classes; what stands at the best is 0
    valid: Tensor | None
    weight: Tensor | None
    invalid: Tensor | None
    hard: bool


def margins(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the margin of every class as if it were the true one; the best class; its rivals' softmax."""
    top, best = x.max(1, keepdim=True)
    below = x - top
    share = below.exp()
    # every class but the best has the best among its rivals, so that nothing cancels
    ordinary = (share.sum(1, keepdim=True) - share).log() - below
    (largest, log_scale), rivals = wrong_classes(x, best)
    return ordinary.scatter(1, best, (largest - top) + log_scale), best, rivals


def target_of(
    block: Inputs, spec: Spec, classes: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return q, which pixels count, and where labels are none."""
    target = block.target
    if target.ndim < block.logits.ndim:
        label = target.unsqueeze(1)
        valid = valid_elements(label, spec.ignore_index)
        steps = torch.arange(classes, device=target.device).view(-1, *[1] * (target.ndim - 1))
        return (label == steps).to(dtype), valid, invalid_labels(label, valid, classes)
    each = valid_elements(target, spec.ignore_index)
    valid = None if each is None else each.all(1, keepdim=True)
    q = target.to(dtype)
    return (q if valid is None else q.masked_fill(~valid, 0)), valid, invalid_masks(target, valid)


def distribution(block: Inputs, spec: Spec) -> Distribution:
    """Find the margins of every pixel of a block."""
    x = block.logits.to(work_dtype(block.logits.dtype)).clamp(-FINITE, FINITE)
    q, valid, invalid = target_of(block, spec, x.shape[1], x.dtype)
    if valid is not None:
        x = x.masked_fill(~valid, 0)
    weight = element_weight(block.weight, valid, x.dtype)
    hard = not block.target.is_floating_point()
    margin, best, rivals = margins(x)
    parts = split(margin, whole_gamma(block.curve))
    return Distribution(x, q, parts, best, rivals, valid, weight, invalid, hard)


def loss_of(block: Inputs, spec: Spec, item: Distribution) -> tuple[Tensor, Tensor]:
    """Compute ``alpha_c phi_c`` and its slope for every class as if it were the true one."""
    curve = spread(block.curve, item.x.ndim, item.x.dtype).unbind(0)
    loss, slope = pixel_loss(spec.form, item.parts, curve)
    if block.alpha is None:
        return loss, slope
    alpha = spread(block.alpha, item.x.ndim, item.x.dtype)
    return loss * alpha, slope * alpha


def shares_of(block: Inputs, spec: Spec, item: Distribution) -> Tensor:
    """Compute every class's share of the pixel's loss."""
    loss = loss_of(block, spec, item)[0]
    if block.smoothing is None:
        return item.q * loss
    smoothing = block.smoothing.to(loss.dtype)
    return item.q * ((1 - smoothing) * loss + smoothing * loss.mean(1, keepdim=True))


def sums(block: Inputs, spec: Spec) -> dict[str, Tensor]:
    """Compute the wanted sums of a block: fields by name, (n, C) each."""
    item = distribution(block, spec)
    want = set(spec.want)
    found: dict[str, Tensor] = {}
    if "loss" in want:
        found["loss"] = total(weighted(shares_of(block, spec, item), item.weight))
    if "modulation" in want:
        gamma = spread(block.curve, item.x.ndim, item.x.dtype)[0]
        found["modulation"] = total(weighted(item.q * modulation(item.parts, gamma), item.weight))
    mass = weighted(item.parts.p, item.weight)
    found["intersection"] = total(mass * item.q)
    found["prediction"] = total(mass)
    found["prediction_squared"] = total(mass * item.parts.p)
    mass = weighted(item.q, item.weight)
    found["weight"] = found["target"] = total(mass)
    found["target_squared"] = total(mass * item.q)
    found.update(count_sums(item))
    if item.invalid is not None:
        found["invalid"] = torch.zeros_like(found["tp"])
        wrong = total(item.invalid, torch.int64)
        found["invalid"][:, : wrong.shape[1]] = wrong
    return found


def count_sums(item: Distribution) -> dict[str, Tensor]:
    """Count elements, and hard decisions by the largest logit against the largest share."""
    q = item.q if item.valid is None else item.q * item.valid
    steps = torch.arange(q.shape[1], device=q.device).view(-1, *[1] * (q.ndim - 2))
    decided = item.best == steps
    label = item.q.argmax(1, keepdim=True) == steps
    if item.valid is not None:
        decided, label = decided & item.valid, label & item.valid
    return {
        "count": total(q > 0, torch.int64) if item.hard else total(q),
        "tp": total(decided & label, torch.int64),
        "fp": total(decided & ~label, torch.int64),
        "fn": total(~decided & label, torch.int64),
    }


def gradient(block: Inputs, spec: Spec, upstream: Upstream) -> Tensor:
    """Compute the gradient by the logits of a block, in the working precision."""
    item = distribution(block, spec)
    p, u = item.parts.p, item.parts.u
    grad = torch.zeros_like(item.x)
    if upstream.loss is not None:
        pull = upstream.loss * item.q
        if block.smoothing is not None:
            smoothing = block.smoothing.to(pull.dtype)
            pull = (1 - smoothing) * pull + smoothing / pull.shape[1] * pull.sum(1, keepdim=True)
        slope = loss_of(block, spec, item)[1] * pull
        # a class pulls all others by p / u; the best one, whose u may be nothing, by its rivals' softmax
        ratio = (slope / u).scatter(1, item.best, 0)
        of_best = slope.gather(1, item.best)
        grad = p * (ratio.sum(1, keepdim=True) - ratio) + of_best * item.rivals - slope
    if upstream.region:
        h = upstream.prediction + item.q * upstream.intersection + 2 * upstream.prediction_squared * p
        grad = grad + p * (h - (p * h).sum(1, keepdim=True))
    return weighted(grad, item.weight)


def values(block: Inputs, spec: Spec) -> Tensor:
    """Compute the loss of every pixel, weight applied, NaN where a label is none: (n, *S)."""
    item = distribution(block, spec)
    value = weighted(shares_of(block, spec, item).sum(1, keepdim=True), item.weight)
    if item.invalid is not None:
        value = value.masked_fill(item.invalid.any(1, keepdim=True), float("nan"))
    return value.squeeze(1)
