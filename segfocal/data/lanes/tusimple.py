"""TuSimple's label files as a data module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segfocal.data.division import expand
from segfocal.data.lanes.frames import TENTH, LaneFrame, tusimple_frames
from segfocal.data.lanes.source import LaneData
from segfocal.data.splits import Split


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
        labels: list[str],
        *,
        test_labels: list[str] | None = None,
        split: Split | None = None,
        width_px: float = 16.0,
        labelled_px: list[int] | None = None,
        positions: int = 0,
        points: bool = False,
        augment: str | list[str | dict[str, Any]] = "road",
        **settings: Any,
    ) -> None:
        super().__init__(
            split=split or TENTH,
            width_px=width_px,
            labelled_px=labelled_px,
            positions=positions,
            points=points,
            augment=augment,
            **settings,
        )
        self.root, self.labels, self.test_labels = Path(expand(root)), labels, test_labels or []

    def frames(self) -> dict[str, list[LaneFrame]]:
        """Return the frames of the label files."""
        if self.split is TENTH:
            self.notes.append(
                "split: a tenth of the frames validates, drawn one by one by the seed alone; "
                "data.init_args.split keeps drives together and spreads frames without lanes"
            )
        return tusimple_frames(self.root, self.labels, self.test_labels)
