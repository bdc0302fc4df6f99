"""Losses for imbalanced segmentation, and the sums over pixels that they are made of."""

from __future__ import annotations

from segfocal.losses.base import SegmentationLoss
from segfocal.losses.compound import CompoundLoss, FocalDiceLoss
from segfocal.losses.counts import loss_and_counts
from segfocal.losses.deep import DeepSupervision
from segfocal.losses.evaluation import Counts, Evaluation
from segfocal.losses.explain import LossShares
from segfocal.losses.focal import CrossEntropyLoss, FocalLoss
from segfocal.losses.focal_variants import ConvexFocalLoss, ReducedFocalLoss
from segfocal.losses.generalized import GeneralizedDiceLoss
from segfocal.losses.needs import Needs, PixelTerm
from segfocal.losses.posterior import focal_posterior
from segfocal.losses.primitive.sums import PixelSums, backend_for, pixel_map, pixel_sums
from segfocal.losses.region import DiceLoss, JaccardLoss, LogCoshDiceLoss
from segfocal.losses.tversky import FocalTverskyLoss, TverskyLoss
from segfocal.losses.unified import UnifiedFocalLoss

__all__ = [
    "SegmentationLoss",
    "FocalLoss",
    "CrossEntropyLoss",
    "ConvexFocalLoss",
    "ReducedFocalLoss",
    "DiceLoss",
    "JaccardLoss",
    "LogCoshDiceLoss",
    "TverskyLoss",
    "FocalTverskyLoss",
    "GeneralizedDiceLoss",
    "UnifiedFocalLoss",
    "FocalDiceLoss",
    "CompoundLoss",
    "DeepSupervision",
    "focal_posterior",
    "loss_and_counts",
    "Counts",
    "Evaluation",
    "LossShares",
    "Needs",
    "PixelTerm",
    "PixelSums",
    "pixel_sums",
    "pixel_map",
    "backend_for",
]
