"""Sums and gradient of one block of pixels under softmax, for label maps: one margin per pixel."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.losses.eager.adding import weighted, weighted_loss
from segfocal.losses.eager.upstream import Upstream, spread
from segfocal.losses.primitive.curve import whole_gamma
from segfocal.losses.primitive.elements import element_weight, invalid_labels, valid_elements
from segfocal.losses.primitive.fields import Inputs, Spec, work_dtype
from segfocal.losses.primitive.pixel import FINITE, Parts, modulation, part, pixel_loss, split


class Pixels(NamedTuple):
    """A block's pixels: (n, 1, *S) each, but ``x`` and ``shares`` (n, C, *S)."""

    x: Tensor
    label: Tensor  # int64, 0 where ignored or invalid
    shares: Tensor  # softmax over the wrong classes; what stands at the label is 0
    parts: Parts
    valid: Tensor | None
    weight: Tensor | None
    invalid: Tensor | None


def wrong_classes(x: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Compute logsumexp over all classes but ``right``, and the softmax over them.

    Args:
        x: (n, C, *S).
        right: (n, 1, *S) int64.

    Returns:
        The largest wrong logit and the logarithm of ``sum exp(x - largest)`` over the wrong classes, kept
        apart so that the margin keeps its precision, stacked as (2, n, 1, *S); and the shares (n, C, *S).
    """
    rest = x.scatter(1, right, float("-inf"))
    largest = rest.amax(1, keepdim=True).clamp(-FINITE, FINITE)
    shares = rest.sub_(largest).clamp_(max=0).exp_()
    # at least 1 unless all wrong classes are masked out; then shares are 0 and the margin -FINITE
    scale = shares.sum(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    return torch.stack([largest, scale.log()]), shares.div_(scale)


def pixels(block: Inputs, spec: Spec) -> Pixels:
    """Find the margin of every pixel of a block."""
    x = block.logits.to(work_dtype(block.logits.dtype))
    label = block.target.unsqueeze(1)
    valid = valid_elements(label, spec.ignore_index)
    invalid = invalid_labels(label, valid, x.shape[1])
    label = label.long()
    if valid is not None:
        x = x.masked_fill(~valid, 0)
        label = label.masked_fill(~valid, 0)
    if invalid is not None:
        label = label.masked_fill(invalid, 0)
    (largest, log_scale), shares = wrong_classes(x, label)
    margin = (largest - x.gather(1, label)) + log_scale
    weight = element_weight(block.weight, valid, x.dtype)
    return Pixels(x, label, shares, split(margin, whole_gamma(block.curve)), valid, weight, invalid)


def by_label(values: list[Tensor], label: Tensor, classes: int) -> list[Tensor]:
    """Sum values (n, 1, *S) over the pixels of every label, in float64 where there is one: (n, C) each."""
    flat = torch.stack(values).flatten(2)
    if flat.dtype == torch.float32 and flat.device.type != "mps":
        flat = flat.double()
    into = flat.new_zeros((*flat.shape[:2], classes))
    return list(into.scatter_add_(2, label.flatten(1).expand_as(flat), flat))


def row_of_label(table: Tensor, label: Tensor) -> Tensor:
    """Look up (n or 1, C, 1...) by the label of every pixel."""
    if table.shape[1] == 1:
        return table
    flat = table.flatten(1).expand(label.shape[0], -1)
    return flat.gather(1, label.flatten(1)).view_as(label)


def curve_rows(block: Inputs, item: Pixels) -> list[Tensor]:
    """Return the rows of the curve for every pixel."""
    rows = spread(block.curve, item.x.ndim, item.x.dtype)
    return [row_of_label(row.unsqueeze(0), item.label) for row in rows]


def loss_of(block: Inputs, spec: Spec, item: Pixels) -> tuple[Tensor, Tensor]:
    """Compute loss and slope of every pixel, alpha applied, weight not."""
    loss, slope = pixel_loss(spec.form, item.parts, curve_rows(block, item))
    if block.alpha is None:
        return loss, slope
    alpha = row_of_label(spread(block.alpha, item.x.ndim, item.x.dtype).unsqueeze(0), item.label)
    return part(alpha, loss), slope * alpha


def sums(block: Inputs, spec: Spec) -> dict[str, Tensor]:
    """Compute the wanted sums of a block.

    Args:
        block: Pixels.
        spec: What to compute.

    Returns:
        Fields by name, shape (n, C); counts int64.
    """
    item = pixels(block, spec)
    want = set(spec.want)
    values: dict[str, Tensor] = {}
    if "loss" in want:
        values["loss"] = weighted_loss(loss_of(block, spec, item)[0], item.weight)
    if "modulation" in want:
        values["modulation"] = weighted(modulation(item.parts, curve_rows(block, item)[0]), item.weight)
    if want & {"weight", "target", "target_squared"}:
        values["weight"] = weighted(torch.ones_like(item.parts.p), item.weight)
    found = region_sums(item, want, values)
    found.update(count_sums(item, want))
    if item.invalid is not None:
        found["invalid"] = item.x.new_zeros(item.x.shape[:2], dtype=torch.int64)
        found["invalid"][:, 0] = item.invalid.flatten(1).sum(1)
    return found


def region_sums(item: Pixels, want: set[str], values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Compute I, P, P2 beside the values found so far, and sum by label; W, Y and Y2 are the same."""
    mass = weighted(item.parts.p, item.weight)
    axes = tuple(range(2, item.x.ndim))
    if want & {"intersection", "prediction"}:
        values["intersection"] = mass
    if "prediction_squared" in want:
        values["prediction_squared"] = mass * item.parts.p
    names = list(values)
    found = (
        dict(zip(names, by_label(list(values.values()), item.label, item.x.shape[1]), strict=True))
        if names
        else {}
    )
    if want & {"prediction", "prediction_squared"}:
        wrong = item.shares * item.parts.u
        mass = weighted(wrong, item.weight)
        if "prediction" in want:
            found["prediction"] = found["intersection"] + (mass.sum(axes) if axes else mass)
        if "prediction_squared" in want:
            square = mass * wrong
            found["prediction_squared"] = found["prediction_squared"] + (square.sum(axes) if axes else square)
    if "weight" in found:
        found["target"] = found["target_squared"] = found["weight"]
    return found


def count_sums(item: Pixels, want: set[str]) -> dict[str, Tensor]:
    """Count labels, and hard decisions by the largest logit."""
    if not want & {"count", "tp", "fp", "fn"}:
        return {}
    classes = item.x.shape[1]
    one = torch.ones_like(item.label) if item.valid is None else item.valid.long()
    if item.invalid is not None:
        one = one.masked_fill(item.invalid, 0)
    (count,) = by_label([one], item.label, classes)
    if not want & {"tp", "fp", "fn"}:
        return {"count": count}
    decision = item.x.argmax(1, keepdim=True)
    (tp,) = by_label([one * (decision == item.label)], item.label, classes)
    (decided,) = by_label([one], decision, classes)
    return {"count": count, "tp": tp, "fp": decided - tp, "fn": count - tp}


def gradient(block: Inputs, spec: Spec, upstream: Upstream) -> Tensor:
    """Compute the gradient by the logits of a block, in the working precision."""
    item = pixels(block, spec)
    grad = torch.zeros_like(item.x)
    if upstream.loss is not None:
        pull = loss_of(block, spec, item)[1] * row_of_label(upstream.loss, item.label)
        grad = (item.shares * pull).scatter_(1, item.label, -pull)
    if upstream.region:
        p = (item.shares * item.parts.u).scatter_(1, item.label, item.parts.p)
        h = upstream.prediction + 2 * upstream.prediction_squared * p
        h = torch.as_tensor(h, dtype=p.dtype, device=p.device).expand_as(p)
        if isinstance(upstream.intersection, Tensor):
            h = h.scatter_add(
                1, item.label, row_of_label(upstream.intersection, item.label).expand_as(item.label)
            )
        p_h = p * h
        grad += p_h - p * p_h.sum(1, keepdim=True)
    return weighted(grad, item.weight)


def values(block: Inputs, spec: Spec) -> Tensor:
    """Compute the loss of every pixel, weight applied, NaN where the label is none: (n, *S)."""
    item = pixels(block, spec)
    value = weighted_loss(loss_of(block, spec, item)[0], item.weight)
    if item.invalid is not None:
        value = value.masked_fill(item.invalid, float("nan"))
    return value.squeeze(1)
