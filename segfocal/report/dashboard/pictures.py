"""One layer of one case as a picture, for the browser that asks by its address."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

from flask import Response

from segfocal.errors import SegfocalError
from segfocal.report.dashboard.confine import inside
from segfocal.report.page.pictures import Layers, read_layers
from segfocal.runs.layout import RunPaths
from segfocal.runs.pictures import case_picture

_STAGES = ("val", "test", "live")


def picture(asked: Mapping[str, str], *, root: Path, runs: list[Path]) -> Response:
    """Answer a request for a picture.

    Args:
        asked: run (relative to LOGDIR), stage, stem, layer, and class where the layer is of one.
        root: LOGDIR, resolved.
        runs: Run directories that may be read: no other is, whatever the address says.

    Returns:
        A JPEG or PNG; 404 for anything that is not there.
    """
    run = root / asked.get("run", "")
    stage, stem = asked.get("stage", ""), asked.get("stem", "")
    if run not in runs or stage not in _STAGES or not stem or "/" in stem or "\\" in stem:
        return _missing()
    try:
        paths = RunPaths(run)
        inside(root, str(paths.case_pictures))
        inside(root, str(paths.case_pictures / stage))
        path = inside(root, str(case_picture(paths, stage, stem, "image")))
        layers = _layers(run, stage, stem, path.stat().st_mtime_ns)
    except (SegfocalError, OSError, ValueError):
        return _missing()
    data = None if layers is None else _layer(layers, asked.get("layer", ""), asked.get("class", ""))
    if data is None:
        return _missing()
    return Response(data, mimetype="image/jpeg" if data[:2] == b"\xff\xd8" else "image/png")


@functools.lru_cache(maxsize=64)
def _layers(run: Path, stage: str, stem: str, stamp: int) -> Layers | None:
    """Read a case once for all its layers, again when its image changes."""
    info = json.loads(RunPaths(run).info.read_text("utf-8"))
    names, task = info.get("class_names"), info.get("task")
    if not isinstance(names, list) or task not in ("binary", "multiclass", "multilabel"):
        return None
    return read_layers(run, stage, stem, class_names=[str(name) for name in names], task=task)


def _layer(layers: Layers, kind: str, index: str) -> bytes | None:
    plain = {"image": layers.image, "reference": layers.reference, "prediction": layers.prediction}
    if kind in plain:
        return plain[kind]
    planes = {"errors": layers.errors, "probability": layers.probability}.get(kind, {})
    return planes.get(int(index)) if index.isascii() and index.isdigit() and len(index) < 6 else None


def _missing() -> Response:
    return Response("no such picture\n", status=404, mimetype="text/plain")
