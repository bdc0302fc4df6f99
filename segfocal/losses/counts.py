"""A loss together with the hard counts that training scores are made of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segfocal.errors import SegfocalError, check_choice
from segfocal.losses.base import SegmentationLoss
from segfocal.losses.evaluation import COUNTS, Counts, counts_of
from segfocal.losses.needs import Needs, compute
from segfocal.losses.reduction import Task


def loss_and_counts(
    loss: nn.Module,
    logits: Tensor | Sequence[Tensor],
    target: Tensor,
    weight: Tensor | None = None,
    *,
    task: Task | None = None,
    ignore_index: int | None = None,
) -> tuple[Tensor, Counts]:
    """Return a loss and the hard counts per image and class, from one pass where the loss is ours.

    Args:
        loss: A loss of this package, whose own pass supplies the counts, or any other module, which is called
            as it is with ``(logits, target)``, the counts taking a pass more.
        logits: ``(N, C, *S)``, or the outputs for a ``DeepSupervision``, the first of which is counted.
        target: Label map or masks.
        weight: ``(N, *S)`` pixel weights of the loss; counts are of pixels, without weights.
        task: For modules from elsewhere only, which do not say it.
        ignore_index: For modules from elsewhere only.

    Returns:
        The loss, and true positives, false positives and false negatives, ``(N, C)`` int64 each.

    Raises:
        SegfocalError: For a module from elsewhere without ``task``, or with pixel weights.

    Example:
        >>> import torch
        >>> from segfocal.losses import DiceLoss
        >>> logits, target = torch.tensor([[[2.0, 2.0, -2.0]]]), torch.tensor([[1, 0, 1]])
        >>> _, counts = loss_and_counts(DiceLoss("binary"), logits, target)
        >>> counts.tp.item(), counts.fp.item(), counts.fn.item()
        (1, 1, 1)
    """
    if isinstance(loss, SegmentationLoss):
        result = loss.evaluate(logits, target, weight, counts=True)  # type: ignore[arg-type]
        assert result.counts is not None
        return result.value, result.counts
    if task is None:
        raise SegfocalError(f"{type(loss).__name__} does not say what its logits are. Give task= as well.")
    check_choice("task", task, ("binary", "multiclass", "multilabel"))
    if weight is not None:
        raise SegfocalError(f"{type(loss).__name__} takes no pixel weights. Leave weight=None.")
    first = logits if isinstance(logits, Tensor) else logits[0]
    needs = Needs("softmax" if task == "multiclass" else "sigmoid", COUNTS, None, ignore_index)
    sums = compute(needs, first.detach(), target, None)
    return loss(logits, target), counts_of(sums)
