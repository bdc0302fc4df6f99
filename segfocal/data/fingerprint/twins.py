"""Equal pictures kept out of two splits: left out of training, or bound together in a group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from segfocal.data.fingerprint.groups import Groups

Key = tuple[str, str]  # split and name
_ORDER = ("test", "val", "train")


@dataclass(frozen=True)
class Twins:
    """What a table must say so that no picture is both trained on and scored.

    Args:
        dropped: Split and name of the images that are left out.
        groups: Split and name to group; empty where no pictures are equal or folders say the split.
        notes: Sentences for the configuration.
    """

    dropped: frozenset[Key] = frozenset()
    groups: dict[Key, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def need_table(self) -> bool:
        """Return whether folders and patterns cannot say it."""
        return bool(self.dropped or self.groups)


def equal_cases(cases: Iterable[tuple[bytes, Key]]) -> list[list[Key]]:
    """Return the cases of which there is more than one, by the digest of what they hold.

    Example:
        >>> equal_cases([(b"1", ("train", "a")), (b"2", ("train", "b")), (b"1", ("test", "c"))])
        [[('train', 'a'), ('test', 'c')]]
    """
    places: dict[bytes, list[Key]] = {}
    for digest, key in cases:
        places.setdefault(digest, []).append(key)
    return [found for found in places.values() if len(found) > 1]


def part_twins(keys: Iterable[Key], duplicates: Sequence[Sequence[Key]], groups: Groups | None) -> Twins:
    """Decide what becomes of equal pictures.

    Args:
        keys: Split and name of all images; the split is "" where no folder says it.
        duplicates: Images that are equal.
        groups: Groups in the names.

    Example:
        >>> found = part_twins([], [[("train", "a"), ("test", "b")]], None)
        >>> sorted(found.dropped), found.notes[0]
        ([('train', 'a')], '1 images of train or val that also lie in a later split are left out')
    """
    split = [group for group in duplicates if len({part for part, _ in group}) > 1]
    if split:
        dropped = frozenset(
            key for group in split for key in group if key[0] != min((k[0] for k in group), key=_ORDER.index)
        )
        note = f"{len(dropped)} images of train or val that also lie in a later split are left out"
        return Twins(dropped=dropped, notes=[note])
    loose = [group for group in duplicates if not group[0][0]]
    if not loose:
        return Twins()
    named = groups if groups is not None and groups.enough else None
    home = {key: _named(key[1], named) for key in keys}
    for group in loose:
        joined = {home[key] for key in group}
        first = min(joined)
        home = {key: first if name in joined else name for key, name in home.items()}
    note = f"{len(loose)} pictures are there more than once: a group of the table keeps each in one split"
    return Twins(groups=home, notes=[note])


def _named(name: str, groups: Groups | None) -> str:
    found = re.search(groups.pattern, name) if groups is not None else None
    return found.group(1) if found else name
