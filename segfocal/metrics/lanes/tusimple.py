"""TuSimple's lane score of one frame: accuracy, false positives, false negatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segfocal.errors import SegfocalError, check_range

Positions = NDArray[np.float64]

_TOLERANCE_PX = 20.0  # across a lane, at the official width of 1280 px
_MATCHED_SHARE = 0.85  # of the sampled rows
_SLOWEST_MS = 200.0
_MOST_EXTRA_LANES = 2
_FORGIVING_FROM = 5  # lanes: with so many the worst one is forgiven
_ABSENT = -100.0  # the official stand-in for "no point in this row": two absent points agree


class FrameScore(NamedTuple):
    """The three official numbers of one frame.

    Args:
        accuracy: Mean over the true lanes (at most four count) of the share of rows found.
        fp: Predicted lanes less the true lanes that were matched, over predicted lanes; below 0 where one
            prediction matches two true lanes, as officially.
        fn: True lanes that no prediction matches, over true lanes (at most four count).
    """

    accuracy: float
    fp: float
    fn: float


def score_frame(
    predicted: Sequence[ArrayLike],
    lanes: Sequence[ArrayLike],
    *,
    rows: ArrayLike,
    run_time_ms: float = 0.0,
    width_px: float = 1280.0,
) -> FrameScore:
    """Score the predicted lanes of one frame.

    A predicted point is right within 20 px / cos(theta) of the true one, theta being the angle of a line
    fitted to the true lane; a true lane is matched where its best prediction has 85 % of the rows right.

    Args:
        predicted: Lanes, each ``(R,)`` positions in px, negative where the lane has no point in a row.
        lanes: True lanes, likewise.
        rows: ``(R,)`` heights of the rows in px, ascending.
        run_time_ms: Time that the prediction took; over 200 ms the frame is lost, as in the challenge.
        width_px: Width of the image; the tolerance of 20 px holds for 1280 and scales with it.

    Returns:
        Accuracy, false positives, false negatives.

    Raises:
        SegfocalError: Where a lane has not one position per row, or numbers are not finite or no width.

    Source:
        TuSimple lane detection challenge, evaluation of 2017: a frame that took too long, or predicts more
        than two lanes too many, scores (0, 0, 1); with five lanes or more the worst is forgiven.

    Example:
        >>> score_frame([[100, 110, 120]], [[105, 112, 119]], rows=[10, 20, 30])
        FrameScore(accuracy=1.0, fp=0.0, fn=0.0)
    """
    check_range("width_px", width_px, low=0.0, open_low=True)
    heights = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(heights).all():
        raise SegfocalError("rows must be finite heights in px (h_samples), got NaN or infinity.")
    guess = _stacked(predicted, heights, what="a predicted lane")
    truth = _stacked(lanes, heights, what="a true lane")
    if run_time_ms > _SLOWEST_MS or len(guess) > len(truth) + _MOST_EXTRA_LANES:
        return FrameScore(0.0, 0.0, 1.0)
    best = _best_shares(guess, truth, heights, tolerance_px=_TOLERANCE_PX * width_px / 1280.0)
    missed = int((best < _MATCHED_SHARE).sum())
    matched = len(truth) - missed
    total = float(sum(best.tolist()))  # in the official order of addition
    if len(truth) >= _FORGIVING_FROM:
        total -= float(best.min())
        missed -= missed > 0
    counted = max(min(_FORGIVING_FROM - 1, len(truth)), 1)
    wrong = (len(guess) - matched) / len(guess) if len(guess) else 0.0
    return FrameScore(total / counted, wrong, missed / counted)


def _best_shares(guess: Positions, truth: Positions, heights: Positions, *, tolerance_px: float) -> Positions:
    """Return ``(T,)``: of each true lane, the share of rows that its best prediction has right."""
    if not len(truth) or not len(guess):
        return np.zeros(len(truth))
    allowed = np.array([tolerance_px / np.cos(np.arctan(_slope(lane, heights))) for lane in truth])
    present = np.where(truth >= 0, truth, _ABSENT)[:, None]
    distance = np.abs(np.where(guess >= 0, guess, _ABSENT)[None] - present)
    right = (distance < allowed[:, None, None]).mean(axis=2)
    best: Positions = right.max(axis=1)
    return best


def _slope(lane: Positions, heights: Positions) -> float:
    """Return px of position per px of height of the least-squares line through a lane."""
    known = lane >= 0
    if known.sum() < 2:
        return 0.0
    y = heights[known] - heights[known].mean()
    x = lane[known] - lane[known].mean()
    spread = float((y * y).sum())
    return float((y * x).sum()) / spread if spread else 0.0


def _stacked(lanes: Sequence[ArrayLike], heights: Positions, *, what: str) -> Positions:
    rows = [np.asarray(lane, dtype=np.float64) for lane in lanes]
    for row in rows:
        if row.shape != heights.shape:
            raise SegfocalError(
                f"{what} must have one position per row, {len(heights)}, got shape {row.shape}. "
                "Write -2 for the rows in which it has no point."
            )
        if not np.isfinite(row).all():
            raise SegfocalError(f"{what} must hold finite numbers, got {row[~np.isfinite(row)][0]}.")
    return np.stack(rows) if rows else np.zeros((0, len(heights)))
