"""Scores of probabilities against masks: counts, so that order and processes do not matter."""

from segfocal.metrics.segmentation import SegmentationScores

__all__ = ["SegmentationScores"]
