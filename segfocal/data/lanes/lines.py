"""CULane's ``.lines.txt``: one lane per line, ``x y x y ...`` in px; needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from posixpath import normpath

import numpy as np
import numpy.typing as npt

from segfocal.errors import SegfocalError, reading

SUFFIX = ".lines.txt"


def read_lines(path: str | Path) -> list[npt.NDArray[np.float64]]:
    """Read the lanes of one image.

    Args:
        path: A ``.lines.txt`` file; empty lines are no lanes.

    Returns:
        Lanes, each ``(K, 2)`` points x, y in px.

    Raises:
        SegfocalError: Naming the line that is not pairs of finite numbers.
    """
    lanes = []
    for number, line in enumerate(Path(path).read_text("utf-8-sig", errors="replace").splitlines(), start=1):
        try:
            values = np.array(line.split(), dtype=np.float64)
        except ValueError as error:
            raise SegfocalError(f"{path}, line {number} must be numbers: {error}.") from error
        if not np.isfinite(values).all():
            raise SegfocalError(f"{path}, line {number} must be finite numbers, got NaN or infinity.")
        if len(values) % 2:
            raise SegfocalError(f"{path}, line {number} must be pairs x y, got {len(values)} numbers.")
        if len(values):
            lanes.append(values.reshape(-1, 2))
    return lanes


def lines_text(lanes: Iterable[npt.ArrayLike]) -> str:
    r"""Return the content of a ``.lines.txt`` file.

    Args:
        lanes: Each ``(K, 2)`` points x, y in px; lanes of fewer than two points are left out.

    Returns:
        One line per lane, seven digits.

    Example:
        >>> lines_text([[[1.5, 590], [2, 580]], [[1, 2]]])
        '1.5 590 2 580\n'
    """
    points = [np.asarray(lane, dtype=np.float64) for lane in lanes]
    rows = [" ".join(f"{value:.7g}" for value in lane.ravel()) for lane in points if len(lane) > 1]
    return "".join(row + "\n" for row in rows)


def listed_images(path: str | Path) -> list[str]:
    """Read a list file of CULane.

    Args:
        path: One image path per line, with or without a leading slash; further words are passed over.

    Returns:
        The paths without their ending.

    Raises:
        SegfocalError: Where there is no such file, or it is empty.
    """
    file = Path(path)
    if not file.is_file():
        raise SegfocalError(f"{file}: there is no such list file.")
    with reading(file, kind="a list of images"):
        lines = file.read_text("utf-8-sig").splitlines()
    words = [normpath(line.split()[0].lstrip("/")) for line in lines if line.strip()]
    if not words:
        raise SegfocalError(f"{file} must list one image per line, got an empty file.")
    return [word.removesuffix(Path(word).suffix) for word in words]
