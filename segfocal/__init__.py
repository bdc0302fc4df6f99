"""segfocal: focal losses for imbalanced segmentation, exact, fast, and honestly compared."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# where each public name lives; nothing is imported before it is asked for
_HOME = {
    "SegfocalError": "segfocal.errors",
    "pixel_sums": "segfocal.losses",
    "pixel_map": "segfocal.losses",
    "FocalLoss": "segfocal.losses",
    "CrossEntropyLoss": "segfocal.losses",
    "ConvexFocalLoss": "segfocal.losses",
    "ReducedFocalLoss": "segfocal.losses",
    "DiceLoss": "segfocal.losses",
    "JaccardLoss": "segfocal.losses",
    "LogCoshDiceLoss": "segfocal.losses",
    "TverskyLoss": "segfocal.losses",
    "FocalTverskyLoss": "segfocal.losses",
    "GeneralizedDiceLoss": "segfocal.losses",
    "UnifiedFocalLoss": "segfocal.losses",
    "FocalDiceLoss": "segfocal.losses",
    "CompoundLoss": "segfocal.losses",
    "DeepSupervision": "segfocal.losses",
    "SegmentationLoss": "segfocal.losses",
    "focal_posterior": "segfocal.losses",
    "loss_and_counts": "segfocal.losses",
    "load": "segfocal.training.prediction.predictor",
}

__all__ = ["__version__", "functional", *_HOME]


def __getattr__(name: str) -> Any:
    if name == "functional":
        return importlib.import_module("segfocal.functional")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'segfocal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
