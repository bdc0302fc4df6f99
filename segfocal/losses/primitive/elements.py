"""Which elements of a target count, and which of its values are no labels at all."""

from __future__ import annotations

import torch
from torch import Tensor


def can_hold(dtype: torch.dtype, value: int) -> bool:
    """Return whether a target of this dtype can hold ``value``; comparing beyond its range would wrap."""
    if dtype == torch.bool:
        return False
    if dtype.is_floating_point:
        return True
    limits = torch.iinfo(dtype)
    return limits.min <= value <= limits.max


def valid_elements(target: Tensor, ignore_index: int | None) -> Tensor | None:
    """Return where the target differs from ``ignore_index``; None where nothing can be ignored."""
    if ignore_index is None or not can_hold(target.dtype, ignore_index):
        return None
    return target != ignore_index


def invalid_labels(labels: Tensor, valid: Tensor | None, classes: int) -> Tensor | None:
    """Return where labels lie outside [0, classes); None where the extremes show that none does."""
    if labels.dtype == torch.bool or not labels.numel():
        return None
    if labels.device.type == "cpu":  # elsewhere the look would wait for the device
        low, high = (int(end) for end in torch.aminmax(labels))  # in the labels' dtype, classes might wrap
        if low >= 0 and high < classes:
            return None
    wrong = labels < 0
    if can_hold(labels.dtype, classes):
        wrong = wrong | (labels >= classes)
    return wrong if valid is None else wrong & valid


def invalid_masks(masks: Tensor, valid: Tensor | None) -> Tensor | None:
    """Return where masks are neither 0 nor 1 (hard) or lie outside [0, 1] (soft); None where none does."""
    if not masks.dtype.is_floating_point:
        return invalid_labels(masks, valid, 2)
    wrong = ~((masks >= 0) & (masks <= 1))  # the negation also catches NaN
    return wrong if valid is None else wrong & valid


def element_weight(weight: Tensor | None, valid: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return the weight of every element, 0 where ignored; None where all weigh 1."""
    if weight is None:
        return None if valid is None else valid.to(dtype)
    cast = weight.to(dtype)
    return cast if valid is None else cast.masked_fill(~valid, 0)
