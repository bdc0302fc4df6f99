"""Which pixels carry the loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_range
from segfocal.losses.primitive.elements import valid_elements
from segfocal.losses.primitive.fields import sum_dtype
from segfocal.losses.reduction import Task

FRACTIONS = (0.001, 0.01, 0.1, 0.5, 1.0)


@dataclass(frozen=True, eq=False)
class LossShares:
    """How the loss is spread over the pixels, hardest first.

    Args:
        fractions: ``(Q,)`` hardest parts of the elements, as asked for.
        foreground: ``(Q,)`` share of the foreground's loss that its hardest part carries.
        background: The same for the background.
        foreground_share: ``()`` share of the whole loss that the foreground carries.
        foreground_elements: How many elements are foreground.
        background_elements: How many are background; ignored ones are neither.
    """

    fractions: Tensor
    foreground: Tensor
    background: Tensor
    foreground_share: Tensor
    foreground_elements: int
    background_elements: int


def loss_shares(
    values: Tensor, target: Tensor, *, task: Task, ignore_index: int | None, fractions: Iterable[float]
) -> LossShares:
    """Sort the losses of the elements and return the shares of the hardest.

    Args:
        values: The loss of every element, ``(N, *S)`` for multiclass and ``(N, K, *S)`` otherwise.
        target: Label map or masks, hard or soft (a soft element is foreground from 0.5 up; soft classes go by
            the largest).
        task: Class 0 is the background of a multiclass task; otherwise label 0 is.
        ignore_index: Label that is left out.
        fractions: Parts in (0, 1]; the hardest ``ceil(fraction * elements)`` are summed.

    Returns:
        Shares in [0, 1]. A side without elements or without loss has NaN shares: nothing is there to share.

    Raises:
        SegfocalError: For fractions out of range.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, figure 4 (which sorts the easiest first).

    Example:
        >>> values, labels = torch.tensor([[6.0, 2.0, 2.0, 5.0]]), torch.tensor([[0, 0, 0, 1]])
        >>> loss_shares(values, labels, task="multiclass", ignore_index=None, fractions=[0.3]).background
        tensor([0.6000], dtype=torch.float64)
    """
    parts = torch.tensor(list(fractions), dtype=torch.float64, device="cpu")
    if parts.numel() == 0:
        raise SegfocalError("fractions must name at least one part of the pixels, got none.")
    for part in parts.tolist():
        check_range("fractions", part, low=0.0, high=1.0, open_low=True)
    foreground, kept = sides(values, target, task, ignore_index)
    losses = values.detach().to(sum_dtype(values.device))
    positive, negative = losses[kept & foreground], losses[kept & ~foreground]
    total = positive.sum() + negative.sum()
    return LossShares(
        fractions=parts,
        foreground=_hardest(positive, parts),
        background=_hardest(negative, parts),
        foreground_share=(positive.sum() / total).cpu(),
        foreground_elements=positive.numel(),
        background_elements=negative.numel(),
    )


def _hardest(losses: Tensor, fractions: Tensor) -> Tensor:
    """Return the share of the sum that the largest ``ceil(fraction * n)`` losses make up."""
    if losses.numel() == 0:
        return torch.full_like(fractions, float("nan"))
    running = losses.sort(descending=True).values.cumsum(0).cpu()
    last = torch.ceil(fractions * losses.numel()).long().clamp(max=losses.numel()) - 1
    return running[last].double() / running[-1].double()


def sides(values: Tensor, target: Tensor, task: Task, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """Return, in the shape of the values, which elements are foreground and which are not ignored."""
    valid = valid_elements(target, ignore_index)
    ignored = torch.zeros_like(target, dtype=torch.bool) if valid is None else ~valid
    if task == "multiclass":
        if target.ndim == values.ndim:
            return target != 0, ~ignored
        return target.argmax(1) != 0, ~ignored.any(1)
    if target.ndim == values.ndim:
        return target >= 0.5, ~ignored
    if task == "binary":
        return (target >= 0.5).unsqueeze(1), ~ignored.unsqueeze(1)
    channels = torch.arange(values.shape[1], device=target.device).view(1, -1, *(1 for _ in target.shape[1:]))
    return target.unsqueeze(1) == channels, (~ignored).unsqueeze(1).expand_as(values)
