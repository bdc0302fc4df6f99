"""Images whose masks are drawn from lanes."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segfocal.data.labels import Mask
from segfocal.data.landmarks import Landmarks
from segfocal.data.lanes.drawing import Points, draw_lanes, foot, lane_positions, scaled
from segfocal.data.lanes.frames import LaneFrame, divide_frames, frame_group
from segfocal.data.module import SegmentationData
from segfocal.data.module import Split as SplitName
from segfocal.data.preprocess import Image
from segfocal.data.reading import PLAIN, ReadRules, image_size, read_image
from segfocal.data.source import Source
from segfocal.data.splits import Split
from segfocal.data.transforms import Augmentation
from segfocal.errors import SegfocalError, check_range

IGNORED = 255


class LaneSource(Source):
    """The frames of one split.

    Args:
        frames: Images and lanes.
        groups: One per frame.
        width_px: Width of a drawn lane at the labelled size.
        labelled_px: Height and width that the points refer to; None: those of each image.
        positions: Lanes with a class of their own, 0: all are one class.
        points: Whether samples carry the points.
        rules: How the images are read.
    """

    def __init__(
        self,
        frames: Sequence[LaneFrame],
        groups: Sequence[str],
        *,
        width_px: float,
        labelled_px: tuple[int, int] | None,
        positions: int,
        points: bool = False,
        rules: ReadRules = PLAIN,
    ) -> None:
        super().__init__([frame.name for frame in frames], groups)
        self.frames, self.width_px = list(frames), width_px
        self.labelled_px, self.positions, self.points = labelled_px, positions, points
        self.rules = rules

    def image(self, index: int) -> Image:
        """Return the image."""
        return read_image(self.frames[index].image, rules=self.rules)

    def lanes(self, index: int) -> list[Points]:
        """Return the lanes in px of the image: ``(K, 2)`` points x, y each."""
        return self._scaled(index)[0]

    def mask(self, index: int) -> Mask:
        """Return labels ``(H, W)``: 1 on lanes, or their positions; lanes too far out are ignored."""
        lanes, size_px, factor = self._scaled(index)
        labels = self._labels(lanes, size_px)
        return draw_lanes(lanes, size_px=size_px, width_px=self.width_px * factor, labels=labels)

    def landmarks(self, index: int) -> Landmarks | None:
        """Return the lanes of at least two points, left to right; None where samples need none of them."""
        if not (self.points or self.positions):
            return None
        lanes, size_px, _ = self._scaled(index)
        pairs = zip(lanes, self._labels(lanes, size_px), strict=True)
        drawn = [(lane, label) for lane, label in pairs if len(lane) > 1] if self.points else []
        drawn.sort(key=lambda pair: foot(pair[0], size_px[0]))
        lines, labels = tuple(lane for lane, _ in drawn), tuple(label for _, label in drawn)
        return Landmarks(lines, labels, positions=self.positions, shown=self.points)

    def _labels(self, lanes: Sequence[Points], size_px: tuple[int, int]) -> list[int]:
        """Return the class of each lane."""
        if not self.positions:
            return [1] * len(lanes)
        return [number or IGNORED for number in lane_positions(lanes, size_px=size_px, count=self.positions)]

    def place(self, index: int) -> str:
        """Return the path of the image."""
        return str(self.frames[index].image)

    def image_files(self, index: int) -> tuple[Path, ...]:
        """Return the file of the image."""
        return (self.frames[index].image,)

    def case_files(self, index: int) -> tuple[Path, ...]:
        """Return the file of the image; the points are compared themselves."""
        return (self.frames[index].image,)

    def identity(self, index: int, contents: Mapping[Path, bytes]) -> bytes:
        """Return a hash of the points, how they are drawn, and of name and content of the image file."""
        file = self.frames[index].image
        return self._drawn(index, os.fsencode(file.name) + b"\0" + contents[file])

    def former_identity(self, index: int) -> bytes:
        """Return a hash of the points, how they are drawn, and of name and size of the image file."""
        file = self.frames[index].image
        return self._drawn(index, f"{file.name} {file.stat().st_size}".encode())

    def _drawn(self, index: int, begin: bytes) -> bytes:
        frame = self.frames[index]
        drawn = (self.width_px, self.labelled_px, self.positions)
        digest = hashlib.sha256(begin + f" {drawn}".encode())
        for lane in frame.lanes:
            digest.update(lane.tobytes() + b"|")
        return digest.digest()

    def _scaled(self, index: int) -> tuple[list[Points], tuple[int, int], float]:
        """Return lanes and size of an image, and its width over the labelled one."""
        height, width = image_size(self.frames[index].image, rules=self.rules)
        labelled = self.labelled_px or (height, width)
        factor = (width / labelled[1], height / labelled[0])
        lanes = [scaled(lane, factor) for lane in self.frames[index].lanes]
        return lanes, (height, width), factor[0]


class LaneData(SegmentationData):
    """What TuSimple and CULane share: lanes drawn into masks, binary or one class per position.

    Args:
        split: How the frames without a split of their own are divided.
        width_px: Width of a drawn lane at the labelled size.
        labelled_px: Height and width that the points refer to; None: those of each image.
        positions: Lanes with a class of their own, an even number; 0: all are one class, "lane".
        points: Whether samples carry ``lanes``, the points ``(K, 2)`` x, y of each lane from left to right in
            px of the patch, cropped, scaled and augmented with the mask (also those outside the patch), and
            ``lane_labels``, their classes.
        augment: As in ``SegmentationData``; with ``positions`` nothing that stands the road on its head.
        **settings: Everything of ``SegmentationData`` but task and class_names.
    """

    def __init__(
        self,
        *,
        split: Split | None,
        width_px: float,
        labelled_px: list[int] | None,
        positions: int,
        points: bool,
        augment: str | list[str | dict[str, Any]],
        **settings: Any,
    ) -> None:
        check_range("width_px", width_px, low=1.0)
        if positions % 2 or positions < 0:
            raise SegfocalError(f"positions must be an even number of lanes or 0, got {positions}.")
        if labelled_px is not None and (len(labelled_px) != 2 or min(labelled_px) < 1):
            raise SegfocalError(f"labelled_px must be height and width in px, got {labelled_px}.")
        names = ["background", *(f"lane {number}" for number in range(1, positions + 1))]
        super().__init__(
            task="multiclass" if positions else "binary",
            class_names=names if positions else ["lane"],
            augment=augment,
            **settings,
        )
        self.augmentation = Augmentation(
            augment,
            ignore_index=self.ignore_index,
            in_channels=self.in_channels,
            points=points or positions > 0,
        )
        if positions and "square" in self.augmentation.symmetries:
            raise SegfocalError(
                "augment flips turns the road upside down, where positions have no left and right. Set "
                "augment: road, or mirror."
            )
        self.points = points
        self.split, self.width_px, self.positions = split, width_px, positions
        self.labelled_px = (labelled_px[0], labelled_px[1]) if labelled_px else None
        self._frames: dict[str, list[LaneFrame]] = {}

    @abstractmethod
    def frames(self) -> dict[str, list[LaneFrame]]:
        """Return all frames: under "" those that ``split`` divides, under a split's name that split's own."""

    def source(self, split: SplitName) -> LaneSource:
        """Return the frames of a split."""
        if not self._frames:
            self._frames = divide_frames(
                self.frames(), self.split, allowed=self.allow_leaks, notes=self.notes
            )
        chosen = self._frames[split]
        return LaneSource(
            chosen,
            [frame_group(frame.name, self.split) for frame in chosen],
            width_px=self.width_px,
            labelled_px=self.labelled_px,
            positions=self.positions,
            points=self.points,
            rules=self.preprocess.rules(),
        )
