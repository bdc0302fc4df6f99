"""Colours of masks as numbers 0xRRGGBB, and the tables that name them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.data.lists import separator
from segfocal.errors import SegfocalError

LISTED = 10
COLOURED = 0.2  # of the largest value: what lossy compression leaves between channels of grey
RARELY = 0.005


def listing(numbers: npt.NDArray[Any], *, colors: bool) -> str:
    """Return ``"7 (12 pixels), ..."``: the ten most frequent numbers with their counts.

    Args:
        numbers: Values or packed colours, any shape.
        colors: Whether to write them as #rrggbb.

    Example:
        >>> import numpy as np
        >>> listing(np.array([3, 3, 1]), colors=False)
        '3 (2 pixels), 1 (1 pixels)'
    """
    values, counts = np.unique(numbers, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:LISTED]
    parts = [f"{name(int(values[i]), colors=colors)} ({counts[i]} pixels)" for i in order]
    return ", ".join(parts) + (", ..." if len(values) > LISTED else "")


def name(number: int, *, colors: bool) -> str:
    """Return a stored number as a user writes it.

    Example:
        >>> name(0xFF0001, colors=True)
        '#ff0001'
    """
    return f"#{number:06x}" if colors else str(number)


def pack(color: str | Sequence[int]) -> int:
    """Return a colour as one number 0xRRGGBB.

    Args:
        color: ``"#rrggbb"`` or three numbers from 0 to 255.

    Raises:
        SegfocalError: For anything else.

    Example:
        >>> pack("#ff0001") == pack([255, 0, 1]) == 0xFF0001
        True
    """
    digits = color.removeprefix("#") if isinstance(color, str) else ""
    if isinstance(color, str) and len(digits) == 6 and set(digits.lower()) <= set("0123456789abcdef"):
        return int(digits, 16)
    whole = not isinstance(color, str) and all(isinstance(part, int | np.integer) for part in color)
    if whole and len(color) == 3 and all(0 <= int(part) <= 255 for part in color):
        return int(color[0]) << 16 | int(color[1]) << 8 | int(color[2])
    raise SegfocalError(f"a colour must be '#rrggbb' or three numbers from 0 to 255, got {color!r}.")


def read_class_table(path: Path) -> dict[str, list[int]]:
    """Return names and colours of a csv file with the columns name, r, g, b, in its order.

    Raises:
        SegfocalError: When file or columns are missing, or a row holds no colour.
    """
    if not path.is_file():
        raise SegfocalError(f"{path}: there is no such class table.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = file.read().splitlines()
        table = csv.DictReader(lines, delimiter=separator(lines[0] if lines else ""))
        rows = [{str(k).strip().lower(): v for k, v in row.items()} for row in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SegfocalError(f"{path} is no csv file in UTF-8: {error}.") from error
    if not rows or not {"name", "r", "g", "b"} <= rows[0].keys():
        raise SegfocalError(
            f"{path}: expected the columns name, r, g, b, got {list(rows[0]) if rows else 'no rows'}."
        )
    return {str(row["name"]).strip(): _row_color(row, f"{path}, row {n}") for n, row in enumerate(rows, 1)}


def _row_color(row: dict[str, Any], place: str) -> list[int]:
    """The row's colour; ``place`` counts rows below the header from 1."""
    parts = [str(row[part] or "").strip() for part in "rgb"]
    if not all(part.isdecimal() and len(part) <= 3 and int(part) <= 255 for part in parts):
        raise SegfocalError(
            f"{place} ({row['name']}): r, g and b must be whole numbers from 0 to 255, "
            f"got {', '.join(parts)}."
        )
    return [int(part) for part in parts]


def packed(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the colours of a mask as 0xRRGGBB, alpha dropped; grey counts as r = g = b.

    Args:
        stored: ``(H, W)`` or ``(H, W, C)`` as read from a file.
    """
    if stored.ndim == 2 or stored.shape[2] < 3:
        grey = (stored if stored.ndim == 2 else stored[:, :, 0])[:, :, None]
        stored = np.repeat(grey.astype(np.uint8) * (255 if grey.dtype == bool else 1), 3, axis=2)
    wide = stored[:, :, :3].astype(np.int64)
    return wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]


def nearly_grey(planes: npt.NDArray[Any]) -> bool:
    """Return whether three channels differ by no more than lossy compression leaves of grey.

    Args:
        planes: ``(H, W, 3)``.
    """
    wide = planes.astype(np.float32)
    spread = wide.max(axis=2) - wide.min(axis=2)
    return bool(np.mean(spread > COLOURED * max(float(wide.max()), 1.0)) <= RARELY)


def levels(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the grey levels of a mask, one per pixel: alpha is dropped, nearly grey colours are averaged.

    Args:
        stored: ``(H, W)`` or ``(H, W, C)`` as read from a file.

    Raises:
        SegfocalError: For colours, as their lightness says nothing about classes.
    """
    if stored.ndim == 3 and stored.shape[2] in (2, 4):
        stored = stored[:, :, :-1]
    if stored.ndim == 2 or stored.shape[2] == 1:
        return stored if stored.ndim == 2 else stored[:, :, 0]
    planes = stored[:, :, :3].astype(np.float32)
    if not nearly_grey(planes):
        found = listing(packed(stored), colors=True)
        raise SegfocalError(f"expected a mask of grey levels, got colours: {found}. Name them in colors.")
    grey: npt.NDArray[Any] = (
        np.rint(planes.mean(axis=2)) if stored.dtype.kind in "iu" else planes.mean(axis=2)
    )
    return grey


def single(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the numbers of a mask, one per pixel: alpha is dropped, equal colour channels count as grey.

    Args:
        stored: ``(H, W)`` or ``(H, W, C)`` as read from a file.

    Raises:
        SegfocalError: For colours, listed with their pixels, and for fractions.
    """
    if stored.ndim == 3 and stored.shape[2] in (2, 4):
        stored = stored[:, :, :-1]
    if stored.ndim == 3:
        if (stored != stored[:, :, :1]).any():
            found = listing(packed(stored), colors=True)
            raise SegfocalError(
                f"expected a mask of class numbers, got colours: {found}. Name them in colors."
            )
        stored = stored[:, :, 0]
    if stored.dtype.kind == "f":
        if not (stored == np.rint(stored)).all():
            raise SegfocalError("expected a mask of class numbers, got fractions.")
        return stored.astype(np.int64)
    return stored.view(np.uint8) if stored.dtype == bool else stored
