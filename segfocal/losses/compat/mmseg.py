"""mmsegmentation's losses: ``from segfocal.losses.compat.mmseg import FocalLoss, DiceLoss``.

Source: the arguments, scalings and reductions of mmsegmentation 1.2.
"""

from __future__ import annotations

from segfocal.losses.compat.mmseg_pixel import FocalLoss
from segfocal.losses.compat.mmseg_region import DiceLoss, TverskyLoss

__all__ = ["DiceLoss", "FocalLoss", "TverskyLoss"]
