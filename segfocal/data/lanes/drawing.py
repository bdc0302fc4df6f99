"""Masks from lanes given as points, and which lane of the road each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from segfocal.errors import check_range

Points = npt.NDArray[np.float64]


def draw_lanes(
    lanes: Sequence[Points], *, size_px: tuple[int, int], width_px: float, labels: Sequence[int] | None = None
) -> npt.NDArray[np.uint8]:
    """Draw lanes as lines of one width.

    Args:
        lanes: Each ``(K, 2)`` points x, y in px, in the order along the lane; fewer than two draw nothing.
        size_px: Height and width of the mask.
        width_px: Width of a line; drawn is the nearest odd number, the larger of two.
        labels: Class of each lane; null: 1 for all. Where lanes cross, the later one stays.

    Returns:
        ``(H, W)``, 0 off the lanes.

    Example:
        >>> lane = np.array([[2.0, 0.0], [2.0, 3.0]])
        >>> draw_lanes([lane], size_px=(4, 5), width_px=1)[0].tolist()
        [0, 0, 1, 0, 0]
    """
    check_range("lane width", width_px, low=0.0, open_low=True)
    mask = np.zeros(size_px, dtype=np.uint8)
    for lane, label in zip(lanes, labels or [1] * len(lanes), strict=True):
        if len(lane) > 1:
            # far outside the image OpenCV's integers overflow
            corners = np.rint(lane).clip(-(2**14), 2**14).astype(np.int32)
            # OpenCV draws an even thickness one px wider and an odd one, beyond 1, two
            thickness = max(1, 2 * int(width_px / 2))
            cv2.polylines(mask, [corners[:, None]], isClosed=False, color=int(label), thickness=thickness)
    return mask


def lane_positions(lanes: Sequence[Points], *, size_px: tuple[int, int], count: int) -> list[int]:
    """Number lanes from left to right around the camera, which drives between two of them.

    Lanes are ordered by where they meet the lower edge of the image. The nearest on the left has number
    ``count / 2``, the nearest on the right the next one.

    Args:
        lanes: Each ``(K, 2)`` points x, y in px.
        size_px: Height and width of the image.
        count: Numbers there are, even.

    Returns:
        One number from 1 to ``count`` per lane; 0 for lanes further out, and for those without two points.

    Example:
        >>> upright = [np.array([[x, 0.0], [x, 9.0]]) for x in (60.0, 10.0, 40.0)]
        >>> lane_positions(upright, size_px=(10, 100), count=4)
        [3, 1, 2]
    """
    height, width = size_px
    feet = [(foot(lane, height), index) for index, lane in enumerate(lanes) if len(lane) > 1]
    left = [index for x, index in sorted(feet, reverse=True) if x < width / 2]
    right = [index for x, index in sorted(feet) if x >= width / 2]
    numbers = [0] * len(lanes)
    for side, first, step in ((left, count // 2, -1), (right, count // 2 + 1, 1)):
        for distance, index in enumerate(side[: count // 2]):
            numbers[index] = first + step * distance
    return numbers


def foot(lane: Points, height: int) -> float:
    """Return x where the lower end of a lane, made longer, meets the lower edge.

    Args:
        lane: ``(K, 2)`` points x, y in px, at least one.
        height: Of the image in px.
    """
    low = lane[np.argsort(lane[:, 1])][-5:]
    rise = float(low[-1, 1] - low[0, 1])
    slope = float(low[-1, 0] - low[0, 0]) / rise if rise else 0.0
    return float(low[-1, 0]) + slope * (height - float(low[-1, 1]))


def scaled(lane: Any, factor: tuple[float, float]) -> Points:
    """Return points moved from one image size to another.

    Args:
        lane: ``(K, 2)`` points x, y.
        factor: On x and on y.
    """
    moved: Points = np.asarray(lane, dtype=np.float64) * factor
    return moved
