"""Scores of probabilities against masks: counts, so that order and processes do not matter."""

from __future__ import annotations

import importlib
from typing import Any

# torch takes seconds to import; `segfocal evaluate` passes here for the lane scores, which need none
_HOME = {
    "PixelCurves": "segfocal.metrics.curves",
    "SegmentationScores": "segfocal.metrics.segmentation",
    "TemperatureFit": "segfocal.metrics.temperature",
    "ThresholdSearch": "segfocal.metrics.threshold",
}

__all__ = ["PixelCurves", "SegmentationScores", "TemperatureFit", "ThresholdSearch"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'segfocal.metrics' has no attribute {name!r}")
