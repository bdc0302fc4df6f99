"""What one evaluation of a loss gives: its value, its parts, the hard counts of the same pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from segfocal.losses.sums import PixelSums

COUNTS = frozenset({"tp", "fp", "fn"})


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
