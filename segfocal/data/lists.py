"""Names of images as a configuration or a list file gives them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from segfocal.errors import SegfocalError


def listed(names: Sequence[str], rule: str | Sequence[str], *, split: str, root: Path) -> list[str]:
    """Return the names that a rule lists, sorted.

    Args:
        names: All names.
        rule: Names with or without folder and suffix, wildcards allowed, or a text file with one per line.
            Where such a line is no name but some paths (image and mask), the first of them counts.
        split: For messages.
        root: Where list files are.

    Raises:
        SegfocalError: Naming the list file that is missing or the entry that no image has.

    Example:
        >>> listed(["a 1", "a 2", "b"], ["a*"], split="train", root=Path())
        ['a 1', 'a 2']
    """
    entries = (
        _lines(root / Path(rule).expanduser(), split=split) if isinstance(rule, str) else list(map(str, rule))
    )
    found: dict[str, None] = {}
    for entry in entries:
        matches = _matches(names, entry) or _matches(names, _first_path(entry))
        if not matches:
            raise SegfocalError(f"split.{split} lists {entry!r}, and no image has that name.")
        found |= dict.fromkeys(matches)
    return sorted(found)


def separator(header: str) -> str:
    """Return what stands between the columns of a table, from its first line.

    Args:
        header: The line.

    Returns:
        Comma, tab, semicolon or bar, whichever occurs most often; a comma where none does.

    Example:
        >>> separator("image;mask;split"), separator("image")
        (';', ',')
    """
    return max((",", "\t", ";", "|"), key=header.count)


def _lines(path: Path, *, split: str) -> list[str]:
    if not path.is_file():
        raise SegfocalError(f"split.{split}: there is no list file {path}.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise SegfocalError(f"split.{split}: {path} must be UTF-8 text: {error}. Convert it.") from error
    return [line.strip() for line in lines if line.strip()]


def _matches(names: Sequence[str], entry: str) -> list[str]:
    path = Path(entry)
    return [name for name in names if fnmatchcase(name, path.name) or name in (path.name, path.stem)]


def _first_path(line: str) -> str:
    """A name may hold spaces, so that a line is only cut where each of its words is a path."""
    words = line.split()
    return words[0] if all("/" in word or Path(word).suffix for word in words) else line
