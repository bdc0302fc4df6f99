"""Sums and gradient of one block of pixels under sigmoid: every channel is a two-class problem of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from segfocal.losses.eager.adding import total, weighted, weighted_loss
from segfocal.losses.eager.sigmoid_sums import Elements, Sides, count_sums, divide, region_sums
from segfocal.losses.eager.upstream import Upstream, spread
from segfocal.losses.primitive.curve import whole_gamma
from segfocal.losses.primitive.elements import element_weight, invalid_labels, invalid_masks, valid_elements
from segfocal.losses.primitive.fields import Inputs, Spec, work_dtype
from segfocal.losses.primitive.pixel import Parts, modulation, part, pixel_loss, split


def elements(block: Inputs, spec: Spec) -> Elements:
    """Bring a block's logits, target and weight into one shape and the working precision."""
    x = block.logits.to(work_dtype(block.logits.dtype))
    if block.target.ndim < x.ndim:
        labels = block.target.unsqueeze(1)
        valid = valid_elements(labels, spec.ignore_index)
        invalid = invalid_labels(labels, valid, x.shape[1])
        y = labels == torch.arange(x.shape[1], device=x.device).view(-1, *[1] * (x.ndim - 2))
    else:
        valid = valid_elements(block.target, spec.ignore_index)
        invalid = invalid_masks(block.target, valid)
        y = block.target.to(x.dtype) if block.target.is_floating_point() else block.target == 1
    if valid is not None:
        x = x.masked_fill(~valid, 0)
        y = y.masked_fill(~valid, 0)
    weight = element_weight(block.weight, valid, x.dtype)
    return Elements(x, y, y.to(x.dtype), valid, weight, invalid, whole_gamma(block.curve))


def signed(item: Elements) -> Tensor:
    """Return the margin of every hard element: a product, which is faster than a choice."""
    return item.x * (1 - 2 * item.share)


def alphas(block: Inputs, ndim: int) -> tuple[Tensor | float, Tensor | float]:
    """Return the weights of negatives and positives, shaped to broadcast over the block."""
    if block.alpha is None:
        return 1.0, 1.0
    positive = spread(block.alpha, ndim, work_dtype(block.logits.dtype))
    return 1 - positive, positive


def curve_rows(block: Inputs, ndim: int) -> tuple[Tensor, ...]:
    """Return the rows of the curve, shaped to broadcast over the block."""
    return spread(block.curve, ndim, work_dtype(block.logits.dtype)).unbind(0)


def loss_sides(block: Inputs, spec: Spec, item: Elements) -> Sides:
    """Compute the pixel loss of every element, alpha applied, weight not."""
    curve = curve_rows(block, item.x.ndim)
    alpha_0, alpha_1 = alphas(block, item.x.ndim)
    if item.y.dtype == torch.bool and block.smoothing is None:
        loss = pixel_loss(spec.form, split(signed(item), item.power), curve).loss
        negative, positive = divide(loss, item.y)
        return (
            Sides(negative, positive)
            if block.alpha is None
            else Sides(part(alpha_0, negative), part(alpha_1, positive))
        )
    as_0 = part(alpha_0, pixel_loss(spec.form, split(item.x, item.power), curve).loss)
    as_1 = part(alpha_1, pixel_loss(spec.form, split(-item.x, item.power), curve).loss)
    if block.smoothing is not None:
        moved = block.smoothing.to(item.x.dtype) / 2
        kept = 1 - moved
        as_0, as_1 = part(kept, as_0) + part(moved, as_1), part(kept, as_1) + part(moved, as_0)
    return Sides(divide(as_0, item.y).negative, divide(as_1, item.y).positive)


def modulation_sides(block: Inputs, item: Elements) -> Sides:
    """Compute ``u^g`` of every element."""
    gamma = curve_rows(block, item.x.ndim)[0]
    if item.y.dtype == torch.bool:
        return divide(modulation(split(signed(item), item.power), gamma), item.y)
    return Sides(
        (1 - item.y) * modulation(split(item.x, item.power), gamma),
        item.y * modulation(split(-item.x, item.power), gamma),
    )


def sums(block: Inputs, spec: Spec) -> dict[str, Tensor]:
    """Compute the wanted sums of a block.

    Args:
        block: Pixels.
        spec: What to compute.

    Returns:
        Fields by name, shape (n, C) or (n, C, 2), in the working precision; counts int64.
    """
    item = elements(block, spec)
    want = set(spec.want)
    found: dict[str, Tensor] = {}

    def both(sides: Sides) -> Tensor:
        return torch.stack([total(weighted_loss(side, item.weight)) for side in sides], -1)

    if "loss" in want:
        found["loss"] = both(loss_sides(block, spec, item))
    if "modulation" in want:
        found["modulation"] = both(modulation_sides(block, item))
    if "weight" in want:
        found["weight"] = both(divide(torch.ones_like(item.x), item.y))
    found.update(region_sums(item, want))
    found.update(count_sums(item, want))
    if item.invalid is not None:
        found["invalid"] = total(item.invalid.expand(-1, item.x.shape[1], *item.x.shape[2:]), torch.int64)
        if block.target.ndim < item.x.ndim:
            found["invalid"][:, 1:] = 0  # one label map serves all channels
    return found


def gradient(block: Inputs, spec: Spec, upstream: Upstream) -> Tensor:
    """Compute the gradient by the logits of a block, in the working precision."""
    item = elements(block, spec)
    grad = torch.zeros_like(item.x)
    if upstream.loss is not None:
        grad = loss_gradient(block, spec, item, upstream.loss)
    if upstream.region:
        parts: Parts = split(item.x, item.power)
        p = parts.u
        pull = upstream.prediction + item.y * upstream.intersection + 2 * p * upstream.prediction_squared
        grad = grad + p * parts.p * pull
    return weighted(grad, item.weight)


def loss_gradient(block: Inputs, spec: Spec, item: Elements, upstream: Tensor) -> Tensor:
    """Chain the pixel loss: ``dz/dx`` is 1 for a negative and -1 for a positive."""
    curve = curve_rows(block, item.x.ndim)
    alpha_0, alpha_1 = alphas(block, item.x.ndim)
    up_0, up_1 = upstream.unbind(-1)
    if item.y.dtype == torch.bool and block.smoothing is None:
        slope = pixel_loss(spec.form, split(signed(item), item.power), curve).slope
        return slope * ((1 - item.share) * (alpha_0 * up_0) - item.share * (alpha_1 * up_1))
    moved = 0.0 if block.smoothing is None else block.smoothing.to(item.x.dtype) / 2
    y = item.share
    pull_0, pull_1 = up_0 * (1 - y), up_1 * y
    as_0 = alpha_0 * (pull_0 + moved * (pull_1 - pull_0))
    as_1 = alpha_1 * (pull_1 + moved * (pull_0 - pull_1))
    return (
        as_0 * pixel_loss(spec.form, split(item.x, item.power), curve).slope
        - as_1 * pixel_loss(spec.form, split(-item.x, item.power), curve).slope
    )


def values(block: Inputs, spec: Spec) -> Tensor:
    """Compute the loss of every element, weight applied, NaN where the label is none."""
    item = elements(block, spec)
    negative, positive = loss_sides(block, spec, item)
    value = weighted_loss(negative + positive, item.weight)
    return value if item.invalid is None else value.masked_fill(item.invalid, float("nan"))
