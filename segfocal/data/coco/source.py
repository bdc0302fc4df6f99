"""Images whose masks are drawn from COCO's shapes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segfocal.data.coco.drawing import Crowd, Overlap, draw_classes, draw_layers
from segfocal.data.coco.layout import NamedImage
from segfocal.data.labels import Mask
from segfocal.data.preprocess import Image
from segfocal.data.reading import ReadRules, image_size, read_image
from segfocal.data.source import Source
from segfocal.errors import SegfocalError


class CocoSource(Source):
    """The images of one split; masks are drawn when they are asked for.

    Args:
        images: Names and images.
        groups: One per image.
        layers: Classes with a plane of their own; None: one map of class numbers.
        overlap: As in `CocoData`.
        crowd: As in `CocoData`.
        ignore_index: Label without a class.
        rules: How the images are read.
    """

    def __init__(
        self,
        images: Sequence[NamedImage],
        groups: Sequence[str],
        *,
        layers: int | None,
        overlap: Overlap,
        crowd: Crowd,
        ignore_index: int | None,
        rules: ReadRules,
    ) -> None:
        super().__init__([name for name, _ in images], groups)
        self.images = [image for _, image in images]
        self.layers, self.overlap, self.crowd = layers, overlap, crowd
        self.ignore_index, self.rules = ignore_index, rules

    def image(self, index: int) -> Image:
        """Return the image."""
        return read_image(self.images[index].file, rules=self.rules)

    def mask(self, index: int) -> Mask:
        """Return labels ``(H, W)``, or ``(K, H, W)`` for multilabel."""
        image = self.images[index]
        stored = image_size(image.file, rules=self.rules)
        if stored != image.size_px:
            turned = (
                " The file is on its side for them: its EXIF orientation is wrong or missing, or they were "
                "made on its pixels as they are stored (preprocess.orientation: stored)."
                if (stored[::-1] == image.size_px)
                else ""
            )
            raise SegfocalError(
                f"{image.file}: the annotations are for {image.size_px} px (height, width), the file has "
                f"{stored}.{turned}"
            )
        how: dict[str, Any] = {"size_px": stored, "crowd": self.crowd, "ignore_index": self.ignore_index}
        if self.layers is not None:
            mask = draw_layers(image.shapes, count=self.layers, **how)
        else:
            mask = draw_classes(image.shapes, overlap=self.overlap, **how)
        return mask.astype(np.uint8) if mask.min() >= 0 and mask.max() <= 255 else mask

    def place(self, index: int) -> str:
        """Return the path of the image."""
        return str(self.images[index].file)

    def image_files(self, index: int) -> tuple[Path, ...]:
        """Return the file of the image."""
        return (self.images[index].file,)

    def case_files(self, index: int) -> tuple[Path, ...]:
        """Return the file of the image; the shapes are compared themselves."""
        return (self.images[index].file,)

    def identity(self, index: int, contents: Mapping[Path, bytes]) -> bytes:
        """Return a hash of the shapes, how they are drawn, and of name and content of the image file."""
        file = self.images[index].file
        return self._drawn(index, os.fsencode(file.name) + b"\0" + contents[file])

    def former_identity(self, index: int) -> bytes:
        """Return a hash of the shapes, how they are drawn, and of name and size of the image file."""
        file = self.images[index].file
        return self._drawn(index, f"{file.name} {file.stat().st_size}".encode())

    def _drawn(self, index: int, begin: bytes) -> bytes:
        image = self.images[index]
        drawn = (image.size_px, self.layers, self.overlap, self.crowd, self.ignore_index)
        digest = hashlib.sha256(begin + f" {drawn}".encode())
        for shape in image.shapes:
            digest.update(f"{shape.labels} {shape.crowd} {len(shape.polygons)}".encode())
            for polygon in shape.polygons:
                digest.update(f" {len(polygon)} ".encode() + polygon.tobytes())
            if shape.runs is not None:
                digest.update(shape.runs.tobytes())
        return digest.digest()
