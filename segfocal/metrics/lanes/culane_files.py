"""CULane's score over folders of ``.lines.txt`` files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial, reduce
from multiprocessing import get_context
from pathlib import Path

import cv2

from segfocal.data.lanes.lines import SUFFIX, listed_images, read_lines
from segfocal.errors import SegfocalError
from segfocal.metrics.lanes.culane import CULaneCounts, match_lanes

_POOL_FROM = 400  # images; below, starting processes takes longer than it saves


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
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob(f"*{SUFFIX}"))
    names = [name.removesuffix(SUFFIX) for name in found]
    if not names:
        raise SegfocalError(f"{root} must hold files that end in {SUFFIX}, got none at any depth.")
    if only is None:
        return names
    wanted = listed_images(only)
    unknown = sorted(set(wanted) - set(names))
    if unknown:
        raise SegfocalError(
            f"{only} lists {len(unknown)} images without labels in {root}, the first is {unknown[0]}."
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
    if not any((Path(predictions) / f"{name}{SUFFIX}").is_file() for name in names):
        raise SegfocalError(
            f"{predictions} must be laid out as {labels}, e.g. {names[0]}{SUFFIX}; it holds none of the "
            f"{len(names)} files. An image without lanes may lack its file, but not all of them."
        )
    one = partial(_count_image, Path(predictions), Path(labels), size_px=size_px, width_px=width_px, iou=iou)
    workers = processes or os.cpu_count() or 1
    if workers == 1 or len(names) < _POOL_FROM:
        return reduce(CULaneCounts.plus, map(one, names), CULaneCounts(0, 0, 0))
    fresh = get_context("spawn")  # a fork inherits the locks of threads that it does not have
    with ProcessPoolExecutor(workers, fresh, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        return reduce(CULaneCounts.plus, pool.map(one, names, chunksize=64), CULaneCounts(0, 0, 0))


def without_predictions(predictions: str | Path, names: Sequence[str]) -> list[str]:
    """Return the images that have no prediction file, and so count as images without lanes.

    Args:
        predictions: Folder laid out as the labels.
        names: From ``label_names``.
    """
    return [name for name in names if not (Path(predictions) / f"{name}{SUFFIX}").is_file()]


def not_scored(predictions: str | Path, names: Iterable[str]) -> list[str]:
    """Return the prediction files of images that are not scored, without ``.lines.txt``, sorted.

    Args:
        predictions: Folder with ``.lines.txt`` files at any depth.
        names: Images that are scored.
    """
    root = Path(predictions)
    found = {path.relative_to(root).as_posix().removesuffix(SUFFIX) for path in root.rglob(f"*{SUFFIX}")}
    return sorted(found - set(names))


def _count_image(
    predictions: Path, labels: Path, name: str, *, size_px: tuple[int, int], width_px: int, iou: float
) -> CULaneCounts:
    guess = predictions / f"{name}{SUFFIX}"
    predicted = read_lines(guess) if guess.is_file() else []
    truth = read_lines(labels / f"{name}{SUFFIX}")
    return match_lanes(predicted, truth, size_px=size_px, width_px=width_px, iou=iou)
