"""What the user of an exported file must know, as JSON inside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segfocal.runs.info import RunInfo
from segfocal.runs.layout import RunPaths
from segfocal.runs.provenance import file_sha256
from segfocal.training.export.entry import Entry
from segfocal.training.export.onnx_file import INPUT, OUTPUT
from segfocal.training.export.program import axis_names
from segfocal.training.prediction.predictor import Predictor
from segfocal.yaml_text import read_mapping

FORMAT = 1


def describe(
    predictor: Predictor,
    entry: Entry,
    *,
    info: RunInfo,
    paths: RunPaths,
    checkpoint: Path,
    axes: int,
    size: Sequence[int] | None,
    least: int,
) -> dict[str, Any]:
    """Return the metadata of an exported file.

    Args:
        predictor: Of the run.
        entry: Where the graph begins.
        info: run.json.
        paths: Of the run.
        checkpoint: The file of the weights.
        axes: Spatial axes of the images.
        size: The only size that the file takes; None: any.
        least: The smallest side of an image that it takes.

    Returns:
        JSON-able values; README.md explains how to use them.
    """
    names = ["N", "C", *(name[0].upper() for name in axis_names(axes))]
    multiclass = predictor.task == "multiclass"
    return {
        "format": FORMAT,
        "task": predictor.task,
        "class_names": list(predictor.class_names),
        "thresholds": None if predictor.thresholds is None else list(predictor.thresholds),
        "mask": "argmax of the probabilities over axis 1" if multiclass else "probabilities > thresholds",
        "input": {
            "name": INPUT,
            "axes": names,
            "dtype": "float32",
            "channels": predictor.preprocess.in_channels,
            "values": entry.values,
            "size": None if size is None else list(size),
            "least_size": least,
        },
        "output": {
            "name": OUTPUT,
            "axes": names,
            "dtype": "float32",
            "activation": "softmax" if multiclass else "sigmoid",
        },
        "before": list(entry.before),
        "inside": list(entry.inside),
        "after": list(entry.after),
        "preprocess": info["preprocess"],
        "size_multiple": predictor.divisor,
        "patch_size": _patch_size(paths),
        "tiles": {"size": list(predictor.tiling.edges(axes)), "overlap": predictor.tiling.overlap},
        "run": {
            "checkpoint": checkpoint.name,
            "sha256": file_sha256(checkpoint),
            "created": info["created"],
            "versions": {name: info["versions"][name] for name in ("segfocal", "torch")},
        },
    }


def as_text(metadata: dict[str, Any]) -> str:
    """Return the metadata as JSON text."""
    return json.dumps(metadata, ensure_ascii=False, allow_nan=False)


def _patch_size(paths: RunPaths) -> Any:
    """Return the pixels of a training patch; None where the data module has no such setting."""
    settings = read_mapping(paths.config, what="the configuration").get("data")
    arguments = settings.get("init_args") if isinstance(settings, dict) else None
    return arguments.get("patch_size") if isinstance(arguments, dict) else None
