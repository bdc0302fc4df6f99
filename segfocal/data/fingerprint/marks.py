"""Marks of masks that are no plain class numbers: grey levels along borders, and numbers of instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

DARK, LIGHT = 40, 153  # of 255: what compression leaves of 0, and the least that counts as the object
_MANY_LEVELS = 10
_NEAR_PX, _RINGING_PX = 5, 17  # windows: interpolation blurs a border by two pixels, JPEG a block of 8
_MOST_PIECES = 300
_MOST_TINTS = 60
_NEAR_COLOR = 3.0  # of 255: what rounding leaves between a blend and the line between its colours


@dataclass(frozen=True)
class GreyFacts:
    """Where the levels between background and object lie in one mask.

    Args:
        top: The level of the object, 255 for bytes.
        between_px: Pixels between 0 and ``top``; where there are many levels, of those far from both.
        border_px: Pixels among them with background as well as object close by.
        middle_px: Pixels more than 40 of 255 from 0, and not ``top``.
        ends_px: Pixels close to 0 or ``top``.
        pixels: All.
    """

    top: int
    between_px: int
    border_px: int
    middle_px: int
    ends_px: int
    pixels: int


@dataclass(frozen=True)
class PieceFacts:
    """How far the numbers of one mask look like those of instances.

    Args:
        numbers: Different numbers besides 0 (and 255 where it stands apart).
        single: Those whose pixels are connected.
        gapless: Whether they are 1, 2, 3, ...
        ordered: Whether they begin from top to bottom, as labelling programs count.
    """

    numbers: int
    single: int
    gapless: bool
    ordered: bool


@dataclass(frozen=True)
class TintFacts:
    """How far the colours of one mask look like those of instances.

    Args:
        background: Its most frequent colour, 0xRRGGBB.
        colors: Different colours besides it.
        single: Those whose pixels are connected.
        blends: Those that lie on borders alone and between two others, as antialiasing makes them.
    """

    background: int
    colors: int
    single: int
    blends: int


def grey_facts(numbers: Array, values: Array, *, lossy: bool) -> GreyFacts | None:
    """Return where the levels between 0 and the largest lie.

    Args:
        numbers: ``(H, W)`` stored numbers.
        values: Those that occur, in order.
        lossy: Whether the file's compression changes values.

    Returns:
        None where the mask holds two values at most, or none that is light.
    """
    highest = int(values[-1])
    top = 255 if highest <= 255 else 65535 if highest > 2**15 else highest
    if len(values) < 3 or int(values[0]) < 0 or highest < LIGHT * top / 255:
        return None
    plane = numbers if top == 255 else np.clip(numbers.astype(np.float64) * (255 / top), 0, 255)
    plane = plane.astype(np.uint8)
    smooth = lossy or len(values) >= _MANY_LEVELS
    window = np.ones((_RINGING_PX,) * 2 if smooth else (_NEAR_PX,) * 2, np.uint8)
    low, high = (DARK, 255 - DARK) if smooth else (0, 255)
    between = (plane > low) & (plane < high)
    border = between & (cv2.erode(plane, window) <= low)
    border &= cv2.dilate(plane, window) >= (LIGHT if smooth else high)
    middle = (plane > DARK) & (plane < 255)
    ends = (plane <= DARK) | (plane >= 255 - DARK)
    counts = [int(np.count_nonzero(found)) for found in (between, border, middle, ends)]
    return GreyFacts(top, counts[0], counts[1], counts[2], counts[3], pixels=plane.size)


def piece_facts(numbers: Array, values: Array) -> PieceFacts | None:
    """Return whether each number is one connected piece, and how they are counted.

    Args:
        numbers: ``(H, W)`` stored numbers.
        values: Those that occur, in order.

    Returns:
        None where nothing but background occurs.
    """
    labels = [int(value) for value in values if value > 0]
    if len(labels) > 1 and labels[-1] == 255 and labels[-2] < 254:
        labels = labels[:-1]
    if not labels:
        return None
    gapless = labels == list(range(1, len(labels) + 1))
    if len(labels) == 1:
        return PieceFacts(1, 1, gapless, ordered=True)
    chosen = labels[:_MOST_PIECES]
    rows, single = [], 0
    for label in chosen:
        top, whole = _first_row(numbers, label)
        single += whole
        rows.append(top)
    return PieceFacts(len(labels), round(single * len(labels) / len(chosen)), gapless, rows == sorted(rows))


def tint_facts(numbers: Array, pixels: Mapping[int, int], *, background: int) -> TintFacts:
    """Return whether each colour is one connected piece, and which are blends of others.

    Args:
        numbers: ``(H, W)`` packed colours.
        pixels: Colour to pixels.
        background: The most frequent one.
    """
    every = [color for color in pixels if color != background]
    chosen = sorted(every, key=lambda color: -pixels[color])[:_MOST_TINTS]
    scale = len(every) / max(len(chosen), 1)
    single = sum(_first_row(numbers, color)[1] for color in chosen)
    flat = [color for color in (background, *chosen) if _has_inside(numbers, color)]
    blends = sum(color not in flat and _is_blend(color, flat) for color in chosen)
    return TintFacts(background, len(every), round(single * scale), round(blends * scale))


def _first_row(numbers: Array, number: int) -> tuple[int, bool]:
    """Return the first row that holds a number, and whether its pixels are connected."""
    plane = (numbers == number).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(plane)
    count, _ = cv2.connectedComponents(plane[top : top + height, left : left + width], connectivity=8)
    return top, count == 2


def _has_inside(numbers: Array, color: int) -> bool:
    """Return whether some pixel of a colour has the same colour all around."""
    plane = (numbers == color).astype(np.uint8)
    left, top, width, height = cv2.boundingRect(plane)
    plane = plane[top : top + height, left : left + width]
    return bool(cv2.erode(plane, np.ones((3, 3), np.uint8), borderValue=0).any())


def _is_blend(color: int, flat: list[int]) -> bool:
    """Return whether a colour lies on the line between two others."""
    found = _channels(color)
    for place, first in enumerate(flat):
        for second in flat[place + 1 :]:
            start, step = _channels(first), _channels(second) - _channels(first)
            share = float((found - start) @ step) / max(float(step @ step), 1.0)
            if 0 < share < 1 and np.abs(start + share * step - found).max() <= _NEAR_COLOR:
                return True
    return False


def _channels(color: int) -> npt.NDArray[np.float64]:
    return np.array([color >> 16, color >> 8 & 255, color & 255], dtype=np.float64)
