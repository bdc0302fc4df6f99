"""Training, scoring and predicting."""

from __future__ import annotations

import importlib
from typing import Any

# Lightning and torch take seconds to import; `segfocal fit --help` passes here and needs neither
_HOME = {
    "SegmentationTask": "segfocal.training.task",
    "Predictor": "segfocal.training.prediction.predictor",
    "Prediction": "segfocal.training.prediction.predictor",
    "load": "segfocal.training.prediction.predictor",
}

__all__ = ["SegmentationTask", "Predictor", "Prediction", "load"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'segfocal.training' has no attribute {name!r}")
