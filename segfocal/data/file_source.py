"""The image and mask files of one split, and which classes their masks hold; needs no torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segfocal.data.cases import naming
from segfocal.data.division import Spreading
from segfocal.data.labels import Mask
from segfocal.data.masks import MaskCoding
from segfocal.data.pairs import Pair
from segfocal.data.preprocess import Image
from segfocal.data.reading import PLAIN, Palette, ReadRules, read_array, read_image
from segfocal.data.region import ignore_outside, read_region
from segfocal.data.source import Source
from segfocal.data.strata import held_classes
from segfocal.errors import SegfocalError
from segfocal.imbalance.counts import Task


class FileSource(Source):
    """The files of one split.

    Args:
        pairs: Image and mask files.
        groups: One per pair.
        coding: What the pixels of the masks mean.
        layered: Whether each class has its own file.
        ignore_index: Label of pixels outside of the regions of pairs.
        rules: How files are read.

    Raises:
        SegfocalError: For pairs with regions and no such label.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        groups: Sequence[str],
        coding: MaskCoding,
        *,
        layered: bool,
        ignore_index: int | None = None,
        rules: ReadRules = PLAIN,
    ) -> None:
        super().__init__([pair.name for pair in pairs], groups)
        self.files, self.coding, self.layered = list(pairs), coding, layered
        self.ignore_index, self.rules = ignore_index, rules
        if ignore_index is None and any(pair.region for pair in pairs):
            raise SegfocalError(
                "region needs a label for the pixels outside of it, got ignore_index: null. Set it to 255 "
                "in the data and in the loss."
            )

    def image(self, index: int) -> Image:
        """Return the image."""
        return read_image(self.files[index].image, rules=self.rules)

    def mask(self, index: int) -> Mask:
        """Return labels ``(H, W)``, or ``(K, H, W)`` with zeros where a class has no file."""
        mask, region = self._whole_mask(index), self.files[index].region
        if region is None or self.ignore_index is None:
            return mask
        return ignore_outside(mask, region, ignore_index=self.ignore_index, rules=self.rules)

    def region(self, index: int) -> npt.NDArray[np.bool_] | None:
        """Return where pixels count; None for a case without such a file."""
        path = self.files[index].region
        return None if path is None else read_region(path, rules=self.rules)

    def _whole_mask(self, index: int) -> Mask:
        pair = self.files[index]
        paths = pair.masks
        if not self.layered and paths[0] is not None:
            return self._joined(pair.mask_files(0))
        layers = [self._joined(pair.mask_files(place)) if path else None for place, path in enumerate(paths)]
        files = zip(paths, layers, strict=True)
        sizes = {str(path): layer.shape for path, layer in files if layer is not None}
        if len(set(sizes.values())) > 1:
            raise SegfocalError(f"masks of one image must have one size, got {sizes} (height, width).")
        size = next(iter(sizes.values())) if sizes else self.image(index).shape[:2]
        return np.stack([np.zeros(size, dtype=np.uint8) if layer is None else layer for layer in layers])

    def place(self, index: int) -> str:
        """Return the path of the image."""
        return str(self.files[index].image)

    def image_files(self, index: int) -> tuple[Path, ...]:
        """Return the file of the image."""
        return (self.files[index].image,)

    def case_files(self, index: int) -> tuple[Path, ...]:
        """Return the files of image, masks and region."""
        pair = self.files[index]
        masks = (*pair.masks, *(path for files in pair.more for path in files), pair.region)
        return (pair.image, *(path for path in masks if path is not None))

    def identity(self, index: int, contents: Mapping[Path, bytes]) -> bytes:
        """Return a hash of the name of the image and of what its file, masks and region hold."""
        pair = self.files[index]
        digest = hashlib.sha256(os.fsencode(pair.image.name) + b"\0" + contents[pair.image])
        for path in pair.masks:
            digest.update(b"absent" if path is None else contents[path])
        for path in (path for files in pair.more for path in files):
            digest.update(b"more" + contents[path])
        if pair.region is not None:
            digest.update(b"region" + contents[pair.region])
        return digest.digest()

    def former_identity(self, index: int) -> bytes:
        """Return a hash of the masks' bytes and of name and size of the image file."""
        pair = self.files[index]
        digest = hashlib.sha256(f"{pair.image.name} {pair.image.stat().st_size}".encode())
        for path in pair.masks:
            digest.update(b"absent" if path is None else path.read_bytes())
        for path in (path for files in pair.more for path in files):
            digest.update(b"more" + path.read_bytes())
        if pair.region is not None:
            digest.update(b"region" + pair.region.read_bytes())
        return digest.digest()

    def _joined(self, paths: Sequence[Path]) -> Mask:
        """Return the labels of some masks of one image: background where all say so."""
        whole, *others = (self._decoded(path) for path in paths)
        for path, mask in zip(paths[1:], others, strict=True):
            if mask.shape != whole.shape:
                raise SegfocalError(
                    f"{path}: masks of one image must have one size, got {mask.shape} and {whole.shape} "
                    f"(height, width) of {paths[0]}."
                )
            # a class of one mask takes the place of background, and of pixels without a class in another
            fill = (whole == 0) | ((whole == self.ignore_index) & (mask != 0))
            whole = np.where(fill, mask, whole)
        return whole

    def _decoded(self, path: Path) -> Mask:
        with naming(str(path)):
            palette: Palette = "colors" if self.coding.colors else "indices"
            return self.coding.decode(read_array(path, palette=palette, rules=self.rules))


def file_spreading(
    coding: MaskCoding,
    classes: Sequence[str],
    *,
    task: Task,
    ignore_index: int | None,
    rules: ReadRules = PLAIN,
    notes: list[str],
) -> Spreading:
    """Return what is needed to see that each split of files holds each class.

    Args:
        coding: What the pixels of the masks mean.
        classes: Names of the classes.
        task: What the masks mean.
        ignore_index: Label of pixels without a class.
        rules: How files are read.
        notes: Gathers sentences for the user.
    """

    def read(pair: Pair) -> list[int]:
        source = FileSource(
            [pair],
            [pair.name],
            coding,
            layered=task == "multilabel",
            ignore_index=ignore_index,
            rules=rules,
        )
        return held_classes(source.mask(0), task=task, count=len(classes))

    return Spreading(read, classes, notes)
