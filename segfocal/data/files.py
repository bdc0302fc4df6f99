"""Images and masks in files: what the stored values of masks mean, and how a case is read."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segfocal.data.cases import naming
from segfocal.data.coding import MaskSettings
from segfocal.data.division import Spreading, expand
from segfocal.data.labels import Mask
from segfocal.data.masks import MaskCoding
from segfocal.data.module import SegmentationData
from segfocal.data.module import Split as SplitName
from segfocal.data.pairs import Pair
from segfocal.data.preprocess import Image
from segfocal.data.reading import PLAIN, Palette, ReadRules, read_array, read_image
from segfocal.data.region import ignore_outside
from segfocal.data.source import Source
from segfocal.errors import SegfocalError
from segfocal.imbalance.counts import Task


class FileData(SegmentationData):
    """Masks as files. A subclass says which file belongs to which: ``pairs``.

    Args:
        root: Folder of the data set; ``$SEGFOCAL_DATA`` or ``${SEGFOCAL_DATA}`` in it stands for that
            environment variable, by default ``../shared/data`` seen from the current directory.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        class_names: One per channel of the logits, in their order; may be left out for binary
            (``foreground``) and where ``colors`` gives them.
        values: Stored value to label, e.g. ``{10: 1}``; null: 0 and 1 or 255 for binary and multilabel, the
            class numbers (and ``ignore_index``) for multiclass.
        ignore_values: Stored values without a class.
        colors: Class name to ``'#rrggbb'`` or ``[r, g, b]``, or a csv file below ``root`` with the columns
            name, r, g, b: the masks are colour pictures.
        ignore_colors: Colours without a class.
        other: Label of all values or colours not named; null: they are an error.
        threshold: For binary and multilabel masks that hold grey levels (resized with interpolation, JPEG):
            stored values from this one on are the class (128 for 0 to 255), smaller ones are not; null: such
            masks are an error.
        **settings: Everything of ``SegmentationData``: preprocess, patch_size, batch_size, augment, ...

    Raises:
        SegfocalError: Naming file, expected, found and remedy: settings at once, names when a split is first
            used, contents when a file is read.
    """

    def __init__(
        self,
        *,
        root: str,
        task: Task,
        class_names: list[str] | None = None,
        values: dict[int, int] | None = None,
        ignore_values: list[int] | None = None,
        colors: dict[str, str | list[int]] | str | None = None,
        ignore_colors: list[str | list[int]] | None = None,
        other: int | None = None,
        threshold: float | None = None,
        **settings: Any,
    ) -> None:
        self.root = Path(expand(root))
        masks = MaskSettings(self.root, values, ignore_values, colors, ignore_colors, other, threshold)
        super().__init__(task=task, class_names=masks.names(class_names, task=task), **settings)
        self.coding = masks.coding(self.class_names, task=task, ignore_index=self.ignore_index)
        self._pairs: dict[str, list[Pair]] = {}

    @abstractmethod
    def pairs(self) -> dict[str, list[Pair]]:
        """Return the files of train, val and test. Called once."""

    @abstractmethod
    def group_of(self, name: str) -> str:
        """Return the group of a case, which lies in one split as a whole."""

    def source(self, split: SplitName) -> Source:
        """Return the cases of a split."""
        if not self._pairs:
            self._pairs = self.pairs()
        chosen = self._pairs[split]
        return self._source(chosen, [self.group_of(pair.name) for pair in chosen])

    def spreading(self) -> Spreading:
        """Return what is needed to see that each split holds each class."""
        return Spreading(self._classes_in, self.class_names, self.notes)

    def _classes_in(self, pair: Pair) -> list[int]:
        mask = self._source([pair], [pair.name]).mask(0)
        if self.task == "multiclass":
            return [int(label) for label in np.unique(mask) if 0 <= label < self.num_classes]
        layers = mask[None] if self.task == "binary" else mask
        return [number for number, layer in enumerate(layers) if (layer == 1).any()]

    def _source(self, pairs: Sequence[Pair], groups: Sequence[str]) -> FileSource:
        return FileSource(
            pairs,
            groups,
            self.coding,
            layered=self.task == "multilabel",
            ignore_index=self.ignore_index,
            rules=self.preprocess.rules(),
        )


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

    def identity(self, index: int) -> bytes:
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
