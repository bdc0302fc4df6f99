"""segmentation-models-pytorch's losses: ``from segfocal.losses.compat.smp import DiceLoss, FocalLoss``.

Source: the constructors, scalings and reductions of segmentation-models-pytorch 0.6.
"""

from __future__ import annotations

from segfocal.losses.compat.smp_entropy import SoftBCEWithLogitsLoss, SoftCrossEntropyLoss
from segfocal.losses.compat.smp_pixel import FocalLoss
from segfocal.losses.compat.smp_region import DiceLoss, JaccardLoss, TverskyLoss
from segfocal.losses.compat.smp_score import soft_dice_score, soft_jaccard_score, soft_tversky_score

__all__ = [
    "DiceLoss",
    "FocalLoss",
    "JaccardLoss",
    "SoftBCEWithLogitsLoss",
    "SoftCrossEntropyLoss",
    "TverskyLoss",
    "soft_dice_score",
    "soft_jaccard_score",
    "soft_tversky_score",
]
