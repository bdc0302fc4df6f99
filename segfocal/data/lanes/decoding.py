"""From masks to lanes: followed row by row from the bottom upwards, smoothed, ordered from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.interpolate import make_smoothing_spline

from segfocal.data.lanes.drawing import Points, foot
from segfocal.errors import SegfocalError, check_range

_STEP_PX = 2  # rows between two looks
_SMOOTHNESS = 1e3  # of the spline: bends shorter than a few tens of px are taken for noise


@dataclass(frozen=True)
class Decoding:
    """What counts as a lane.

    Args:
        shortest: Least height of a lane, as a share of the image's.
        gap: Highest gap that a lane is followed across, likewise.
        filled: Least share of its rows in which a lane must be seen.
        reach: Farthest that a lane may lie from where it was expected in the next row, as a share of the
            image's width.
        most: Lanes returned at most; the highest ones stay.
    """

    shortest: float = 0.08
    gap: float = 0.12
    filled: float = 0.3
    reach: float = 0.02
    most: int = 6

    def __post_init__(self) -> None:
        for name in ("shortest", "gap", "filled", "reach"):
            check_range(name, getattr(self, name), low=0.0, high=1.0)
        check_range("most", self.most, low=1)


@dataclass
class _Track:
    """A lane that is being followed: points from the bottom upwards."""

    points: list[tuple[float, float]] = field(default_factory=list)

    def expected(self, y: float) -> float:
        """Return where it should be in a row above, by the line through its last points."""
        x1, y1 = self.points[-1]
        x0, y0 = self.points[max(0, len(self.points) - 12)]
        return x1 if y0 == y1 else x1 + (x0 - x1) / (y0 - y1) * (y - y1)

    def height(self) -> float:
        """Return how far it was followed, in px."""
        return self.points[0][1] - self.points[-1][1]


def decode_lanes(
    mask: npt.NDArray[np.integer], *, positions: int = 0, decoding: Decoding | None = None
) -> list[Points]:
    """Find the lanes of a mask.

    Args:
        mask: ``(H, W)`` labels: 1 on lanes, or their positions from 1 on.
        positions: Highest position; 0: all lanes have label 1 and are told apart by following them.
        decoding: What counts as a lane; None: the defaults.

    Returns:
        Lanes from left to right where they meet the lower edge, each ``(K, 2)`` points x, y in px from top to
        bottom, a row of the image apart; of a position at most one.

    Raises:
        SegfocalError: If the mask is not ``(H, W)``.

    Example:
        >>> mask = np.zeros((40, 60), np.uint8)
        >>> mask[:, 28:33] = 1
        >>> decode_lanes(mask)[0][[0, -1]].round(3).tolist()
        [[30.0, 1.0], [30.0, 39.0]]
    """
    if mask.ndim != 2:
        raise SegfocalError(f"a mask of lanes must have shape (H, W), got {mask.shape}.")
    rules = decoding or Decoding()
    found: list[Points] = []
    for label in range(1, max(positions, 1) + 1):
        tracks = _follow(mask == label, rules)
        found += tracks[: 1 if positions else rules.most]
    tallest = sorted(found, key=lambda lane: lane[0, 1] - lane[-1, 1])[: rules.most]
    return sorted(tallest, key=lambda lane: foot(lane, mask.shape[0]))


def at_rows(lane: Points, rows: Sequence[float] | npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return where a lane is in some rows.

    Args:
        lane: ``(K, 2)`` points x, y from top to bottom.
        rows: ``(R,)`` heights in px.

    Returns:
        ``(R,)`` positions in px, -2 where the lane has none.

    Example:
        >>> at_rows(np.array([[1.0, 10.0], [3.0, 20.0]]), [5, 15, 20]).tolist()
        [-2.0, 2.0, 3.0]
    """
    found: npt.NDArray[np.float64] = np.asarray(
        np.interp(rows, lane[:, 1], lane[:, 0], left=-2.0, right=-2.0)
    )
    return found


def _follow(lane_pixels: npt.NDArray[np.bool_], rules: Decoding) -> list[Points]:
    """Return the lanes of one class, the highest first."""
    height, width = lane_pixels.shape
    active: list[_Track] = []
    done: list[_Track] = []
    for y in range(height - 1, -1, -_STEP_PX):
        lost = [track for track in active if track.points[-1][1] - y > max(rules.gap * height, _STEP_PX)]
        done += lost
        active = [track for track in active if track not in lost]
        _extend(active, _runs(lane_pixels[y]), y=float(y), reach_px=max(rules.reach * width, 2.0))
    least = max(rules.shortest * height, 4 * _STEP_PX)
    kept = [
        track
        for track in done + active
        if track.height() >= least and len(track.points) * _STEP_PX >= rules.filled * track.height()
    ]
    return sorted((_smooth(track) for track in kept), key=lambda lane: lane[0, 1] - lane[-1, 1])


def _extend(active: list[_Track], runs: list[tuple[float, float]], *, y: float, reach_px: float) -> None:
    """Give each run of a row to the track that expects it, nearest first; the rest begin new ones."""
    pairs = sorted(
        (abs(track.expected(y) - centre), number, index)
        for number, track in enumerate(active)
        for index, (centre, _) in enumerate(runs)
    )
    taken: set[int] = set()
    given: set[int] = set()
    for distance, number, index in pairs:
        # a slanted lane is wide in a row, and its middle moves further from row to row
        if number in taken or index in given or distance > reach_px + runs[index][1] / 4:
            continue
        active[number].points.append((runs[index][0], y))
        taken.add(number)
        given.add(index)
    active += [_Track([(centre, y)]) for index, (centre, _) in enumerate(runs) if index not in given]


def _runs(row: npt.NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Return middle and width of each stretch of lane pixels in a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
    return [((a + b - 1) / 2, float(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _smooth(track: _Track) -> Points:
    """Return a spline through a track, sampled in every row from top to bottom."""
    x, y = np.array(track.points[::-1], dtype=np.float64).T
    rows = np.arange(y[0], y[-1] + 1)
    curve = make_smoothing_spline(y, x, lam=_SMOOTHNESS)(rows) if len(y) > 4 else np.interp(rows, y, x)
    points: Points = np.stack([curve, rows], axis=1)
    return points
