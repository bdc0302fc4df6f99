"""Cases of one split, read, checked, reduced and kept in memory up to a limit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from segfocal.data.labels import LabelRows, Mask
from segfocal.data.preprocess import Floats, Image, Preprocess
from segfocal.data.source import Source
from segfocal.data.spill import Spill
from segfocal.errors import SegfocalError
from segfocal.imbalance.counts import Counts, Task

MIB = 2**20


@dataclass(frozen=True, eq=False)
class Picture:
    """An image after ``Preprocess.select``, the size it was stored in, and its moments."""

    image: Image
    stored_size: tuple[int, ...]
    mean: Floats
    std: Floats


@dataclass(frozen=True, eq=False)
class Labels:
    """A mask in its final type and size, the size of the stored one, and its pixels per class and row."""

    mask: Mask
    stored_size: tuple[int, ...]
    rows: LabelRows


class CaseSet(Protocol):
    """The cases of one split: `Cases` of images, `VolumeCases` of volumes."""

    task: Task
    ignore_index: int | None

    @property
    def source(self) -> Source:
        """Where they come from."""

    def __len__(self) -> int: ...

    def labels(self, index: int) -> Labels:
        """Return mask and counts of a case."""

    def holds(self, index: int) -> npt.NDArray[np.bool_]:
        """Return which classes the mask of a case holds at the size of its file, that of scores."""

    def counts(self) -> Counts:
        """Return the pixels per class of all cases."""

    def fill(self) -> None:
        """Read as many cases as are kept in memory."""


class Cases:
    """Read the cases of a source, at most once while ``cache_mib`` lasts, or always with ``cache_dir``.

    Args:
        source: Where they come from.
        preprocess: Channels, size and intensity.
        task: What the masks mean.
        num_classes: Channels of the logits.
        ignore_index: Label without a class.
        cache_mib: Memory for decoded images and masks, in MiB per process.
        cache_dir: Folder for those that memory has no room for; None: they are read anew each time.
    """

    def __init__(
        self,
        source: Source,
        *,
        preprocess: Preprocess,
        task: Task,
        num_classes: int,
        ignore_index: int | None,
        cache_mib: float,
        cache_dir: str | None = None,
    ) -> None:
        self.source, self.preprocess = source, preprocess
        self.task, self.num_classes, self.ignore_index = task, num_classes, ignore_index
        small = num_classes <= 255 and (ignore_index is None or 0 <= ignore_index <= 255)
        self.mask_dtype: npt.DTypeLike = np.uint8 if small else np.int32
        self._room = cache_mib * MIB
        self._spill = None if cache_dir is None else Spill(cache_dir)
        self._pictures: dict[int, Picture] = {}
        self._labels: dict[int, Labels] = {}
        self._stored: dict[int, Mask] = {}

    def __len__(self) -> int:
        return len(self.source)

    def picture(self, index: int) -> Picture:
        """Return the image of a case."""
        found = self._pictures.get(index)
        if found is None:
            with naming(self.source.place(index)):
                stored = self.source.image(index)
                image, kept = self._store(self.preprocess.select(stored))
                found = Picture(image, stored.shape[:2], *self.preprocess.moments(image))
            if kept:
                self._pictures[index] = found
        return found

    def labels(self, index: int) -> Labels:
        """Return the mask of a case."""
        found = self._labels.get(index)
        if found is None:
            with naming(self.source.names[index]):
                stored = self.source.mask(index)
                self._check_mask(stored)
                selected = self.preprocess.select_mask(stored).astype(self.mask_dtype, copy=False)
                mask, kept = self._store(selected)
            rows = LabelRows.of(mask, task=self.task, num_classes=self.num_classes)
            found = Labels(mask, stored.shape[-2:], rows)
            if kept:
                self._labels[index] = found
        return found

    def stored_mask(self, index: int) -> Mask | None:
        """Return the mask of a case at the size of its file; None where ``preprocess`` leaves all sizes."""
        if not self.preprocess.resizes():
            return None
        found = self._stored.get(index)
        if found is None:
            with naming(self.source.names[index]):
                stored = self.source.mask(index)
                self._check_mask(stored)
                found, kept = self._store(stored.astype(self.mask_dtype, copy=False))
            if kept:
                self._stored[index] = found
        return found

    def holds(self, index: int) -> npt.NDArray[np.bool_]:
        """Return which classes the mask of a case holds at the size of its file, that of scores."""
        stored = self.stored_mask(index)
        if stored is None:
            return self.labels(index).rows.held()
        return LabelRows.of(stored, task=self.task, num_classes=self.num_classes).held()

    def pair(self, index: int) -> tuple[Picture, Labels]:
        """Return image and mask of a case, which must be of one size."""
        picture, labels = self.picture(index), self.labels(index)
        if picture.stored_size != labels.stored_size:
            turned = picture.stored_size == labels.stored_size[::-1]
            side = (
                " If the mask was drawn on the pixels as they are stored, without the image's EXIF "
                "orientation, set preprocess.orientation: stored."
            )
            raise SegfocalError(
                f"{self.source.place(index)}: image and mask must have the same height and width, got an "
                f"image of {picture.stored_size} and a mask of {labels.stored_size}. Pair the right files."
                f"{side if turned else ''}"
            )
        return picture, labels

    def fill(self) -> None:
        """Read as many cases as the cache holds: worker processes then share them instead of reading each."""
        threaded(lambda index: self.pair(index) if self._room > 0 or self._spill else None, range(len(self)))

    def counts(self) -> Counts:
        """Return the pixels per class of all cases: ``(C,)`` for multiclass, else ``(C, 2)``."""
        found = threaded(lambda index: self.labels(index).rows.counts(self.task), range(len(self)))
        total: Counts = np.sum(found, axis=0, dtype=np.int64)
        return total

    def _store(self, array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], bool]:
        """Return the array where it will lie, and whether it stays."""
        # the first one that does not fit ends it: fill() must not go on reading a large set for nothing
        fits = array.nbytes <= self._room
        self._room = self._room - array.nbytes if fits else 0.0
        if fits or self._spill is None:
            return array, fits
        return self._spill.keep(array), True

    def _check_mask(self, mask: Mask) -> None:
        planes = self.num_classes if self.task == "multilabel" else None
        if mask.ndim != (2 if planes is None else 3) or (planes is not None and len(mask) != planes):
            expected = "(H, W)" if planes is None else f"({planes}, H, W)"
            raise SegfocalError(f"a {self.task} mask must have shape {expected}, got {mask.shape}.")
        top = 2 if self.task != "multiclass" else self.num_classes
        if mask.dtype.kind in "bu" and (mask.size == 0 or mask.max() < top):
            return
        wrong = (mask < 0) | (mask >= top)
        if self.ignore_index is not None:
            wrong &= mask != self.ignore_index
        if wrong.any():
            values, counts = np.unique(mask[wrong], return_counts=True)
            listed = ", ".join(f"{v} ({n} pixels)" for v, n in zip(values[:10], counts[:10], strict=True))
            raise SegfocalError(
                f"mask values must be 0 to {top - 1} or ignore_index {self.ignore_index}, got {listed}"
                f"{', ...' if len(values) > 10 else ''}. Map them to classes or to the ignore label."
            )


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put a name in front of the messages of errors raised inside."""
    try:
        yield
    except SegfocalError as error:
        if name in str(error):
            raise
        raise SegfocalError(f"{name}: {error}") from error


def threaded(work: Callable[[int], Any], indices: Iterable[int]) -> list[Any]:
    """Return ``work`` of each index in order; decoders release the interpreter lock, so threads help."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(work, indices))
