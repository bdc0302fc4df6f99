"""What a run leaves on disk; needs neither torch nor, until a table is touched, polars.

Tables are in ``segfocal.runs.cases``, ``segfocal.runs.curves``, ``segfocal.runs.calibration``,
``segfocal.runs.concentration`` and ``segfocal.runs.read``, each of which imports polars.
"""

from segfocal.runs.info import (
    SCHEMA_VERSION,
    CheckpointInfo,
    RunInfo,
    checkpoint_info,
    create_info,
    read_info,
    update_info,
)
from segfocal.runs.layout import RunPaths, checkpoint, is_run, open_run
from segfocal.runs.log import MetricsLog
from segfocal.runs.provenance import file_sha256, git_state, package_versions
from segfocal.runs.scores import Empty, dataset_level, dice, f_beta, image_level, iou, precision, recall
from segfocal.runs.write import locked, write_bytes, write_json, write_parquet, write_text

__all__ = [
    "SCHEMA_VERSION",
    "CheckpointInfo",
    "RunInfo",
    "checkpoint_info",
    "create_info",
    "read_info",
    "update_info",
    "RunPaths",
    "checkpoint",
    "is_run",
    "open_run",
    "MetricsLog",
    "file_sha256",
    "git_state",
    "package_versions",
    "Empty",
    "dataset_level",
    "dice",
    "f_beta",
    "image_level",
    "iou",
    "precision",
    "recall",
    "locked",
    "write_bytes",
    "write_json",
    "write_parquet",
    "write_text",
]
