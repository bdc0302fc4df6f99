"""CULane's folders as a data module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segfocal.data.division import expand
from segfocal.data.lanes.frames import LaneFrame, culane_frames
from segfocal.data.lanes.source import LaneData
from segfocal.data.splits import Split
from segfocal.errors import SegfocalError


class CULaneData(LaneData):
    r"""Frames with lanes, as CULane gives them: beside each image a ``.lines.txt``, one lane per line.

    Args:
        root: Folder of the data set; ``$SEGFOCAL_DATA`` in it stands for that variable.
        lists: Split to list file below ``root``, one image path per line
            (``train: list/train.txt``); null: ``split`` divides all images with a label file.
        split: How the images are divided; null with ``lists``. Frames of one clip look alike:
            ``group: '([^/]+)/[^/]+$'`` keeps a clip in one split.
        width_px: Width of a drawn lane at the labelled size.
        labelled_px: Height and width that the points refer to; null: those of each image.
        positions: 4: a class for each of the two lanes on the left and the two on the right; lanes further
            out are ignored; a mirrored road has them mirrored too. 0: one class.
        points: Whether samples carry ``lanes``, the points of each lane from left to right, augmented with
            the mask, and ``lane_labels``, their classes.
        augment: As in ``SegmentationData``.
        **settings: Everything of ``SegmentationData`` but task and class_names.

    Raises:
        SegfocalError: Naming file and line: settings at once, files when a split is first used.
    """

    def __init__(
        self,
        root: str,
        *,
        lists: dict[str, str] | None = None,
        split: Split | None = None,
        width_px: float = 16.0,
        labelled_px: list[int] | None = None,
        positions: int = 0,
        points: bool = False,
        augment: str | list[str | dict[str, Any]] = "road",
        **settings: Any,
    ) -> None:
        if lists is None and split is None:
            raise SegfocalError("CULaneData needs lists (split to list file) or split. Give one.")
        if unknown := set(lists or {}) - {"train", "val", "test"}:
            raise SegfocalError(f"lists takes train, val and test, got {sorted(unknown)[0]!r}.")
        super().__init__(
            split=split,
            width_px=width_px,
            labelled_px=labelled_px,
            positions=positions,
            points=points,
            augment=augment,
            **settings,
        )
        self.root, self.lists = Path(expand(root)), lists

    def frames(self) -> dict[str, list[LaneFrame]]:
        """Return the frames of the lists, or all that have labels."""
        return culane_frames(self.root, self.lists)
