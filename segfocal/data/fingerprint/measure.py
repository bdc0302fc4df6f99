"""What one image and its masks hold, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from segfocal.data.colors import packed
from segfocal.data.reading import read_array
from segfocal.errors import SegfocalError

THUMBNAIL_PX = 32
_MOST_VALUES = 300  # a mask with more is no mask of classes; the rest is not counted


@dataclass(frozen=True)
class MaskFacts:
    """One mask file.

    Args:
        colors: Whether it stores colours; then the numbers are 0xRRGGBB.
        pixels: Stored number to pixels, at most 300 numbers.
        component_px: Areas of the connected pieces of everything but the most frequent number, at most 1000.
    """

    colors: bool
    pixels: dict[int, int]
    component_px: tuple[int, ...]


@dataclass(frozen=True)
class CaseFacts:
    """One image and its masks.

    Args:
        name: Of the image.
        split: "train", "val", "test" or "".
        size_px: Height and width; ``(0, 0)`` where it cannot be read.
        channels: Of the image.
        dtype: Of its pixels.
        low: Smallest value.
        high: Largest value.
        digest: Of the pixels: equal for equal pictures, however they are compressed.
        masks: One per mask file; None where a class has none.
        problems: Sentences.
        thumbnail: Grey values of the image made ``THUMBNAIL_PX`` small on both sides, as bytes.
    """

    name: str
    split: str
    size_px: tuple[int, int] = (0, 0)
    channels: int = 0
    dtype: str = ""
    low: float = 0.0
    high: float = 0.0
    digest: bytes = b""
    masks: tuple[MaskFacts | None, ...] = ()
    problems: list[str] = field(default_factory=list)
    thumbnail: bytes = b""


MaskFiles = Path | tuple[Path, ...] | None


def measure(case: tuple[str, Path, tuple[MaskFiles, ...]]) -> CaseFacts:
    """Read an image and its masks.

    Args:
        case: Split, image file, mask files; several in the place of one are joined.

    Returns:
        Its facts; files that cannot be read are named among the problems.
    """
    split, path, masks = case
    try:
        image = read_array(path, palette="colors")
    except SegfocalError as error:
        return CaseFacts(path.stem, split, problems=[str(error)])
    problems: list[str] = []
    found = tuple(_mask(mask, image.shape[:2], problems) if mask else None for mask in masks)
    return image_facts(path.stem, split, image, masks=found, problems=problems)


def image_facts(
    name: str,
    split: str,
    image: npt.NDArray[Any],
    *,
    masks: tuple[MaskFacts | None, ...],
    problems: list[str],
) -> CaseFacts:
    """Return what an image holds, beside its masks.

    Args:
        name: Of the image.
        split: Its split, or "".
        image: ``(H, W)`` or ``(H, W, C)``.
        masks: What its masks hold.
        problems: Sentences.
    """
    return CaseFacts(
        name=name,
        split=split,
        size_px=(image.shape[0], image.shape[1]),
        channels=1 if image.ndim == 2 else image.shape[2],
        dtype=str(image.dtype),
        low=float(image.min()),
        high=float(image.max()),
        digest=_digest(image),
        masks=masks,
        problems=problems,
        thumbnail=_thumbnail(image),
    )


def _mask(files: Path | tuple[Path, ...], size: tuple[int, ...], problems: list[str]) -> MaskFacts | None:
    whole: npt.NDArray[Any] | None = None
    for path in files if isinstance(files, tuple) else (files,):
        try:
            stored = read_array(path, palette="indices")
        except SegfocalError as error:
            problems.append(str(error))
            continue
        if stored.shape[:2] != size:
            problems.append(
                f"{path}: the mask is {stored.shape[:2]} px, its image {tuple(size)} (height, width)."
            )
        if whole is None or whole.shape != stored.shape:
            whole = stored if whole is None else whole
        else:  # several masks of one image: what one of them marks is marked
            empty = whole == 0 if whole.ndim == 2 else (whole[:, :, :3] == 0).all(axis=2, keepdims=True)
            whole = np.where(empty, stored, whole)
    return None if whole is None else mask_facts(whole)


def mask_facts(stored: npt.NDArray[Any]) -> MaskFacts:
    """Return what a mask holds.

    Args:
        stored: ``(H, W)`` numbers or ``(H, W, C)`` colours.
    """
    numbers, colors = _numbers(stored)
    values, counts = _counted(numbers)
    most = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
    pixels = {int(values[place]): int(counts[place]) for place in sorted(most.tolist())}
    common = int(values[most[0]])
    background = 0 if 0 in pixels and not colors else common
    return MaskFacts(colors, pixels, _components(numbers != background))


def _numbers(stored: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], bool]:
    """Return values, or colours as numbers where the channels differ."""
    if stored.dtype.kind == "f":
        stored = np.round(stored * 255).astype(np.int32) if stored.max() <= 1 else stored.astype(np.int32)
    if stored.ndim == 2:
        return stored.astype(np.uint8) if stored.dtype == bool else stored, False
    planes = stored[:, :, :3] if stored.shape[2] >= 3 else stored[:, :, :1]
    if planes.shape[2] == 1 or not (planes != planes[:, :, :1]).any():
        return planes[:, :, 0], False
    return packed(planes), True


def _counted(numbers: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the different numbers and how often each occurs; bytes are counted without sorting."""
    if numbers.dtype != np.uint8:
        return np.unique(numbers, return_counts=True)
    counts = np.bincount(numbers.ravel(), minlength=256)
    values = np.flatnonzero(counts)
    return values, counts[values]


def _components(foreground: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    _, _, stats, _ = cv2.connectedComponentsWithStats(foreground.astype(np.uint8), connectivity=8)
    areas: Sequence[int] = stats[1:1001, cv2.CC_STAT_AREA].tolist()
    return tuple(areas)


def _digest(image: npt.NDArray[Any]) -> bytes:
    digest = hashlib.blake2b(f"{image.shape} {image.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.digest()


def _thumbnail(image: npt.NDArray[Any]) -> bytes:
    """Return a small grey picture: equal ones are found however they are turned or compressed."""
    plane = image if image.ndim == 2 else image[:, :, :3]
    if plane.dtype not in (np.uint8, np.uint16, np.float32):
        plane = plane.astype(np.float32)
    small = cv2.resize(plane, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    grey = small if small.ndim == 2 else small.mean(axis=2)
    low, high = float(grey.min()), float(grey.max())
    scaled = (grey - low) * (255 / (high - low)) if high > low else np.zeros_like(grey)
    return bytes(scaled.round().astype(np.uint8).tobytes())
