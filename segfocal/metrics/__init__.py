"""Scores of probabilities against masks: counts, so that order and processes do not matter."""

from segfocal.metrics.curves import PixelCurves
from segfocal.metrics.segmentation import SegmentationScores
from segfocal.metrics.threshold import ThresholdSearch

__all__ = ["PixelCurves", "SegmentationScores", "ThresholdSearch"]
