"""The same picture in two splits: found by the content of the files, refused unless allowed by name."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from segfocal.errors import SegfocalError, nearest, reading

_BLOCK = 2**16  # bytes
_SHOWN = 5


@dataclass(frozen=True)
class Member:
    """One image of a split.

    Args:
        split: "train", "val" or "test".
        name: Of the image.
        group: What must not be divided.
        files: What holds the image; none where it is in no file.
    """

    split: str
    name: str
    group: str
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.split}: {self.name}"


def named(allowed: Iterable[str], *names: str) -> bool:
    """Return whether one of some names is allowed, by itself or by a wildcard.

    Example:
        >>> named(["eye_*"], "eye_1"), named(["[a]"], "[a]"), named([], "a")
        (True, True, False)
    """
    return any(name == entry or fnmatchcase(name, entry) for entry in allowed for name in names)


def find_leaks(members: Iterable[Member]) -> list[list[Member]]:
    """Return the images that lie in more than one split, copies of one another together.

    Compared is the content of whole files; of ``.gz`` what is packed in them. Files of different size are
    not opened, and of those of one size three blocks decide before all is read.

    Args:
        members: Of all splits.

    Raises:
        SegfocalError: For a file that cannot be read.
    """
    found = [[member for member in members if member.files]]
    for key in (_size, _blocks, _whole):
        found = [part for group in found for part in _divided(group, key)]
    return found


def check_leaks(members: Sequence[Member], *, allowed: Sequence[str]) -> None:
    """Raise where an image lies in two splits.

    Args:
        members: Of all splits.
        allowed: Names or groups of images that may; wildcards as in a shell.

    Raises:
        SegfocalError: Naming the first images and the setting that allows them; for an allowed name that no
            image has.
    """
    _check_names(members, allowed)
    leaks = [
        group
        for group in find_leaks(members)
        if not any(named(allowed, member.name, member.group) for member in group)
    ]
    if not leaks:
        return
    listed = "; ".join(" = ".join(map(str, group)) for group in leaks[:_SHOWN])
    more = "; ..." if len(leaks) > _SHOWN else ""
    names = ", ".join(group[0].name for group in leaks[:_SHOWN])
    raise SegfocalError(
        f"{len(leaks)} image(s) lie in two splits, byte for byte: {listed}{more}. What is trained on must "
        f"not be scored: remove them from one of the splits, or allow them by name with data.init_args."
        f"allow_leaks: [{names}{', ...' if more else ''}]."
    )


def _check_names(members: Sequence[Member], allowed: Sequence[str]) -> None:
    known = sorted({word for member in members for word in (member.name, member.group)})
    for entry in allowed:
        if not any(named([entry], word) for word in known):
            raise SegfocalError(
                f"allow_leaks names {entry!r}, and no image has that name.{nearest(entry, known)}"
            )


def _divided(members: Iterable[Member], key: Callable[[Path], Hashable]) -> list[list[Member]]:
    """Return those that share a key and are of two splits at least."""
    groups: dict[tuple[Hashable, ...], list[Member]] = {}
    for member in members:
        groups.setdefault(tuple(map(key, member.files)), []).append(member)
    return [group for group in groups.values() if len({member.split for member in group}) > 1]


def _size(path: Path) -> Hashable:
    """The end of a .gz holds checksum and size of what is packed; time and name at its front differ."""
    size = path.stat().st_size
    if path.suffix != ".gz":
        return size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        return file.read(8)


def _blocks(path: Path) -> Hashable:
    """First, middle and last block; of .gz nothing, as checksums were compared."""
    if path.suffix == ".gz":
        return None
    size, digest = path.stat().st_size, hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        for start in sorted({0, max(0, (size - _BLOCK) // 2), max(0, size - _BLOCK)}):
            file.seek(start)
            digest.update(file.read(_BLOCK))
    return digest.digest()


def _whole(path: Path) -> Hashable:
    digest = hashlib.blake2b(digest_size=16)
    opened = gzip.open if path.suffix == ".gz" else open
    with reading(path), opened(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.digest()
