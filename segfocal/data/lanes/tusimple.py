"""TuSimple's label files as a data module."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from segfocal.data.division import expand
from segfocal.data.lanes.drawing import Points
from segfocal.data.lanes.source import LaneData, LaneFrame
from segfocal.data.splits import Split
from segfocal.errors import SegfocalError

# a clip is one second of a drive: clips/0313-1/6040/20.jpg
DRIVE = r"clips/([^/]+)/"


class TuSimpleData(LaneData):
    """Frames with lanes, as TuSimple gives them: JSON lines with ``raw_file``, ``lanes``, ``h_samples``.

    Args:
        root: Folder that ``raw_file`` is below; ``$SEGFOCAL_DATA`` in it stands for that variable.
        labels: Label files below ``root`` that ``split`` divides into train and val.
        test_labels: Label files below ``root`` of the test split.
        split: How the frames of ``labels`` are divided; null: a tenth validates, frames drawn one by one.
            Frames of one drive look alike: where there are several, ``group: 'clips/([^/]+)/'`` keeps each
            in one split.
        width_px: Width of a drawn lane at the labelled size.
        labelled_px: Height and width that the points refer to, e.g. ``[720, 1280]`` where images were
            reduced and labels were not; null: those of each image.
        positions: 4: a class for each of the two lanes on the left and the two on the right; lanes further
            out are ignored. 0: one class.
        **settings: Everything of ``SegmentationData`` but task and class_names.

    Raises:
        SegfocalError: Naming file and line: settings at once, files when a split is first used.
    """

    def __init__(
        self,
        root: str,
        labels: list[str],
        *,
        test_labels: list[str] | None = None,
        split: Split | None = None,
        width_px: float = 16.0,
        labelled_px: list[int] | None = None,
        positions: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(
            split=split or Split(train=0.9, val=0.1),
            width_px=width_px,
            labelled_px=labelled_px,
            positions=positions,
            **settings,
        )
        self.root, self.labels, self.test_labels = Path(expand(root)), labels, test_labels or []

    def frames(self) -> dict[str, list[LaneFrame]]:
        """Return the frames of the label files."""
        found = {"": read_frames(self.root, self.labels)}
        if self.test_labels:
            found["test"] = read_frames(self.root, self.test_labels)
        return found


def read_frames(root: Path, files: list[str]) -> list[LaneFrame]:
    """Read label files.

    Args:
        root: Folder of files and images.
        files: Names below it.

    Returns:
        The frames; names without their ending.

    Raises:
        SegfocalError: For missing files and images, damaged lines, and frames labelled twice.
    """
    frames: dict[str, LaneFrame] = {}
    for file in files:
        path = root / file
        if not path.is_file():
            raise SegfocalError(f"{path}: there is no such label file. Set root and labels.")
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
            if not line.strip():
                continue
            frame = _frame(line, root=root, where=f"{path}, line {number}")
            if frame.name in frames:
                raise SegfocalError(f"{path}, line {number}: {frame.name} is labelled twice.")
            frames[frame.name] = frame
    return list(frames.values())


def _frame(line: str, *, root: Path, where: str) -> LaneFrame:
    try:
        content = json.loads(line)
        raw, rows = content["raw_file"], np.asarray(content["h_samples"], dtype=np.float64)
        lanes = [np.asarray(lane, dtype=np.float64) for lane in content["lanes"]]
    except (ValueError, KeyError, TypeError) as error:
        raise SegfocalError(
            f"{where} must be a JSON object with raw_file, lanes and h_samples of numbers ({error!r})."
        ) from error
    image = root / raw
    if not image.is_file():
        raise SegfocalError(f"{where}: the image {image} is missing. Set root to the folder of clips/.")
    for lane in lanes:
        if lane.shape != rows.shape:
            raise SegfocalError(f"{where}: a lane has {lane.size} positions for {rows.size} h_samples.")
    points = tuple(_points(lane, rows) for lane in lanes)
    return LaneFrame(raw.rpartition(".")[0], image, points, file=raw, rows=tuple(rows.tolist()))


def _points(lane: Points, rows: Points) -> Points:
    """Return the points of a lane from top to bottom."""
    known = lane >= 0
    points: Points = np.stack([lane[known], rows[known]], axis=1)
    ordered: Points = points[np.argsort(points[:, 1])]
    return ordered
