"""The losses as functions: logits and target first, then the settings of the module of the same name.

Each function builds its module, calls it once, and gives what the module gives; a training loop keeps the
module, whose settings are then checked only once. ``weight`` holds pixel weights ``(N, *S)``; what the
settings mean and what the means divide by is documented at the modules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from segfocal.losses.base import SegmentationLoss
from segfocal.losses.compound import FocalDiceLoss
from segfocal.losses.focal import CrossEntropyLoss, FocalLoss
from segfocal.losses.focal_variants import ConvexFocalLoss, ReducedFocalLoss
from segfocal.losses.generalized import GeneralizedDiceLoss
from segfocal.losses.pixelwise import Alpha
from segfocal.losses.posterior import focal_posterior
from segfocal.losses.primitive.sums import pixel_map, pixel_sums
from segfocal.losses.reduction import Task
from segfocal.losses.region import DiceLoss, JaccardLoss, LogCoshDiceLoss
from segfocal.losses.tversky import FocalTverskyLoss, TverskyLoss
from segfocal.losses.unified import UnifiedFocalLoss

__all__ = [
    "focal_loss",
    "cross_entropy_loss",
    "convex_focal_loss",
    "reduced_focal_loss",
    "dice_loss",
    "jaccard_loss",
    "log_cosh_dice_loss",
    "tversky_loss",
    "focal_tversky_loss",
    "generalized_dice_loss",
    "unified_focal_loss",
    "focal_dice_loss",
    "focal_posterior",
    "pixel_map",
    "pixel_sums",
]


def focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    task: Task,
    gamma: float | Sequence[float] = 2.0,
    alpha: Alpha = None,
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Compute focal loss ``alpha_t (1 - p_t)^gamma (-log p_t)``; as ``FocalLoss``.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)
        >>> focal_loss(logits, target, task="binary", gamma=1.0)  # log 2 / 2
        tensor(0.3466)
    """
    return _value(FocalLoss(task, gamma, alpha, **settings), logits, target, weight)


def cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    *,
    task: Task,
    alpha: Alpha = None,
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Compute cross-entropy ``-alpha_t log p_t``; as ``CrossEntropyLoss``."""
    return _value(CrossEntropyLoss(task, alpha, **settings), logits, target, weight)


def convex_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    task: Literal["binary"] = "binary",
    gamma: float = 2.0,
    shift: float = 1.0,
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Compute convex focal loss, binary only; as ``ConvexFocalLoss``."""
    return _value(ConvexFocalLoss(task, gamma, shift, **settings), logits, target, weight)


def reduced_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    task: Task,
    gamma: float | Sequence[float] = 2.0,
    alpha: Alpha = None,
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Compute reduced focal loss, continuous at ``threshold=0.5`` only; as ``ReducedFocalLoss``."""
    return _value(ReducedFocalLoss(task, gamma, alpha, **settings), logits, target, weight)


def dice_loss(
    logits: Tensor, target: Tensor, *, task: Task, weight: Tensor | None = None, **settings: Any
) -> Tensor:
    """Compute soft Dice loss ``1 - (2 I + s) / (P + Y + s)``; as ``DiceLoss``."""
    return _value(DiceLoss(task, **settings), logits, target, weight)


def jaccard_loss(
    logits: Tensor, target: Tensor, *, task: Task, weight: Tensor | None = None, **settings: Any
) -> Tensor:
    """Compute soft Jaccard loss ``1 - (I + s) / (P + Y - I + s)``; as ``JaccardLoss``."""
    return _value(JaccardLoss(task, **settings), logits, target, weight)


def log_cosh_dice_loss(
    logits: Tensor, target: Tensor, *, task: Task, weight: Tensor | None = None, **settings: Any
) -> Tensor:
    """Compute ``log cosh`` of the Dice loss; as ``LogCoshDiceLoss``."""
    return _value(LogCoshDiceLoss(task, **settings), logits, target, weight)


def tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    task: Task,
    fp_weight: float,
    fn_weight: float,
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Compute Tversky loss ``1 - (I + s) / (I + fp_weight FP + fn_weight FN + s)``; as ``TverskyLoss``."""
    return _value(TverskyLoss(task, fp_weight, fn_weight, **settings), logits, target, weight)


def focal_tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    task: Task,
    fp_weight: float = 0.3,
    fn_weight: float = 0.7,
    exponent: float = 0.75,
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Compute the Tversky loss of each class raised to ``exponent``; as ``FocalTverskyLoss``."""
    return _value(FocalTverskyLoss(task, fp_weight, fn_weight, exponent, **settings), logits, target, weight)


def generalized_dice_loss(
    logits: Tensor, target: Tensor, *, task: Task, weight: Tensor | None = None, **settings: Any
) -> Tensor:
    """Compute generalised Dice loss; as ``GeneralizedDiceLoss``."""
    return _value(GeneralizedDiceLoss(task, **settings), logits, target, weight)


def unified_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    task: Literal["binary", "multiclass"],
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Compute unified focal loss; as ``UnifiedFocalLoss``."""
    return _value(UnifiedFocalLoss(task, **settings), logits, target, weight)


def focal_dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    task: Task,
    gamma: float | Sequence[float] = 2.0,
    alpha: Alpha = None,
    weight: Tensor | None = None,
    **settings: Any,
) -> Tensor:
    """Compute focal loss plus Dice loss in one pass; as ``FocalDiceLoss``."""
    return _value(FocalDiceLoss(task, gamma, alpha, **settings), logits, target, weight)


def _value(loss: SegmentationLoss, logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Call a loss once."""
    return loss.evaluate(logits, target, weight).value
