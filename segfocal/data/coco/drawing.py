"""Masks of classes out of COCO's shapes, drawn by pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segfocal.data.coco.shapes import Shape
from segfocal.errors import SegfocalError

Overlap = Literal["smaller", "later", "ignore"]
Crowd = Literal["ignore", "class"]
OVERLAPS: tuple[Overlap, ...] = ("smaller", "later", "ignore")
CROWDS: tuple[Crowd, ...] = ("ignore", "class")
Plane = npt.NDArray[np.bool_]
Mask = npt.NDArray[np.int32]


def draw_classes(
    shapes: Sequence[Shape],
    *,
    size_px: tuple[int, int],
    overlap: Overlap = "smaller",
    crowd: Crowd = "ignore",
    ignore_index: int | None = 255,
) -> Mask:
    """Draw shapes into one map of class numbers.

    Args:
        shapes: Of one image.
        size_px: Its height and width.
        overlap: Where two classes meet: the smaller shape stays (``"smaller"``; of equal ones the later), the
            later one in the annotation file (``"later"``), or neither (``"ignore"``).
        crowd: ``"ignore"``: crowds are ignored where no other shape is; ``"class"``: drawn like others.
        ignore_index: Label of what is ignored; None: of nothing.

    Returns:
        ``(H, W)``: 0 where nothing is, else 1 more than the first label of the shape.

    Example:
        >>> square = Shape((2,), False, (np.array([1.0, 1, 3, 1, 3, 3, 1, 3]),))
        >>> draw_classes([square], size_px=(4, 4))[1].tolist()
        [0, 3, 3, 0]
    """
    mask: Mask = np.zeros(size_px, dtype=np.int32)
    crowds, others = _apart(shapes, crowd)
    if crowds and ignore_index is not None:
        mask[_plane(crowds, size_px)] = ignore_index
    runs = [_runs(shape, size_px) for shape in others]
    order = list(range(len(others)))
    if overlap == "smaller":
        areas = [int(_coco().area(run)) for run in runs]
        order.sort(key=lambda number: -areas[number])
    taken, both = np.zeros(size_px, dtype=bool), np.zeros(size_px, dtype=bool)
    for number in order:
        label, plane = others[number].labels[0] + 1, _decode(runs[number])
        both |= plane & taken & (mask != label)
        taken |= plane
        mask[plane] = label
    if overlap == "ignore" and ignore_index is not None:
        mask[both] = ignore_index
    return mask


def draw_layers(
    shapes: Sequence[Shape],
    *,
    size_px: tuple[int, int],
    count: int,
    crowd: Crowd = "ignore",
    ignore_index: int | None = 255,
) -> Mask:
    """Draw shapes into a map per class; overlaps are kept.

    Args:
        shapes: Of one image.
        size_px: Its height and width.
        count: Classes.
        crowd: ``"ignore"``: crowds are ignored where no other shape of the class is; ``"class"``: drawn like
            others.
        ignore_index: Label of what is ignored; None: of nothing.

    Returns:
        ``(K, H, W)``: 1 where a shape of the class is, 0 elsewhere.
    """
    mask: Mask = np.zeros((count, *size_px), dtype=np.int32)
    crowds, others = _apart(shapes, crowd)
    for label in range(count):
        for value, part in ((ignore_index, crowds), (1, others)):
            chosen = [shape for shape in part if label in shape.labels]
            if chosen and value is not None:
                mask[label][_plane(chosen, size_px)] = value
    return mask


def _apart(shapes: Sequence[Shape], crowd: Crowd) -> tuple[list[Shape], list[Shape]]:
    """Return crowds that are ignored, and the others."""
    ignored = [shape for shape in shapes if shape.crowd and crowd == "ignore"]
    return ignored, [shape for shape in shapes if not shape.crowd or crowd == "class"]


def _plane(shapes: Sequence[Shape], size_px: tuple[int, int]) -> Plane:
    return _decode(_coco().merge([_runs(shape, size_px) for shape in shapes]))


def _runs(shape: Shape, size_px: tuple[int, int]) -> Any:
    """Return a shape as pycocotools' run lengths, made as its ``COCO.annToRLE`` does."""
    height, width = size_px
    if shape.polygons:
        return _coco().merge(_coco().frPyObjects(list(shape.polygons), height, width))
    assert shape.runs is not None
    return _coco().frPyObjects({"size": [height, width], "counts": shape.runs.tolist()}, height, width)


def _decode(runs: Any) -> Plane:
    found: Plane = _coco().decode(runs).astype(bool)
    return found


def _coco() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise SegfocalError("CocoData needs pycocotools: pip install 'segfocal[coco]'.") from error
    return mask
