"""CULane's files: per image a ``.lines.txt`` with one lane per line, ``x y x y ...`` in px."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial, reduce
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segfocal.errors import SegfocalError
from segfocal.metrics.lanes.culane import CULaneCounts, match_lanes

_SUFFIX = ".lines.txt"
_POOL_FROM = 400  # images; below, starting processes takes longer than it saves


def read_lines(path: str | Path) -> list[NDArray[np.float64]]:
    """Read the lanes of one image.

    Args:
        path: A ``.lines.txt`` file; empty lines are no lanes.

    Returns:
        Lanes, each ``(K, 2)`` points x, y in px.

    Raises:
        SegfocalError: Naming the line that is not pairs of finite numbers.
    """
    lanes = []
    for number, line in enumerate(Path(path).read_text("utf-8", errors="replace").splitlines(), start=1):
        try:
            values = np.array(line.split(), dtype=np.float64)
        except ValueError as error:
            raise SegfocalError(f"{path}, line {number} must be numbers: {error}.") from error
        if len(values) % 2 or not np.isfinite(values).all():
            raise SegfocalError(f"{path}, line {number} must be pairs x y, got {len(values)} numbers.")
        if len(values):
            lanes.append(values.reshape(-1, 2))
    return lanes


def label_names(labels: str | Path, *, only: str | Path | None = None) -> list[str]:
    """Return the images of a label folder.

    Args:
        labels: Folder with ``.lines.txt`` files at any depth.
        only: A list file of CULane (one image path per line): these images only.

    Returns:
        Paths below the folder, without ``.lines.txt``, sorted.

    Raises:
        SegfocalError: Where there are none, or a listed one has no labels.
    """
    root = Path(labels)
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob(f"*{_SUFFIX}"))
    names = [name.removesuffix(_SUFFIX) for name in found]
    if not names:
        raise SegfocalError(f"{root} must hold files that end in {_SUFFIX}, got none at any depth.")
    if only is None:
        return names
    listed = [
        line.split()[0].lstrip("/") for line in Path(only).read_text("utf-8").splitlines() if line.strip()
    ]
    wanted = [name.rpartition(".")[0] or name for name in listed]
    unknown = sorted(set(wanted) - set(names))
    if unknown or not wanted:
        raise SegfocalError(
            f"{only} lists {len(unknown)} images without labels in {root}, the first is "
            f"{(unknown or ['none: the list is empty'])[0]}."
        )
    return wanted


def count_files(
    predictions: str | Path,
    labels: str | Path,
    names: Sequence[str],
    *,
    size_px: tuple[int, int] = (590, 1640),
    width_px: int = 30,
    iou: float = 0.5,
    processes: int | None = None,
) -> CULaneCounts:
    """Count matched lanes over images; an image without a prediction file has no predicted lanes.

    Args:
        predictions: Folder laid out as the labels.
        labels: Label folder.
        names: From ``label_names``.
        size_px: As in ``match_lanes``.
        width_px: As in ``match_lanes``.
        iou: As in ``match_lanes``.
        processes: How many at once; None takes one per processor.

    Returns:
        Sums over the images.

    Raises:
        SegfocalError: As ``read_lines`` and ``match_lanes``, or where no image has a prediction file.
    """
    if not any((Path(predictions) / f"{name}{_SUFFIX}").is_file() for name in names):
        raise SegfocalError(
            f"{predictions} must be laid out as {labels}, e.g. {names[0]}{_SUFFIX}; it holds none of the "
            f"{len(names)} files. An image without lanes may lack its file, but not all of them."
        )
    one = partial(_count_image, Path(predictions), Path(labels), size_px=size_px, width_px=width_px, iou=iou)
    workers = processes or os.cpu_count() or 1
    if workers == 1 or len(names) < _POOL_FROM:
        return reduce(CULaneCounts.plus, map(one, names), CULaneCounts(0, 0, 0))
    with ProcessPoolExecutor(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        return reduce(CULaneCounts.plus, pool.map(one, names, chunksize=64), CULaneCounts(0, 0, 0))


def _count_image(
    predictions: Path, labels: Path, name: str, *, size_px: tuple[int, int], width_px: int, iou: float
) -> CULaneCounts:
    guess = predictions / f"{name}{_SUFFIX}"
    predicted = read_lines(guess) if guess.is_file() else []
    truth = read_lines(labels / f"{name}{_SUFFIX}")
    return match_lanes(predicted, truth, size_px=size_px, width_px=width_px, iou=iou)
