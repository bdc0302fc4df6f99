"""Every file below a folder: pictures, and what is no picture or hidden."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from segfocal.data.fingerprint.names import is_both, part_split
from segfocal.data.reading import SUFFIXES, UNREAD
from segfocal.errors import SegfocalError

_SYSTEM = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True)
class Picture:
    """A file that can be read as a picture.

    Args:
        path: The file.
        parts: Names of the folders below the root that it lies in.
        split: "train", "val", "test" or "", as the folders say it.
        word: How they say it.
    """

    path: Path
    parts: tuple[str, ...]
    split: str = ""
    word: str = ""

    @cached_property
    def stem(self) -> str:
        """Name without suffix."""
        return self.path.stem

    @cached_property
    def place(self) -> str:
        """Path below the root."""
        return "/".join((*self.parts, self.path.name))


@dataclass
class Listing:
    """The files below a folder.

    Args:
        root: The folder.
        pictures: In the order of their paths.
        others: Files that are no pictures to their reason.
    """

    root: Path
    pictures: list[Picture] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)


def list_folders(root: Path) -> Listing:
    """List all files.

    Args:
        root: A folder. Links to folders are followed once; hidden files and folders hold no pictures.

    Raises:
        SegfocalError: Where there is no such folder.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing of that name"
        raise SegfocalError(f"fingerprint needs a folder of images and masks, got {found}: {root}.")
    listing = Listing(root)
    seen = {os.path.realpath(root)}
    for place, inner, names in os.walk(root, followlinks=True):
        parts = Path(place).relative_to(root).parts
        hidden = any(is_hidden(part) for part in parts)
        inner[:] = _once(place, inner, seen)
        for name in sorted(names):
            below = "/".join((*parts, name))
            if hidden or is_hidden(name):
                listing.others[below] = "hidden"
            elif Path(name).suffix.lower() not in SUFFIXES:
                listing.others[below] = _why_not(Path(name).suffix.lower())
            elif not (Path(place) / name).is_file():
                listing.others[below] = "a link that leads nowhere"
            else:
                listing.pictures.append(_picture(Path(place) / name, parts))
    listing.pictures.sort(key=lambda picture: picture.place)
    return listing


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is one that systems keep for themselves.

    Example:
        >>> is_hidden("._eye.png"), is_hidden("Thumbs.db"), is_hidden("eye.png")
        (True, True, False)
    """
    return name.startswith(".") or name.lower() in _SYSTEM


def _why_not(suffix: str) -> str:
    way = UNREAD.get(suffix)
    return "not a picture" if way is None else f"{suffix} is not read: {way}"


def _once(place: str, inner: list[str], seen: set[str]) -> list[str]:
    """Return the folders to go into: each real one a single time, those that are no links first."""
    kept = []
    for name in sorted(inner, key=lambda name: (os.path.islink(os.path.join(place, name)), name)):
        real = os.path.realpath(os.path.join(place, name))
        if real not in seen:
            seen.add(real)
            kept.append(name)
    return kept


def _picture(path: Path, parts: tuple[str, ...]) -> Picture:
    found = [part_split(part) for part in parts]
    # the outermost folder decides, where one inside another names a split as well; trainval says the least
    said = [(split, word) for split, word, _ in found if split]
    split, word = next((each for each in said if not is_both(each[1])), (*said, ("", ""))[0])
    return Picture(path, parts, split, word)
