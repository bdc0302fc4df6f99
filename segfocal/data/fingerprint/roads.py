"""What one frame of a road and its lanes hold, and where the label files of a folder lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from segfocal.data.json_files import is_file, parse_json
from segfocal.data.lanes.drawing import draw_lanes, lane_positions
from segfocal.data.lanes.frames import LaneFrame, culane_frames, tusimple_frame
from segfocal.data.lanes.lines import SUFFIX
from segfocal.data.reading import opened
from segfocal.data.splits import SPLITS
from segfocal.errors import SegfocalError, reading

POSITIONS = 4
_REFERENCE_PX = (16.0, 1280.0)  # usual width of a drawn lane in an image of this width


@dataclass(frozen=True)
class LaneFiles:
    """Label files that can be used.

    Args:
        kind: "TuSimple" or "CULane".
        root: Folder that paths start from.
        frames: Split ("": to be divided) to frames.
        files: Split to its label or list files below ``root``; empty for CULane without lists.
        problems: Sentences: files that were left out.
    """

    kind: str
    root: Path
    frames: Mapping[str, list[LaneFrame]]
    files: Mapping[str, list[str]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameFacts:
    """One frame.

    Args:
        name: Of the frame.
        split: Its split, or "".
        size_px: Height and width; zeros where the image cannot be read.
        points: Points of each lane.
        sides: Lanes left and right of the camera.
        reach_px: Largest x and y of a point.
        drawn_px: Label to pixels where lanes are drawn at the usual width: 0, and positions 1 to 4, 255 for
            lanes further out.
        digest: Of the image file.
        problem: A sentence, or "".
    """

    name: str
    split: str
    size_px: tuple[int, int] = (0, 0)
    points: tuple[int, ...] = ()
    sides: tuple[int, int] = (0, 0)
    reach_px: tuple[float, float] = (0.0, 0.0)
    drawn_px: dict[int, int] = field(default_factory=dict)
    digest: bytes = b""
    problem: str = ""


def usual_width_px(width: float) -> float:
    """Return the usual width of a drawn lane in an image: 16 px in 1280, at least 3.

    Example:
        >>> usual_width_px(1280), usual_width_px(512), usual_width_px(100)
        (16.0, 6.0, 3.0)
    """
    drawn, reference = _REFERENCE_PX
    return max(3.0, float(round(drawn * min(1.0, width / reference))))


def measure_frame(item: tuple[str, LaneFrame]) -> FrameFacts:
    """Read the head of an image, hash its file, draw its lanes.

    Args:
        item: Split and frame.
    """
    split, frame = item
    try:
        with reading(frame.image), opened(frame.image) as image:
            width, height = image.size
            image.draft("L", (1, 1))  # decoded as coarsely as the format allows: is the file whole?
            image.load()
        digest = hashlib.blake2b(frame.image.read_bytes(), digest_size=16).digest()
    except (SegfocalError, OSError) as error:
        return FrameFacts(frame.name, split, problem=str(error))
    lanes = [lane for lane in frame.lanes if len(lane) > 1]
    numbers = lane_positions(lanes, size_px=(height, width), count=10)
    labels = [number or 255 for number in lane_positions(lanes, size_px=(height, width), count=POSITIONS)]
    drawn = draw_lanes(lanes, size_px=(height, width), width_px=usual_width_px(width), labels=labels)
    reach = [max((float(lane[:, axis].max()) for lane in lanes), default=0.0) for axis in range(2)]
    return FrameFacts(
        name=frame.name,
        split=split,
        size_px=(height, width),
        points=tuple(len(lane) for lane in lanes),
        sides=(sum(1 <= number <= 5 for number in numbers), sum(number > 5 for number in numbers)),
        reach_px=(reach[0], reach[1]),
        drawn_px={label: int((drawn == label).sum()) for label in (*range(POSITIONS + 1), 255)},
        digest=digest,
    )


def find_lanes(root: Path) -> LaneFiles | None:
    """Return the label files of TuSimple or CULane below a folder; None where there are none.

    Args:
        root: The folder.

    Raises:
        SegfocalError: Where there are label files, and none has all of its images.
    """
    labels = [path for path in sorted(root.rglob("*.json")) if _is_tusimple(path)]
    if labels:
        return _tusimple(root, labels)
    return _culane(root) if next(root.rglob(f"*{SUFFIX}"), None) is not None else None


def _is_tusimple(path: Path) -> bool:
    """Labels have h_samples in every line; predictions and other JSON have not."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        try:
            content = parse_json(file.readline(), where=str(path))
        except SegfocalError:
            return False
    return isinstance(content, dict) and {"raw_file", "lanes", "h_samples"} <= set(content)


def _tusimple(root: Path, labels: list[Path]) -> LaneFiles:
    """The folder with the most labelled images is the root of the data; files without images are left out."""
    best: LaneFiles | None = None
    for base in dict.fromkeys(place for path in labels for place in (path.parent, *path.parent.parents)):
        if base == root or root in base.parents:
            found = _below(base, labels)
            count = sum(map(len, found.frames.values()))
            best = found if best is None or count > sum(map(len, best.frames.values())) else best
    if best is None or not any(best.frames.values()):
        raise SegfocalError(
            f"{labels[0]} and {len(labels) - 1} more label files of TuSimple lie in {root}, but not all of "
            "the images that one of them names. Put labels and clips/ into one folder."
        )
    return best


def _below(base: Path, labels: list[Path]) -> LaneFiles:
    frames: dict[str, list[LaneFrame]] = {}
    files: dict[str, list[str]] = {}
    problems: list[str] = []
    for path in labels:
        try:
            lines = enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), start=1)
            read = partial(tusimple_frame, root=base)
            found = [read(line, where=f"{path}, line {n}") for n, line in lines if line.strip()]
        except SegfocalError as error:
            problems.append(f"{error} The file is left out.")
            continue
        missing = [frame for frame in found if not is_file(frame.image)]
        if missing:
            problems.append(f"{path}: left out, {len(missing)} of {len(found)} images are not below {base}.")
            continue
        split = "test" if path.stem.startswith("test") else ""
        frames.setdefault(split, []).extend(found)
        files.setdefault(split, []).append(Path(os.path.relpath(path, base)).as_posix())
    return LaneFiles("TuSimple", base, frames, files, tuple(problems))


def _culane(root: Path) -> LaneFiles:
    lists: dict[str, str] = {}
    problems: list[str] = []
    for path in sorted(root.rglob("*.txt")):
        split = next((part for part in SPLITS if path.stem in (part, f"{part}_gt")), None)
        if path.name.endswith(SUFFIX) or split is None or split in lists:
            continue
        place = path.relative_to(root).as_posix()
        try:
            culane_frames(root, {split: place})
        except SegfocalError as error:
            problems.append(f"{error} The list {place} is left out.")
            continue
        lists[split] = place
    usable = lists if "train" in lists else None
    files = {split: [place] for split, place in (usable or {}).items()}
    return LaneFiles("CULane", root, culane_frames(root, usable), files, tuple(problems))
