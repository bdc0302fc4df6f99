"""CULane's lane score: lanes drawn 30 px wide, matched one to one by the overlap of the drawings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import linear_sum_assignment

from segfocal.errors import SegfocalError, check_range

Points = NDArray[np.float64]

_STEPS = 50  # drawn pieces between two given points


class CULaneCounts(NamedTuple):
    """Lanes counted over images.

    Args:
        tp: Predicted lanes matched to a true one.
        fp: Predicted lanes left over.
        fn: True lanes left over.
    """

    tp: int
    fp: int
    fn: int

    def plus(self, other: CULaneCounts) -> CULaneCounts:
        """Return the sums of both."""
        return CULaneCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    def scores(self) -> tuple[float, float, float]:
        """Return precision, recall and F1; each 0 where it is 0 / 0, as the official tool prints.

        Example:
            >>> CULaneCounts(tp=3, fp=1, fn=1).scores()
            (0.75, 0.75, 0.75)
        """
        precision = self.tp / max(self.tp + self.fp, 1)
        recall = self.tp / max(self.tp + self.fn, 1)
        return precision, recall, 2 * precision * recall / (precision + recall) if self.tp else 0.0


def match_lanes(
    predicted: Sequence[ArrayLike],
    lanes: Sequence[ArrayLike],
    *,
    size_px: tuple[int, int] = (590, 1640),
    width_px: int = 30,
    iou: float = 0.5,
) -> CULaneCounts:
    """Count the matched lanes of one image.

    Lanes are paired so that the sum of their overlaps is largest; a pair counts where its overlap is more
    than ``iou``.

    Args:
        predicted: Lanes, each ``(K, 2)`` points x, y in px in the order along the lane.
        lanes: True lanes, likewise.
        size_px: Height and width of the image.
        width_px: Width that lanes are drawn with; 30 at the official size.
        iou: Overlap that a match must exceed.

    Returns:
        Matches, predictions left over, true lanes left over. A lane of fewer than two points matches none.

    Raises:
        SegfocalError: Where points are no finite ``(K, 2)``, or a setting is out of range.

    Source:
        Pan et al., Spatial As Deep: Spatial CNN for Traffic Scene Understanding, 2018, and its evaluation
        tool; OpenCV draws a line of "30" px 31 px wide, and so do we.

    Example:
        >>> lane = [[100, 500], [140, 300], [180, 100]]
        >>> match_lanes([lane, [[900, 500], [900, 100]]], [lane])
        CULaneCounts(tp=1, fp=1, fn=0)
    """
    check_range("iou", iou, low=0.0, high=1.0)
    overlap = lane_iou(predicted, lanes, size_px=size_px, width_px=width_px)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    tp = int((overlap[rows, columns] > iou).sum())
    return CULaneCounts(tp, len(predicted) - tp, len(lanes) - tp)


def lane_iou(
    predicted: Sequence[ArrayLike],
    lanes: Sequence[ArrayLike],
    *,
    size_px: tuple[int, int] = (590, 1640),
    width_px: int = 30,
) -> NDArray[np.float64]:
    """Return the overlap of the drawings of every predicted and every true lane.

    Args:
        predicted: As in ``match_lanes``.
        lanes: As in ``match_lanes``.
        size_px: As in ``match_lanes``.
        width_px: As in ``match_lanes``.

    Returns:
        ``(predicted, lanes)`` intersections over unions; 0 where both drawings are empty.

    Raises:
        SegfocalError: As ``match_lanes``.
    """
    check_range("width_px", width_px, low=1)
    for side, length in zip(("height", "width"), size_px, strict=True):
        check_range(f"{side} of the images in px", length, low=1)
    first = [_drawn(lane, size_px=size_px, width_px=width_px) for lane in predicted]
    second = [_drawn(lane, size_px=size_px, width_px=width_px) for lane in lanes]
    overlap = np.zeros((len(first), len(second)))
    for row, one in enumerate(first):
        for column, other in enumerate(second):
            shared = cv2.countNonZero(cv2.bitwise_and(one, other))
            union = cv2.countNonZero(one) + cv2.countNonZero(other) - shared
            overlap[row, column] = shared / union if union else 0.0
    return overlap


def _drawn(lane: ArrayLike, *, size_px: tuple[int, int], width_px: int) -> NDArray[np.uint8]:
    points = np.asarray(lane, dtype=np.float64)
    if points.size and (points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all()):
        raise SegfocalError(f"a lane must be finite points (K, 2), x and y in px, got shape {points.shape}.")
    picture = np.zeros(size_px, dtype=np.uint8)
    if len(points) < 2:
        return picture
    # half to even, as OpenCV rounds points itself; far outside its integers overflow
    curve = np.rint(_curve(points).astype(np.float32)).clip(-(2**15), 2**15).astype(np.int32)
    moved = np.any(curve[1:] != curve[:-1], axis=1)
    corners = np.concatenate([curve[:1], curve[1:][moved]]) if moved.any() else curve[:2]
    cv2.polylines(picture, [corners[:, None]], isClosed=False, color=1, thickness=width_px)
    return picture


def _curve(points: Points) -> Points:
    """Return points along a natural cubic spline over the length of the chords."""
    if len(points) == 2:
        return points
    lengths = np.hypot(*np.diff(points, axis=0).T)
    if not (lengths > 0).all():  # a point given twice has no direction; once is enough
        return _curve(points[np.concatenate([[True], lengths > 0])])
    ends = np.concatenate([[0.0], np.cumsum(lengths)])
    spline = CubicSpline(ends, points, bc_type="natural")
    between = ends[:-1, None] + lengths[:, None] * np.arange(_STEPS) / _STEPS
    curve: Points = np.concatenate([spline(between.ravel()), points[-1:]])
    return curve
