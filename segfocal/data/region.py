"""The part of an image that counts: outside of field-of-view masks beside the images all is ignored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.data.labels import Mask
from segfocal.data.pairs import Pair
from segfocal.data.reading import PLAIN, SUFFIXES, ReadRules, read_array
from segfocal.errors import SegfocalError

LOSSY = (".jpg", ".jpeg", ".webp")


def with_regions(pairs: Sequence[Pair], *, base: Path, region: str) -> list[Pair]:
    """Return cases with the file of their region each.

    Args:
        pairs: Cases without.
        base: The folder they were found in.
        region: A folder below ``base`` with files named as the images, a pattern with ``{stem}`` for the name
            of the image, or one file for all images.

    Raises:
        SegfocalError: Naming images without a region, and those with two.
    """
    if (base / region).is_file():
        return [replace(pair, region=base / region) for pair in pairs]
    pattern = region if "{stem}" in region else f"{region}/{{stem}}"
    found: list[Pair] = []
    for pair in pairs:
        path = base / pattern.replace("{stem}", pair.image.stem)
        files = [path] if path.suffix.lower() in SUFFIXES and path.is_file() else _of_stem(path)
        if len(files) != 1:
            got = ", ".join(file.name for file in files) or "none"
            raise SegfocalError(
                f"{pair.image} needs one region file {path} with one of {', '.join(SUFFIXES)}, got {got}. "
                "Add the file or set region."
            )
        found.append(replace(pair, region=files[0]))
    return found


def read_region(path: Path, *, rules: ReadRules = PLAIN) -> npt.NDArray[np.bool_]:
    """Return where pixels count, ``(H, W)``.

    A pixel is inside where its value, or one of its colours, is above 0; alpha says nothing. Compression with
    loss leaves small values outside: in such files (JPEG, WebP) inside begins at half of the largest value.

    Args:
        path: An image file.
        rules: How it is read.

    Raises:
        SegfocalError: Naming the file, where it cannot be read or nothing is inside.
    """
    stored = read_array(path, palette="colors", rules=rules)
    if stored.ndim == 3:
        colors = stored[:, :, :-1] if stored.shape[2] in (2, 4) else stored
        stored = colors.max(axis=2)
    lossy = path.suffix.lower() in LOSSY
    inside: npt.NDArray[np.bool_] = stored >= stored.max() / 2 if lossy and stored.any() else stored > 0
    if not inside.any():
        raise SegfocalError(
            f"{path}: a region marks the pixels that count with values above 0, got none. Replace the file."
        )
    return inside


def ignore_outside(mask: Mask, path: Path, *, ignore_index: int, rules: ReadRules = PLAIN) -> Mask:
    """Return labels with those outside of a region ignored, beside those that are so already.

    Args:
        mask: ``(H, W)`` or ``(K, H, W)``.
        path: File of the region.
        ignore_index: Label without a class.
        rules: How the file is read.

    Raises:
        SegfocalError: Naming the file, where it is of another size than the mask.
    """
    inside = read_region(path, rules=rules)
    if inside.shape != mask.shape[-2:]:
        raise SegfocalError(
            f"{path}: a region must have the size of its image, got {inside.shape} and {mask.shape[-2:]} "
            "(height, width). Pair the right files with region."
        )
    kind: Any = mask.dtype if 0 <= ignore_index <= np.iinfo(mask.dtype).max else np.int32
    return np.where(inside, mask, np.array(ignore_index, dtype=kind)).astype(kind, copy=False)


def _of_stem(path: Path) -> list[Path]:
    """Files of a name whatever their ending, which may be in capitals."""
    if not path.parent.is_dir():
        raise SegfocalError(f"there is no folder {path.parent} of region files. Set region.")
    return sorted(
        file
        for file in path.parent.iterdir()
        if file.stem == path.name and file.suffix.lower() in SUFFIXES and file.is_file()
    )
