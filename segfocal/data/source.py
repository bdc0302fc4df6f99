"""Where images and masks come from: one split, read one case at a time."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segfocal.data.landmarks import Landmarks

Array = npt.NDArray[np.generic]


class Source(ABC):
    """The cases of one split. Reading is lazy; nothing is kept here.

    Args:
        names: One name per case, unique in the split.
        groups: What must never be divided between splits (a patient, a drive); default: each its own name.
    """

    def __init__(self, names: Sequence[str], groups: Sequence[str] | None = None) -> None:
        self.names = list(names)
        self.groups = list(groups) if groups is not None else list(names)

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def image(self, index: int) -> Array:
        """Return the picture as stored: ``(H, W)`` or ``(H, W, C)``, uint8, uint16, bool or floating."""

    @abstractmethod
    def mask(self, index: int) -> Array:
        """Return class numbers: ``(H, W)``, or 0/1 ``(K, H, W)`` for multilabel; ignore label included."""

    def place(self, index: int) -> str:
        """Return how messages call the image of a case: its file, or its name where it has none."""
        return self.names[index]

    def image_files(self, index: int) -> tuple[Path, ...]:
        """Return the files that hold the image of a case; none where it is in no file."""
        return ()

    def landmarks(self, index: int) -> Landmarks | None:
        """Return the lines that augmentation moves with the image, in px of it; None: there are none."""
        return None

    def region(self, index: int) -> npt.NDArray[np.bool_] | None:
        """Return where pixels count, ``(H, W)``; None: all that ``mask`` does not ignore."""
        return None

    def case_files(self, index: int) -> tuple[Path, ...]:
        """Return all files whose content tells a case, its masks included; none where pixels are compared."""
        return ()

    def identity(self, index: int, contents: Mapping[Path, bytes]) -> bytes:
        """Return bytes that change whenever the case does; they enter the fingerprint.

        Args:
            index: Of the case.
            contents: Hashes of its files.
        """
        return self._of_pixels(index)

    def former_identity(self, index: int) -> bytes:
        """Return what the fingerprints of earlier versions hold: images by their names and sizes alone."""
        return self._of_pixels(index)

    def _of_pixels(self, index: int) -> bytes:
        digest = hashlib.sha256()
        for array in (self.image(index), self.mask(index)):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.digest()
