"""MONAI's losses: ``from segfocal.losses.compat.monai import DiceFocalLoss``.

Source: the constructors, scalings and reductions of MONAI 1.6.
"""

from __future__ import annotations

from segfocal.losses.compat.monai_compound import DiceCELoss, DiceFocalLoss, GeneralizedDiceFocalLoss
from segfocal.losses.compat.monai_pixel import FocalLoss
from segfocal.losses.compat.monai_region import DiceLoss, GeneralizedDiceLoss, TverskyLoss
from segfocal.losses.compat.monai_wrappers import DeepSupervisionLoss, MaskedLoss

__all__ = [
    "DeepSupervisionLoss",
    "DiceCELoss",
    "DiceFocalLoss",
    "DiceLoss",
    "FocalLoss",
    "GeneralizedDiceFocalLoss",
    "GeneralizedDiceLoss",
    "MaskedLoss",
    "TverskyLoss",
]
