"""Shapes of COCO annotations: polygons and run lengths, checked and kept small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.errors import SegfocalError

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.uint32]
LEAST = 6  # numbers of a triangle
_LARGEST = 1e12  # beyond it no number is a place in an image
_MOST_TURNS = 200  # times once around the image: the longest outline


@dataclass(frozen=True, eq=False)
class Shape:
    """One annotation.

    Args:
        labels: Its classes, from 0: one, or several where a category belongs to overlapping classes.
        crowd: Whether it stands for many instances that nobody told apart.
        polygons: x, y, x, y, ... in px of each part; none where it is given by run lengths.
        runs: Lengths of background and foreground in turn, down the columns.
    """

    labels: tuple[int, ...]
    crowd: bool
    polygons: tuple[Floats, ...] = ()
    runs: Counts | None = None


def read_shape(
    entry: Mapping[str, Any], labels: tuple[int, ...], *, size_px: tuple[int, int], where: str
) -> Shape:
    """Return the shape of an annotation.

    Args:
        entry: The annotation.
        labels: Its classes.
        size_px: Height and width of its image.
        where: For messages.

    Raises:
        SegfocalError: For polygons of fewer than three points, which the official tool would take for a box,
            for run lengths of another size, and where there is no shape.
    """
    crowd, given = entry.get("iscrowd", 0), entry.get("segmentation")
    if crowd not in (0, 1):
        raise SegfocalError(f"{where}: iscrowd must be 0 or 1, got {crowd!r:.60}.")
    crowd = bool(crowd)
    if isinstance(given, list):
        return Shape(labels, crowd, polygons=_polygons(given, size_px, where))
    if isinstance(given, dict):
        return Shape(labels, crowd, runs=_runs(given, size_px=size_px, where=where))
    raise SegfocalError(
        f"{where} must have a segmentation: polygons, or an object with size and counts; got {given!r:.60}. "
        "Boxes alone make no mask: take them out."
    )


def _polygons(given: Sequence[Any], size_px: tuple[int, int], where: str) -> tuple[Floats, ...]:
    if not given:
        raise SegfocalError(f"{where} has an empty segmentation. Boxes alone make no mask: take them out.")
    found = []
    for polygon in given:
        if not isinstance(polygon, list):
            raise SegfocalError(
                f"{where}: segmentation must be a list of polygons, which are lists [x, y, x, y, ...], got "
                f"{polygon!r:.60} in it."
            )
        if len(polygon) < LEAST or len(polygon) % 2:
            raise SegfocalError(
                f"{where}: a polygon needs at least three points, x and y each, got {len(polygon)} numbers: "
                f"{polygon[:10]!s:.80}. Take it out."
            )
        points = _numbers(polygon)
        if points is None:
            raise SegfocalError(
                f"{where}: a polygon must hold finite numbers, got {polygon[:10]!s:.120}. Repair it."
            )
        _check_near(points, size_px, where)
        found.append(points)
    return tuple(found)


def _numbers(given: Sequence[Any]) -> Floats | None:
    """Return finite numbers; None for strings, lists, true and false, and what a float cannot hold."""
    if not all(type(number) in (int, float) and abs(number) < _LARGEST for number in given):
        return None
    return np.array(given, dtype=np.float64)


def _check_near(points: Floats, size_px: tuple[int, int], where: str) -> None:
    """Raise for polygons far beyond the image, along whose edges pycocotools would lay memory without end."""
    height, width = size_px
    corners = points.reshape(-1, 2)
    beyond = max(height, width)
    low, high = corners.min(axis=0), corners.max(axis=0)
    if low.min() < -beyond or high[0] > width + beyond or high[1] > height + beyond:
        raise SegfocalError(
            f"{where}: a polygon must lie in its image of {width} x {height} px (width, height), got x from "
            f"{low[0]:.6g} to {high[0]:.6g} and y from {low[1]:.6g} to {high[1]:.6g}. Repair or remove it."
        )
    length = float(np.abs(np.diff(corners, axis=0, append=corners[:1])).sum())
    most = _MOST_TURNS * (height + width)
    if length > most:
        raise SegfocalError(
            f"{where}: the edges of a polygon are {length:.6g} px long, expected {most} at most in an image "
            f"of {width} x {height} px. Repair or remove it."
        )


def _runs(given: Mapping[str, Any], *, size_px: tuple[int, int], where: str) -> Counts:
    size, counts = given.get("size"), given.get("counts")
    if size != list(size_px):
        raise SegfocalError(
            f"{where}: size must be that of its image, {list(size_px)} (height, width), got {size!s:.60}."
        )
    pixels = size_px[0] * size_px[1]
    lengths = _counted(counts) if isinstance(counts, list) else _unpacked(counts)
    # pycocotools checks neither: it returns memory that nobody wrote, or never comes back
    if (
        lengths is None
        or not 0 <= lengths.min(initial=0) <= lengths.max(initial=0) <= pixels < 2**32
        or lengths.sum() != pixels
    ):
        total = f"{counts!r:.60}" if lengths is None else f"lengths that sum to {lengths.sum()}"
        raise SegfocalError(
            f"{where}: counts must be run lengths, as numbers or in COCO's string, that sum to the {pixels} "
            f"pixels of the image, got {total}. Export them again."
        )
    return lengths.astype(np.uint32)


def _counted(counts: Sequence[Any]) -> npt.NDArray[np.int64] | None:
    """Return run lengths; None where they are no whole numbers, or beyond any image."""
    if not all(type(count) is int and abs(count) < 2**33 for count in counts):
        return None
    return np.array(counts, dtype=np.int64)


def _unpacked(counts: Any) -> npt.NDArray[np.int64] | None:
    """Return the run lengths in COCO's string: five bits a character, and differences to the last but one."""
    if not isinstance(counts, str) or not counts.isascii():
        return None
    codes = np.frombuffer(counts.encode(), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes < 32) + 1  # bit 5: the number goes on
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or not len(ends) or ends[-1] != len(codes):
        return None
    starts = np.concatenate([[0], ends[:-1]])
    if (ends - starts).max() > 7:  # beyond 32 bits
        return None
    places = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts))
    values = np.add.reduceat((codes & 31) << places, starts)
    negative = codes[ends - 1] & 16 > 0
    values = np.where(negative, values - (1 << 5 * (ends - starts)), values)
    values[1::2], values[2::2] = np.cumsum(values[1::2]), np.cumsum(values[2::2])
    return values
