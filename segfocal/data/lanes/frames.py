"""Frames with lanes as the official files list them, and which split each belongs to; needs no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from segfocal.data.json_files import is_file, parse_json
from segfocal.data.lanes.drawing import Points
from segfocal.data.lanes.lines import SUFFIX, listed_images, read_lines
from segfocal.data.reading import PILLOW
from segfocal.data.splits import SPLITS, Split
from segfocal.data.strata import Presence
from segfocal.errors import SegfocalError

TENTH = Split(train=0.9, val=0.1, stratify=False)  # of TuSimple's labels, which no file divides

# a clip is one second of a drive: clips/0313-1/6040/20.jpg
_DRIVE = re.compile(r"(?:^|/)clips/([^/]+)/")


@dataclass(frozen=True)
class LaneFrame:
    """One image and its lanes.

    Args:
        name: Of the image, as the label file has it.
        image: Its file.
        lanes: Each ``(K, 2)`` points x, y in px of the labelled size.
        file: What the label file calls the image.
        rows: Heights that a prediction is asked for, in px of the labelled size; none where it is free.
    """

    name: str
    image: Path
    lanes: tuple[Points, ...]
    file: str = ""
    rows: tuple[float, ...] = ()


def drive_of(name: str) -> str:
    """Return the drive that a frame is from: TuSimple's folder below clips/, else the folder of the video.

    Example:
        >>> drive_of("clips/0313-1/6040/20"), drive_of("driver_23/0419.MP4/00000"), drive_of("00000")
        ('0313-1', 'driver_23/0419.MP4', '00000')
    """
    found = _DRIVE.search(name)
    folder = str(PurePosixPath(name).parent)
    return found.group(1) if found else name if folder == "." else folder


def frame_group(name: str, split: Split | None) -> str:
    """Return the group of a frame: what ``split.group`` finds in its name, else its drive."""
    return split.group_of(name) if split is not None and split.group is not None else drive_of(name)


def divide_frames(
    frames: Mapping[str, Iterable[LaneFrame]],
    split: Split | None,
    *,
    allowed: Iterable[str] = (),
    notes: list[str] | None = None,
) -> dict[str, list[LaneFrame]]:
    """Return the frames of train, val and test.

    Args:
        frames: Under "" those that ``split`` divides, under a split's name that split's own.
        split: How the first are divided.
        allowed: Names and groups that may lie in two splits.
        notes: Gathers sentences for the user, about frames without lanes.

    Raises:
        SegfocalError: For a split with a file of its own and a rule, and for groups in two splits.
    """
    pool = {frame.name: frame for part in frames.values() for frame in part}
    presence = Presence(
        lambda name: [0] if pool[name].lanes else [],
        ["lane"],
        [] if notes is None else notes,
        most=len(pool),
    )
    names = {part: [frame.name for frame in found] for part, found in frames.items() if part}
    if frames.get(""):
        assert split is not None
        drawn = split.divide(sorted(frame.name for frame in frames[""]), root=Path(), presence=presence)
        both = sorted(set(names) & {part for part, found in drawn.items() if found})
        if both:
            raise SegfocalError(f"split {both[0]} has a file of its own and a rule in split: give one.")
        names = drawn | names
    final = split.finish(names, allowed=tuple(allowed), presence=presence) if split else names
    return {part: [pool[name] for name in final.get(part, [])] for part in SPLITS}


def tusimple_frames(
    root: Path, labels: Iterable[str], test_labels: Iterable[str] = ()
) -> dict[str, list[LaneFrame]]:
    """Read TuSimple's label files.

    Args:
        root: Folder of files and images.
        labels: Files below it whose frames are to be divided.
        test_labels: Files of the test split.

    Returns:
        The frames under "" and "test"; names without their ending.

    Raises:
        SegfocalError: For missing files and images, damaged lines, and frames labelled twice.
    """
    tested = _read(root, test_labels)
    return {"": _read(root, labels)} | ({"test": tested} if tested else {})


def culane_frames(root: Path, lists: Mapping[str, str] | None) -> dict[str, list[LaneFrame]]:
    """Read CULane's label files.

    Args:
        root: Folder of the data set.
        lists: Split to list file below it; None: all images with labels, to be divided.

    Returns:
        The frames of each list, or all under "".

    Raises:
        SegfocalError: For missing lists, images and labels.
    """
    if lists is not None:
        listed = {part: listed_images(root / file) for part, file in lists.items()}
        return {part: [_culane_frame(root, name) for name in names] for part, names in listed.items()}
    found = sorted(root.rglob(f"*{SUFFIX}"))
    if not found:
        raise SegfocalError(f"{root} holds no {SUFFIX} files at any depth. Set root.")
    names = [path.relative_to(root).as_posix().removesuffix(SUFFIX) for path in found]
    return {"": [_culane_frame(root, name) for name in names]}


def _read(root: Path, files: Iterable[str]) -> list[LaneFrame]:
    frames: dict[str, LaneFrame] = {}
    for file in files:
        path = root / file
        if not path.is_file():
            raise SegfocalError(f"{path}: there is no such label file. Set root and labels.")
        for number, line in enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            frame = tusimple_frame(line, root=root, where=where)
            if not is_file(frame.image):
                raise SegfocalError(
                    f"{where}: the image {frame.image} is missing. Set root to the folder of clips/."
                )
            if frame.name in frames:
                raise SegfocalError(f"{path}, line {number}: {frame.name} is labelled twice.")
            frames[frame.name] = frame
    return list(frames.values())


def tusimple_frame(line: str, *, root: Path, where: str) -> LaneFrame:
    """Read one line of a label file of TuSimple; the image may be missing.

    Args:
        line: A JSON object with ``raw_file``, ``lanes`` and ``h_samples``.
        root: Folder that ``raw_file`` is below.
        where: File and line, for messages.

    Raises:
        SegfocalError: For a damaged line.
    """
    try:
        content = parse_json(line, where=where)
        raw, rows = content["raw_file"], np.asarray(content["h_samples"], dtype=np.float64)
        lanes = [np.asarray(lane, dtype=np.float64) for lane in content["lanes"]]
    except SegfocalError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise SegfocalError(
            f"{where} must be a JSON object with raw_file, lanes and h_samples of numbers ({error!r})."
        ) from error
    if not isinstance(raw, str):
        raise SegfocalError(f"{where}: raw_file must be the path of an image, got {raw!r}.")
    for lane in lanes:
        if lane.shape != rows.shape:
            raise SegfocalError(f"{where}: a lane has {lane.size} positions for {rows.size} h_samples.")
    if not all(np.isfinite(numbers).all() for numbers in (rows, *lanes)):
        raise SegfocalError(
            f"{where}: lanes and h_samples must be finite; write -2 where a lane has no point."
        )
    points = tuple(_points(lane, rows) for lane in lanes)
    return LaneFrame(raw.rpartition(".")[0], root / raw, points, file=raw, rows=tuple(rows.tolist()))


def _points(lane: Points, rows: Points) -> Points:
    """Return the points of a lane from top to bottom."""
    known = lane >= 0
    points: Points = np.stack([lane[known], rows[known]], axis=1)
    ordered: Points = points[np.argsort(points[:, 1])]
    return ordered


def _culane_frame(root: Path, name: str) -> LaneFrame:
    images = [root / f"{name}{ending}" for ending in PILLOW]
    image = next((path for path in images if path.is_file()), None)
    labels = root / f"{name}{SUFFIX}"
    if image is None or not labels.is_file():
        missing = f"{name}.jpg" if image is None else labels.name
        raise SegfocalError(f"{root / name}: {missing} is missing; image and labels lie together.")
    return LaneFrame(name, image, tuple(read_lines(labels)), file=image.name)
