"""kornia's losses: ``from segfocal.losses.compat.kornia import focal_loss, DiceLoss``.

Source: the arguments, scalings and reductions of kornia 0.9.
"""

from __future__ import annotations

from segfocal.losses.compat.kornia_pixel import (
    BinaryFocalLossWithLogits,
    FocalLoss,
    binary_focal_loss_with_logits,
    focal_loss,
)
from segfocal.losses.compat.kornia_region import DiceLoss, TverskyLoss, dice_loss, tversky_loss

__all__ = [
    "BinaryFocalLossWithLogits",
    "DiceLoss",
    "FocalLoss",
    "TverskyLoss",
    "binary_focal_loss_with_logits",
    "dice_loss",
    "focal_loss",
    "tversky_loss",
]
