"""Which folder holds the images, which the masks, and how the name of a mask follows from its image's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segfocal.data.fingerprint.listing import Folder

_IMAGE_WORDS = ("image", "img", "input", "rgb", "photo", "picture", "scan", "frame", "original")
_MASK_WORDS = ("mask", "label", "seg", "annot", "gt", "truth", "target", "manual", "expert")
_LOOKED_AT = 60  # names, to find out how the others are built
_ENOUGH = 0.8  # share of the images that must have a mask


@dataclass(frozen=True)
class Affix:
    """What surrounds the stem of an image in the stem of its mask."""

    before: str = ""
    after: str = ""

    def of(self, stem: str) -> str:
        """Return the stem of a mask."""
        return f"{self.before}{stem}{self.after}"


@dataclass(frozen=True)
class Match:
    """Images and the masks that belong to them.

    Args:
        images: Folder of the images.
        masks: Folders of the masks: one, or one per class.
        affixes: One per folder of masks.
        paired: Images with at least one mask.
    """

    images: Folder
    masks: tuple[Folder, ...]
    affixes: tuple[Affix, ...]
    paired: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the folders of masks where there is one per class, else none."""
        return tuple(PurePosixPath(m.pattern).name for m in self.masks) if len(self.masks) > 1 else ()

    def mask_setting(self) -> str:
        """Return what ``masks`` of a data module must say: a folder, or a pattern."""
        first, affix = self.masks[0].pattern, self.affixes[0]
        if not self.classes:
            return first if affix == Affix() else f"{first}/{affix.of('{stem}')}"
        parent = str(PurePosixPath(first).parent)
        name = affix.of("{stem}").replace(self.classes[0], "{class}")
        return f"{parent}/{{class}}/{name}"

    def expressible(self) -> bool:
        """Return whether folders and one pattern describe the files, or a table must list them."""
        if self.masks[0] is self.images:
            return False
        named = zip(self.classes, self.affixes, strict=False)
        return len({affix.of("{stem}").replace(name, "{class}") for name, affix in named}) <= 1

    def files(self) -> list[tuple[str, Path, tuple[Path | None, ...]]]:
        """Return split, image and masks of every image with a mask, in order."""
        found = []
        for split, stems in self.images.files.items():
            for stem, image in stems.items():
                masks = tuple(
                    folder.files.get(split, {}).get(affix.of(stem))
                    for folder, affix in zip(self.masks, self.affixes, strict=True)
                )
                if any(masks) or self.classes:
                    found.append((split, image, masks))
        return found


def find_match(folders: Mapping[str, Folder]) -> Match | None:
    """Return the most likely images and masks.

    Folders of masks beside one another, with a parent of their own, are the classes of multilabel masks.

    Args:
        folders: From ``list_folders``.

    Returns:
        The match; None where no folder's names follow from another's.
    """
    found = [match for images in folders.values() for match in _matches(images, list(folders.values()))]
    return max(found, key=_likelihood, default=None)


def _matches(images: Folder, folders: Sequence[Folder]) -> list[Match]:
    found: list[Match] = []
    families: dict[str, list[tuple[Folder, Affix, int]]] = {}
    for masks in folders:
        affix = _affix(images, masks)
        if affix is None:
            continue
        paired = _paired(images, masks, affix)
        pictures = len(images.stems()) - (paired if masks is images else 0)
        parent = str(PurePosixPath(masks.pattern).parent)
        families.setdefault(parent, []).append((masks, affix, paired))
        if paired and paired >= _ENOUGH * pictures:
            found.append(Match(images, (masks,), (affix,), paired))
    home = str(PurePosixPath(images.pattern).parent)
    for parent, members in families.items():
        if len(members) > 1 and parent not in (home, "."):
            masks_of, affixes, _ = zip(*members, strict=True)
            covered = _covered(images, members)
            if covered >= _ENOUGH * len(images.stems()) / 2:
                found.append(Match(images, masks_of, affixes, covered))
    return found


def _affix(images: Folder, masks: Folder) -> Affix | None:
    """Return how the stems of most masks are built from those of images, None where they are not."""
    votes: Counter[Affix] = Counter()
    for split, stems in images.files.items():
        others = masks.files.get(split, {})
        for stem in list(stems)[:_LOOKED_AT]:
            if stem in others and masks is not images:
                votes[Affix()] += 1
                continue
            for other in others:
                if stem in other and stem != other:
                    before, _, after = other.partition(stem)
                    votes[Affix(before, after)] += 1
    return max(votes, key=lambda affix: (votes[affix], -len(affix.of(""))), default=None)


def _paired(images: Folder, masks: Folder, affix: Affix) -> int:
    return sum(
        affix.of(stem) in masks.files.get(split, {})
        for split, stems in images.files.items()
        for stem in stems
    )


def _covered(images: Folder, members: Sequence[tuple[Folder, Affix, int]]) -> int:
    return sum(
        any(affix.of(stem) in masks.files.get(split, {}) for masks, affix, _ in members)
        for split, stems in images.files.items()
        for stem in stems
    )


def _likelihood(match: Match) -> tuple[int, int, int, int]:
    """Names that say what a folder is count most, then the number of images, then the plainer name."""
    image_words = _says(match.images.pattern, _IMAGE_WORDS) - _says(match.images.pattern, _MASK_WORDS)
    masks = match.masks[0].pattern
    mask_words = _says(masks, _MASK_WORDS) - _says(masks, _IMAGE_WORDS)
    plain = -sum(len(affix.of("")) for affix in match.affixes) // len(match.affixes)
    return image_words + mask_words, match.paired, len(match.masks), plain


def _says(pattern: str, words: Sequence[str]) -> int:
    return int(any(word in pattern.lower() for word in words))
