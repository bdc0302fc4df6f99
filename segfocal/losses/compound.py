"""Sums of losses as modules: what ``+`` and ``*`` make, and the ready-made focal + Dice."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from torch import nn

from segfocal.losses.checks import numbers
from segfocal.losses.focal import FocalLoss
from segfocal.losses.overlap import Absent
from segfocal.losses.pixelwise import Alpha
from segfocal.losses.reduction import Reduction, Task
from segfocal.losses.region import DiceLoss
from segfocal.losses.terms import SumOfLosses


class CompoundLoss(SumOfLosses):
    """A weighted sum of losses: what ``FocalLoss(task) + 0.5 * DiceLoss(task)`` makes.

    Terms of this package share one pass over the logits where they can; two pixel losses, each with its own
    settings, take a pass each. Any other ``nn.Module`` is called with ``(logits, target)``, whatever ``sync``
    says on this rank's images alone. A sum among the terms is laid flat: its terms become terms, its weights
    are multiplied in.

    Args:
        terms: The losses; at least one of this package, all of those with one task and ignore_index.
        weights: One number per term; ``None``: 1 each.

    Raises:
        SegfocalError: For terms that contradict one another, and for the wrong number of weights.

    Example:
        >>> import torch
        >>> from segfocal.losses import CrossEntropyLoss, DiceLoss
        >>> loss = CrossEntropyLoss("binary") + 0.5 * DiceLoss("binary", smooth=0.0)
        >>> loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 1], [0, 0]]]))  # log 2 + 0.5 * 0.5
        tensor(0.9431)
        >>> 2 * DiceLoss("binary")
        CompoundLoss(terms=[DiceLoss(task='binary')], weights=[2.0])
    """

    def __init__(self, terms: list[nn.Module], weights: list[float] | None = None) -> None:
        super().__init__(*flat(terms, [1.0] * len(terms) if weights is None else list(weights)))

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"terms": list(self.terms), "weights": self.weights.tolist()}


class FocalDiceLoss(SumOfLosses):
    """Focal loss plus Dice loss in one pass, arguments as in ``FocalLoss`` and ``DiceLoss``.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``; both terms use the same activation.
        gamma: As in ``FocalLoss``.
        alpha: As in ``FocalLoss``.
        focal_weight: Weight of the focal term.
        dice_weight: Weight of the Dice term.
        reduction: Of the focal term; ``mean`` divides by the elements that are not ignored.
        ignore_index: Label left out of both terms.
        label_smoothing: Of the focal term; Dice sees the target as it is.
        knee: As in ``FocalLoss``.
        tail: As in ``FocalLoss``.
        poly: As in ``FocalLoss``.
        per_image: As in ``DiceLoss``: the mean of the Dice term is over images too.
        squared: As in ``DiceLoss``.
        smooth: As in ``DiceLoss``.
        include_background: As in ``DiceLoss``; the focal term always counts every pixel.
        absent: As in ``DiceLoss``.
        validate: Whether labels are checked; ``None``: on a CPU only.
        sync: Whether sums are added up over ranks, see ``SegmentationLoss``.

    Example:
        >>> import torch
        >>> loss = FocalDiceLoss("binary", gamma=0.0, smooth=0.0)
        >>> loss(torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 1], [0, 0]]]))  # log 2 + 0.5
        tensor(1.1931)
    """

    def __init__(
        self,
        task: Task,
        gamma: float | Sequence[float] = 2.0,
        alpha: Alpha = None,
        *,
        focal_weight: float = 1.0,
        dice_weight: float = 1.0,
        reduction: Reduction = "mean",
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        knee: float | None = None,
        tail: float = 0.0,
        poly: float = 0.0,
        per_image: bool = False,
        squared: bool = False,
        smooth: float = 1.0,
        include_background: bool = True,
        absent: Absent = "include",
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        focal = FocalLoss(
            task,
            gamma,
            alpha,
            reduction=reduction,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            knee=knee,
            tail=tail,
            poly=poly,
            validate=validate,
            sync=sync,
        )
        dice = DiceLoss(
            task,
            per_image=per_image,
            squared=squared,
            smooth=smooth,
            include_background=include_background,
            absent=absent,
            ignore_index=ignore_index,
            validate=validate,
            sync=sync,
        )
        super().__init__([focal, dice], [focal_weight, dice_weight])

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        focal, dice = (term.settings() for _, term in self.own_terms())
        focal_weight, dice_weight = self.weights.tolist()
        return {**focal, "focal_weight": focal_weight, "dice_weight": dice_weight, **dice}


def flat(terms: Sequence[nn.Module], weights: Sequence[float]) -> tuple[list[nn.Module], list[float]]:
    """Lay sums among the terms flat, so that their terms can share a pass and keep their names.

    Args:
        terms: Losses.
        weights: One per term; where there are more or fewer, nothing is changed.

    Returns:
        Terms and their weights.

    Raises:
        SegfocalError: For a weight of a sum that is no finite number.
    """
    if len(terms) != len(weights):
        return list(terms), list(weights)
    found: list[tuple[nn.Module, float]] = []
    for term, weight in zip(terms, weights, strict=True):
        if isinstance(term, CompoundLoss):
            factors = numbers("weights", weight, low=-sys.float_info.max) * term.weights.cpu()
            found += zip(term.terms, factors.tolist(), strict=True)
        else:
            found.append((term, weight))
    return [term for term, _ in found], [weight for _, weight in found]


def add(left: nn.Module, right: nn.Module) -> CompoundLoss:
    """Add two losses.

    Args:
        left: A loss.
        right: A loss; at least one of the two is of this package.

    Returns:
        Their sum.
    """
    return CompoundLoss([left, right])


def scale(loss: nn.Module, factor: float) -> CompoundLoss:
    """Multiply a loss by a number.

    Args:
        loss: A loss of this package.
        factor: Any finite number.

    Returns:
        A compound with the factor on every weight.
    """
    return CompoundLoss([loss], [factor])
