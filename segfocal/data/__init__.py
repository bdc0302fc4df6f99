"""Data modules: folders, tables, COCO, foreign data sets, volumes, lanes, and generated images."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segfocal.data.coco.data import CocoData
    from segfocal.data.folder import FolderData
    from segfocal.data.foreign.data import ForeignData
    from segfocal.data.lanes.culane import CULaneData
    from segfocal.data.lanes.tusimple import TuSimpleData
    from segfocal.data.module import SegmentationData
    from segfocal.data.preprocess import Preprocess
    from segfocal.data.sampling import EpochBatchSampler
    from segfocal.data.source import Source
    from segfocal.data.splits import Split
    from segfocal.data.synthetic import SyntheticData
    from segfocal.data.table import TableData
    from segfocal.data.volumes.data import NiftiData
    from segfocal.data.volumes.preprocess import VolumePreprocess

# a study is planned from names and splits alone, and waits for neither torch nor Lightning
_HOME = {
    "CULaneData": "segfocal.data.lanes.culane",
    "TuSimpleData": "segfocal.data.lanes.tusimple",
    "EpochBatchSampler": "segfocal.data.sampling",
    "CocoData": "segfocal.data.coco.data",
    "ForeignData": "segfocal.data.foreign.data",
    "FolderData": "segfocal.data.folder",
    "NiftiData": "segfocal.data.volumes.data",
    "Preprocess": "segfocal.data.preprocess",
    "SegmentationData": "segfocal.data.module",
    "Source": "segfocal.data.source",
    "Split": "segfocal.data.splits",
    "SyntheticData": "segfocal.data.synthetic",
    "VolumePreprocess": "segfocal.data.volumes.preprocess",
    "TableData": "segfocal.data.table",
}

__all__ = [
    "CULaneData",
    "TuSimpleData",
    "EpochBatchSampler",
    "CocoData",
    "ForeignData",
    "FolderData",
    "NiftiData",
    "Preprocess",
    "SegmentationData",
    "Source",
    "Split",
    "SyntheticData",
    "VolumePreprocess",
    "TableData",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'segfocal.data' has no attribute {name!r}")
