"""What one image and its masks hold, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from segfocal.data.colors import levels, nearly_grey, packed
from segfocal.data.fingerprint.marks import (
    GreyFacts,
    PieceFacts,
    TintFacts,
    grey_facts,
    piece_facts,
    tint_facts,
)
from segfocal.data.reading import PLAIN, Picture, ReadRules, read_picture
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
        lossy: Whether its compression changes values.
        fractions: Whether it stores fractions; those up to 1 are counted in steps of 1 / 255.
        unit_px: Pixels of 1 in a mask that stores 0 and 1 in a floating type, as others do with fractions.
        palette: Index to 0xRRGGBB of the indices that occur; empty without a palette.
        grey: Where its levels between 0 and the largest lie; None for colours.
        pieces: Whether its numbers look like those of instances; None for colours.
        triple: Whether it has three equal channels, as masks of colours have where nothing is coloured.
        tints: Whether its colours look like those of instances; None for numbers.
    """

    colors: bool
    pixels: dict[int, int]
    component_px: tuple[int, ...]
    lossy: bool = False
    fractions: bool = False
    unit_px: int = 0
    palette: tuple[tuple[int, int], ...] = ()
    grey: GreyFacts | None = None
    pieces: PieceFacts | None = None
    triple: bool = False
    tints: TintFacts | None = None


