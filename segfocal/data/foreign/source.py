"""Pairs of image and mask out of data sets of other libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from segfocal.data.cases import naming
from segfocal.data.labels import Mask
from segfocal.data.masks import MaskCoding
from segfocal.data.preprocess import Image
from segfocal.data.reading import Palette, picture_array
from segfocal.data.source import Array, Source
from segfocal.errors import SegfocalError

Key = tuple[str, int]


class ForeignSource(Source):
    """The pairs of one split.

    Args:
        keys: Name to data set and number in it.
        groups: One per name.
        made: The data sets.
        files: The image of a key, where it is known.
        coding: What the pixels of the masks mean.
        layered: Whether masks have a plane per class.
    """

    def __init__(
        self,
        keys: Mapping[str, Key],
        groups: Sequence[str],
        *,
        made: Mapping[str, Any],
        files: Mapping[Key, Path],
        coding: MaskCoding,
        layered: bool,
    ) -> None:
        super().__init__(list(keys), groups)
        self.keys, self.made, self.files = list(keys.values()), made, files
        self.coding, self.layered = coding, layered
        self._last: tuple[int, Array, Array] | None = None

    def image(self, index: int) -> Image:
        """Return the image as the data set gives it."""
        return self._pair(index)[0]

    def mask(self, index: int) -> Mask:
        """Return labels ``(H, W)``, or ``(K, H, W)`` for multilabel."""
        stored = self._pair(index)[1]
        with naming(self.place(index)):
            if self.layered and stored.ndim == 3:
                return np.stack([self.coding.decode(plane) for plane in stored])
            return self.coding.decode(stored)

    def place(self, index: int) -> str:
        """Return the path of the image, or its data set and number."""
        part, number = self.keys[index]
        return str(self.files.get((part, number), f"datasets.{part}, item {number}"))

    def image_files(self, index: int) -> tuple[Path, ...]:
        """Return the file of the image, where it is known."""
        file = self.files.get(self.keys[index])
        return () if file is None else (file,)

    def _pair(self, index: int) -> tuple[Array, Array]:
        """Return image and mask; the last pair is kept, as both halves are asked for one after the other."""
        last = self._last
        if last is not None and last[0] == index:
            return last[1], last[2]
        part, number = self.keys[index]
        try:
            found = self.made[part][number]
        except Exception as error:  # on a damaged file every class raises whatever it stumbles over
            raise SegfocalError(
                f"{self.place(index)}: cannot be read ({error}). Restore its files."
            ) from error
        pair = tuple(found) if isinstance(found, tuple | list) else (found,)
        if len(pair) != 2 or not all(isinstance(each, PIL.Image.Image | np.ndarray) for each in pair):
            kinds = ", ".join(type(each).__name__ for each in pair)
            raise SegfocalError(
                f"{self.place(index)}: expected a pair of image and mask as pictures or arrays, got "
                f"({kinds}). Where the class has a choice, ask it for masks (target_types: "
                "segmentation, target_type: semantic, mode: segmentation), and leave transforms to segfocal."
            )
        masks: Palette = "colors" if self.coding.colors else "indices"
        image, mask = _array(pair[0], palette="colors"), _array(pair[1], palette=masks)
        self._last = (index, image, mask)
        return image, mask


def _array(picture: Any, *, palette: Palette) -> Array:
    return picture if isinstance(picture, np.ndarray) else picture_array(picture, palette=palette)
