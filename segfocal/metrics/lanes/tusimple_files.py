"""TuSimple's files: one JSON object per line, a frame each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError, check_range
from segfocal.metrics.lanes.tusimple import FrameScore, score_frame

_LABEL_KEYS = ("raw_file", "lanes", "h_samples")
_PREDICTION_KEYS = ("raw_file", "lanes", "run_time")


def score_files(
    predictions: str | Path, labels: str | Path, *, width_px: float = 1280.0
) -> dict[str, FrameScore]:
    """Score every frame of a label file.

    Args:
        predictions: JSON lines with ``raw_file``, ``lanes`` and ``run_time`` in ms.
        labels: JSON lines with ``raw_file``, ``lanes`` and ``h_samples``.
        width_px: As in ``score_frame``.

    Returns:
        ``raw_file`` to its scores, in the order of the predictions.

    Raises:
        SegfocalError: Where a line is no such object, a frame is missing, unknown or given twice, as the
            official tool. The message names file and line.
    """
    truth = _frames(Path(labels), _LABEL_KEYS)
    guesses = _frames(Path(predictions), _PREDICTION_KEYS)
    _check_same(guesses, truth, predictions=Path(predictions), labels=Path(labels))
    scores = {}
    for name, guess in guesses.items():
        frame = truth[name]
        try:
            scores[name] = score_frame(
                guess["lanes"],
                frame["lanes"],
                rows=frame["h_samples"],
                run_time_ms=guess["run_time"],
                width_px=width_px,
            )
        except (SegfocalError, TypeError, ValueError) as error:
            raise SegfocalError(f"{name} in {predictions}: {error}") from error
    return scores


def mean_score(scores: dict[str, FrameScore]) -> FrameScore:
    """Return the means over frames, the numbers of the official table.

    Args:
        scores: From ``score_files``; at least one frame.

    Returns:
        Accuracy, false positives, false negatives.
    """
    totals = [sum(score[position] for score in scores.values()) for position in range(3)]
    return FrameScore(*(total / len(scores) for total in totals))


def _frames(path: Path, keys: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise SegfocalError(f"{path} must be a file of JSON lines, got none of that name.")
    frames: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text("utf-8-sig", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        frame = _frame(line, keys, where=f"{path}, line {number}")
        if frame["raw_file"] in frames:
            raise SegfocalError(f"{path}, line {number}: the frame {frame['raw_file']} is there twice.")
        frames[frame["raw_file"]] = frame
    if not frames:
        raise SegfocalError(f"{path} must hold one JSON object per line, got an empty file.")
    return frames


def _frame(line: str, keys: tuple[str, ...], *, where: str) -> dict[str, Any]:
    try:
        frame: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise SegfocalError(f"{where} must be a JSON object, got damaged text ({error}).") from error
    missing = [key for key in keys if not isinstance(frame, dict) or key not in frame]
    if missing:
        raise SegfocalError(f"{where} must have the keys {', '.join(keys)}; {', '.join(missing)} is missing.")
    if not isinstance(frame["lanes"], list) or not all(isinstance(lane, list) for lane in frame["lanes"]):
        raise SegfocalError(f"{where}: lanes must be a list of lists of positions.")
    if not isinstance(frame["raw_file"], str):
        raise SegfocalError(f"{where}: raw_file must be the path of a frame, got {frame['raw_file']!r}.")
    if "run_time" in keys:
        check_range(f"{where}: run_time", frame["run_time"])
    if "h_samples" in keys and not isinstance(frame["h_samples"], list):
        raise SegfocalError(f"{where}: h_samples must be a list of heights, got {frame['h_samples']!r}.")
    return dict(frame)


def _check_same(guesses: dict[str, Any], truth: dict[str, Any], *, predictions: Path, labels: Path) -> None:
    unknown = [name for name in guesses if name not in truth]
    missing = [name for name in truth if name not in guesses]
    if unknown:
        raise SegfocalError(
            f"{predictions} has {len(unknown)} frames that {labels} does not label: {_first(unknown)}. "
            "Give the predictions and labels of the same frames."
        )
    if missing:
        raise SegfocalError(
            f"{predictions} lacks {len(missing)} of the {len(truth)} frames of {labels}: "
            f"{_first(missing)}. A frame without lanes is written with lanes: []."
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
