"""Which mask belongs to which image: by names alone, reading nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segfocal.data.reading import SUFFIXES
from segfocal.errors import SegfocalError

SHOWN = 5


@dataclass(frozen=True)
class Pair:
    """One case: its name, its image, and one mask file (one per class for multilabel; None: class absent).

    ``region`` marks the pixels that count; None: all do. ``more`` holds further files per entry of ``masks``,
    which are joined with it: what one of them marks is marked. Empty: there are none.
    """

    name: str
    image: Path
    masks: tuple[Path | None, ...]
    region: Path | None = None
    more: tuple[tuple[Path, ...], ...] = ()

    def mask_files(self, place: int) -> tuple[Path, ...]:
        """Return all files of one entry of ``masks``."""
        first = self.masks[place]
        return (*(() if first is None else (first,)), *(self.more[place] if self.more else ()))


def find_pairs(base: Path, *, images: str, masks: str, classes: Sequence[str] | None) -> list[Pair]:
    """Return the cases of a folder, in the order of their names.

    Args:
        base: The folder.
        images: Folder of the images below ``base``.
        masks: Folder of the masks below ``base``, or a pattern with ``{stem}`` and, for multilabel,
            ``{class}``.
        classes: Multilabel classes with a mask file each, which may be missing; None: one mask per image.

    Raises:
        SegfocalError: For missing or empty folders, images without mask and masks without image.
    """
    pictures = _by_stem(base / images)
    if classes is None:
        found = _masks(base, masks, pictures)
        missing = [stem for stem in pictures if stem not in found]
        if missing:
            raise SegfocalError(
                f"{len(missing)} of {len(pictures)} images in {base / images} have no mask: "
                f"{_shown(missing)}. Expected {base / _pattern(masks, '{stem}')} with one of "
                f"{', '.join(SUFFIXES)}. Add them or set masks."
            )
        return [Pair(stem, path, (found[stem],)) for stem, path in pictures.items()]
    per_class = [_masks(base, masks.replace("{class}", name), pictures, name=name) for name in classes]
    return [Pair(stem, path, tuple(m.get(stem) for m in per_class)) for stem, path in pictures.items()]


def _pattern(masks: str, default: str) -> str:
    return masks if "{stem}" in masks else f"{masks}/{default}"


def _masks(base: Path, masks: str, pictures: dict[str, Path], *, name: str | None = None) -> dict[str, Path]:
    """Masks by the stem of their image."""
    if name is not None and "{stem}" not in masks and name not in Path(masks).parts:
        masks = f"{masks}/{name}"
    pattern = Path(_pattern(masks, "{stem}"))
    folder = base / pattern.parent
    form = re.compile(re.escape(pattern.name).replace(r"\{stem\}", "(.+)"))
    found: dict[str, Path] = {}
    extra: list[str] = []
    for stem, path in _by_stem(folder).items():
        match = form.fullmatch(stem)
        if match is not None and match.group(1) in pictures:
            found[match.group(1)] = path
        else:
            extra.append(path.name)
    if extra:
        raise SegfocalError(
            f"{len(extra)} masks in {folder} belong to no image: {_shown(extra)}. Expected names like "
            f"{pattern.name} with the stem of an image. Remove them, add the images or set masks."
        )
    return found


def _by_stem(folder: Path) -> dict[str, Path]:
    """Readable files of a folder, sorted; hidden ones and other kinds (notes, tables) are passed over."""
    if not folder.is_dir():
        raise SegfocalError(f"there is no folder {folder}. {_remedy(folder)}")
    every = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    files = [path for path in every if path.suffix.lower() in SUFFIXES]
    if not files:
        raise SegfocalError(
            f"the folder {folder} holds no image. Expected files ending in {', '.join(SUFFIXES)}, "
            f"got {_shown([path.name for path in every]) or 'nothing'}."
        )
    found: dict[str, Path] = {}
    for path in files:
        other = found.setdefault(path.stem, path)
        if other is not path:
            raise SegfocalError(
                f"{folder} holds {other.name} and {path.name}: names without suffix must differ. Rename one."
            )
    return found


def _remedy(folder: Path) -> str:
    parent = next((p for p in folder.parents if p.is_dir()), None)
    inside = sorted(p.name for p in parent.iterdir() if p.is_dir())[:10] if parent else []
    return (
        f"The nearest folder that exists is {parent}, which holds {inside or 'no folders'}. "
        "Set root, images or masks; $SEGFOCAL_DATA in root stands for that environment variable "
        "(default: ../shared/data)."
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