@dataclass(frozen=True)
class CaseFacts:
    """One image and its masks.

    Args:
        name: Of the image.
        split: "train", "val", "test" or "".
        size_px: Height and width; ``(0, 0)`` where it cannot be read.
        channels: Of the image, without transparency.
        dtype: Of its pixels.
        low: Smallest value.
        high: Largest value.
        digest: Of the pixels: equal for equal pictures, however they are compressed.
        masks: One per mask file; None where a class has none.
        problems: Sentences.
        thumbnail: Grey values of the image made ``THUMBNAIL_PX`` small on both sides, as bytes.
        notes: How image and masks were read where files leave a choice.
        turned: Of an image with an EXIF orientation: whether its masks fit it "upright", as "stored" or
            "either" way; "" without one.
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
    notes: tuple[str, ...] = ()
    turned: str = ""


MaskFiles = Path | tuple[Path, ...] | None


def measure(case: tuple[str, Path, tuple[MaskFiles, ...]], *, rules: ReadRules = PLAIN) -> CaseFacts:
    """Read an image and its masks.

    Args:
        case: Split, image file, mask files; several in the place of one are joined.
        rules: How files are read.

    Returns:
        Its facts; files that cannot be read are named among the problems.
    """
    split, path, masks = case
    try:
        image = read_picture(path, palette="colors", rules=rules)
    except SegfocalError as error:
        return CaseFacts(path.stem, split, problems=[str(error)])
    look = _MaskLook(image, rules)
    found = tuple(look(mask) if mask else None for mask in masks)
    notes = tuple(dict.fromkeys(f"image: {note}" for note in image.notes)) + tuple(dict.fromkeys(look.notes))
    if image.alpha:
        notes = (*notes, "image: alpha (transparency) left out")
    if problem := _not_finite(path, image.array):
        look.problems.append(problem)
    facts = image_facts(path.stem, split, image.array, masks=found, problems=look.problems)
    return replace(facts, channels=image.bands(), notes=notes, turned=look.turned())


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
        low=float(np.nanmin(image)),
        high=float(np.nanmax(image)),
        digest=_digest(image),
        masks=masks,
        problems=problems,
        thumbnail=_thumbnail(image),
    )


class _MaskLook:
    """Reads the masks of one image and keeps what is to be said of them."""

    def __init__(self, image: Picture, rules: ReadRules) -> None:
        self.image, self.rules = image, rules
        self.size = image.array.shape[:2]
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.on_its_side = False

    def __call__(self, files: Path | tuple[Path, ...]) -> MaskFacts | None:
        """Return what the files of one mask hold together: what one of them marks is marked."""
        paths = files if isinstance(files, tuple) else (files,)
        found = [mask for path in paths if (mask := self._read(path)) is not None]
        if not found:
            return None
        whole = found[0].array
        for mask in found[1:]:
            if mask.array.shape == whole.shape:
                empty = whole == 0 if whole.ndim == 2 else (whole[:, :, :3] == 0).all(axis=2, keepdims=True)
                whole = np.where(empty, mask.array, whole)
        return mask_facts(whole, picture=found[0])

    def _read(self, path: Path) -> Picture | None:
        try:
            mask = read_picture(path, palette="indices", rules=self.rules)
        except SegfocalError as error:
            self.problems.append(str(error))
            return None
        self.notes += [f"mask: {note}" for note in mask.notes]
        if mask.orientation > 1:
            self.notes.append("mask: turned by its own EXIF orientation")
        size = mask.array.shape[:2]
        if size == self.size[::-1] and self.image.orientation >= 5:
            self.on_its_side = True
        elif size != self.size:
            first = self.image.array.ndim == 3 and self.image.array.shape[1:] == size
            hint = " The image's channels come first: save it as (height, width, channels)." if first else ""
            self.problems.append(
                f"{path}: the mask is {size} px, its image {tuple(self.size)} (height, width).{hint}"
            )
        return mask

    def turned(self) -> str:
        if self.image.orientation == 1:
            return ""
        if self.image.orientation < 5 or self.size[0] == self.size[1]:
            return "either"
        return "stored" if self.on_its_side else "upright"


def _not_finite(path: Path, image: npt.NDArray[Any]) -> str:
    if image.dtype.kind != "f" or np.isfinite(image).all():
        return ""
    return (
        f"{path}: holds {np.count_nonzero(~np.isfinite(image))} values that are NaN or infinite. Repair it."
    )


def mask_facts(stored: npt.NDArray[Any], *, picture: Picture | None = None) -> MaskFacts:
    """Return what a mask holds.

    Args:
        stored: ``(H, W)`` numbers or ``(H, W, C)`` colours.
        picture: The file it was read from, where there is one.
    """
    lossy = picture is not None and picture.lossy
    fractions = stored.dtype.kind == "f" and bool((stored != np.rint(stored)).any())
    numbers, colors = _numbers(stored, lossy=lossy)
    values, counts = _counted(numbers)
    most = np.argsort(-counts, kind="stable")[:_MOST_VALUES]
    pixels = {int(values[place]): int(counts[place]) for place in sorted(most.tolist())}
    common = int(values[most[0]])
    background = 0 if 0 in pixels and not colors else common
    table = picture.palette if picture is not None else None
    if table is not None and stored.dtype == bool:
        table = np.array([[0] * 3, [255] * 3], dtype=np.uint8)
    return MaskFacts(
        colors,
        pixels,
        _components(numbers != background),
        lossy=lossy,
        fractions=fractions,
        unit_px=pixels.get(1, 0) if stored.dtype.kind == "f" and stored.max() <= 1 and not fractions else 0,
        palette=() if table is None else _used(table, pixels),
        grey=None if colors else grey_facts(numbers, values, lossy=lossy),
        pieces=None if colors else piece_facts(numbers, values),
        tints=tint_facts(numbers, pixels, background=common) if colors else None,
        triple=not colors and stored.ndim == 3 and stored.shape[2] >= 3,
    )


def _used(palette: npt.NDArray[Any], pixels: dict[int, int]) -> tuple[tuple[int, int], ...]:
    """Index to colour of the indices that occur."""
    colors = packed(palette[None])[0]
    return tuple((index, int(colors[index])) for index in pixels if 0 <= index < len(colors))


def _numbers(stored: npt.NDArray[Any], *, lossy: bool = False) -> tuple[npt.NDArray[Any], bool]:
    """Return values, or colours as numbers where the channels differ by more than compression leaves."""
    if stored.dtype.kind == "f":
        parts = bool((stored != np.rint(stored)).any())
        # whole numbers are class numbers in any type
        stored = np.round(stored * 255 if parts and stored.max() <= 1 else stored).astype(np.int64)
    if stored.ndim == 2:
        return stored.astype(np.uint8) if stored.dtype == bool else stored, False
    planes = stored[:, :, :3] if stored.shape[2] >= 3 else stored[:, :, :1]
    if planes.shape[2] == 1 or not (planes != planes[:, :, :1]).any():
        return planes[:, :, 0], False
    if lossy and nearly_grey(planes):
        return levels(planes).astype(planes.dtype), False
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
