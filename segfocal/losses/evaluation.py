"""What one evaluation of a loss gives: its value, its parts, the hard counts of the same pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from segfocal.losses.primitive.fields import DIFFERENTIABLE, MASSES
from segfocal.losses.primitive.sums import PixelSums

COUNTS = frozenset({"tp", "fp", "fn"})
ADDED = (*DIFFERENTIABLE, *MASSES, "count")  # the fields that losses are made of


@dataclass(frozen=True, eq=False)
class Counts:
    """Hard decisions against the reference, ``(N, C)`` int64: argmax for softmax, logit > 0 for sigmoid."""

    tp: Tensor
    fp: Tensor
    fn: Tensor


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one call of a loss gives.

    Args:
        value: The loss, a scalar (a map for ``reduction="none"``).
        parts: Detached, unweighted values of the terms of a compound, by name; empty for a single loss.
        counts: Hard counts from the same pass, where they were asked for.
    """

    value: Tensor
    parts: dict[str, Tensor]
    counts: Counts | None


# what adds up over images and ranks, and the loss as a function of the totals
Partial = tuple[list[Tensor], Callable[[Sequence[Tensor]], Tensor]]


class Started(NamedTuple):
    """An evaluation up to what adds up over ranks, and what is left to do with the totals."""

    addends: list[Tensor]
    finish: Callable[[Sequence[Tensor]], Evaluation]


def partial_of_batch(
    sums: tuple[PixelSums, ...], from_passes: Callable[[tuple[PixelSums, ...]], Tensor]
) -> Partial:
    """Add up the sums of all images, as if they were one.

    Args:
        sums: Of every pass, ``(N, C)``.
        from_passes: Makes the loss of such sums.

    Returns:
        The sums over images, ``(1, C)`` each, and the loss as a function of their totals.
    """
    names = [[name for name in ADDED if getattr(each, name) is not None] for each in sums]
    found = [getattr(each, name) for each, own in zip(sums, names, strict=True) for name in own]

    def finish(totals: Sequence[Tensor]) -> Tensor:
        left = iter(totals)
        return from_passes(tuple(PixelSums(**{name: next(left) for name in own}) for own in names))

    return [tensor.sum(0, keepdim=True) for tensor in found], finish


def counts_of(sums: PixelSums) -> Counts:
    """Take the hard counts out of sums that hold them.

    Args:
        sums: Computed with ``COUNTS`` among what was wanted.

    Returns:
        The counts.
    """
    assert sums.tp is not None
    assert sums.fp is not None
    assert sums.fn is not None
    return Counts(sums.tp, sums.fp, sums.fn)


def result_dtype(logits: Tensor) -> torch.dtype:
    """Return the dtype of a loss: float64 for float64 logits, float32 otherwise, for half logits too."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32
