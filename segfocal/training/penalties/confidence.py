"""A penalty on confident outputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segfocal.errors import check_range
from segfocal.losses.ranks import Ranks
from segfocal.losses.reduction import Task
from segfocal.training.penalties.base import Penalty


class ConfidencePenalty(Penalty):
    """``-strength * mean entropy`` of the scores: confident outputs cost.

    The mean is over the pixels that are not ignored, of the batches of all ranks; with sigmoid scores over
    pixels and channels. Of networks with several outputs the first one counts. In a step with gradient
    matching it is not rescaled.

    Args:
        strength: At least 0, in units of the loss per nat.

    Raises:
        SegfocalError: For a negative strength.

    Source:
        Pereyra et al., Regularizing Neural Networks by Penalizing Confident Output Distributions, 2017,
        section 3.
    """

    def __init__(self, strength: float) -> None:
        check_range("strength", strength, low=0.0, open_high=True)
        self.strength = strength

    def __repr__(self) -> str:
        return f"ConfidencePenalty({self.strength})"

    @property
    def active(self) -> bool:
        """Whether the strength is not 0."""
        return self.strength > 0

    def value(self, logits: Tensor, target: Tensor, *, task: Task, ignore_index: int | None) -> Tensor:
        """Return what it adds to the loss; collective under data parallelism.

        Args:
            logits: ``(N, C, *S)``.
            target: Label map ``(N, *S)`` or masks ``(N, C, *S)``, for the ignored pixels.
            task: "binary", "multiclass" or "multilabel".
            ignore_index: Label that counts nowhere.

        Returns:
            Scalar at most 0; 0 where nothing is labelled.
        """
        each = entropy(logits, task=task)
        counted = torch.ones_like(each, dtype=torch.bool)
        if ignore_index is not None:
            kept = target != ignore_index
            if kept.ndim > each.ndim:  # masks of a softmax: a pixel is ignored in all its classes
                kept = kept.all(dim=1)
            counted = (kept if kept.ndim == each.ndim else kept.unsqueeze(1)).expand_as(each)
        sums = [torch.where(counted, each, 0.0).sum(), counted.sum()]
        ranks = Ranks()
        total, count = ranks.add_up(sums) if ranks.several() and each.requires_grad else sums
        return -self.strength * (total / count.clamp(min=1)).to(each.dtype)


def entropy(logits: Tensor, *, task: Task) -> Tensor:
    """Return the entropy of every pixel's scores, in nats.

    Args:
        logits: ``(N, C, *S)`` of any floating dtype.
        task: "multiclass" takes the softmax over C, the others one sigmoid per channel.

    Returns:
        ``(N, *S)`` for multiclass, else ``(N, C, *S)``; float32, or float64 for float64 logits.

    Example:
        >>> entropy(torch.zeros(1, 4, 1), task="multiclass").item()  # log 4
        1.3862943649291992
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if task == "multiclass":
        logarithms = logits.log_softmax(dim=1)
        return -(logarithms.exp() * logarithms).sum(dim=1)
    # -p log p - (1 - p) log (1 - p), with softplus for the logarithms
    scores = logits.sigmoid()
    return scores * F.softplus(-logits) + (1.0 - scores) * F.softplus(logits)
