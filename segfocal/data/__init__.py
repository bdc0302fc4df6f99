"""Data modules: images in folders, generated images, and what they share."""

from segfocal.data.folder import FolderData
from segfocal.data.module import SegmentationData
from segfocal.data.preprocess import Preprocess
from segfocal.data.sampling import EpochBatchSampler
from segfocal.data.source import Source
from segfocal.data.splits import Split
from segfocal.data.synthetic import SyntheticData

__all__ = [
    "EpochBatchSampler",
    "FolderData",
    "Preprocess",
    "SegmentationData",
    "Source",
    "Split",
    "SyntheticData",
]
