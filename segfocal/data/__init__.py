"""Data modules: images in folders, generated images, and what they share."""

from segfocal.data.module import SegmentationData
from segfocal.data.preprocess import Preprocess
from segfocal.data.sampling import EpochBatchSampler
from segfocal.data.source import Source

__all__ = ["EpochBatchSampler", "Preprocess", "SegmentationData", "Source"]
