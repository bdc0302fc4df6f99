"""Every class in every split that we draw, as far as the numbers allow: whole groups change places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from segfocal.data.labels import Mask
from segfocal.errors import SegfocalError
from segfocal.imbalance.counts import Task

MOST = 5000  # masks that are read for this; among more, chance alone leaves hardly a class out
_CHUNK = 8
_CANDIDATES = 64
_WEIGHTS = {"train": 3, "val": 2}  # a network learns no class that it never sees


@dataclass
class Presence:
    """Which classes the masks of images hold; each mask is read when it is first asked for.

    Args:
        read: Name of an image to the numbers of the classes in its mask; one that cannot be read holds none.
        classes: Their names, by number.
        notes: Sentences for the user about what was exchanged and what is impossible.
        most: Masks that are read; among more images the draw stays.
        workers: Threads that read; None: as many as the processor suggests.
    """

    read: Callable[[str], Collection[int]]
    classes: Sequence[str]
    notes: list[str] = field(default_factory=list)
    most: int = MOST
    workers: int | None = None
    _known: dict[str, frozenset[int]] = field(default_factory=dict)

    def holds_all(self, names: Sequence[str]) -> bool:
        """Return whether each class is in one of the first ``most`` masks; as few as possible are read."""
        found: set[int] = set()
        for start in range(0, min(len(names), self.most), _CHUNK):
            found |= self.held(names[start : start + _CHUNK])
            if len(found) == len(self.classes):
                return True
        return False

    def held(self, names: Iterable[str]) -> frozenset[int]:
        """Return the classes that are in one of the masks at least."""
        wanted = list(names)
        missing = [name for name in wanted if name not in self._known]
        if missing:
            with ThreadPoolExecutor(self.workers) as pool:
                self._known.update(zip(missing, pool.map(self._read, missing), strict=True))
        return frozenset().union(*(self._known[name] for name in wanted))

    def _read(self, name: str) -> frozenset[int]:
        try:
            return frozenset(self.read(name))
        except (SegfocalError, OSError):  # told where the image itself is read
            return frozenset()


def held_classes(mask: Mask, *, task: Task, count: int) -> list[int]:
    """Return the numbers of the classes in a mask.

    Args:
        mask: Labels ``(H, W)`` or ``(1, X, Y, Z)``; for multilabel 0/1 with the classes first.
        task: What the mask means.
        count: Number of classes.

    Example:
        >>> held_classes(np.array([[0, 2], [255, 2]]), task="multiclass", count=3)
        [0, 2]
    """
    if task == "multiclass":
        return [int(label) for label in np.unique(mask) if 0 <= label < count]
    layers = mask[None] if mask.ndim == 2 else mask
    return [number for number, layer in enumerate(layers) if (layer == 1).any()]


Members = Mapping[str, Sequence[str]]
Parts = dict[str, list[str]]


def spread(parts: Parts, members: Members, presence: Presence | None) -> Parts:
    """Exchange whole groups between parts so that each part holds each class.

    Nothing changes, and few masks are read, where chance did it already. Else pairs of groups are exchanged,
    those first that bring the most classes to the most important part (train, val, others), of similar size.

    Args:
        parts: Part to its groups, as drawn.
        members: Group to its images.
        presence: Which classes images hold; None: nothing changes.

    Returns:
        Parts with as many groups as before; the same for the same masks and draw.
    """
    images = {part: [name for group in groups for name in members[group]] for part, groups in parts.items()}
    if presence is None or all(presence.holds_all(names) for names in images.values()):
        return parts
    total = sum(map(len, images.values()))
    if total > presence.most:
        presence.notes.append(
            f"split: some class is in few of {total} images, which were drawn by the seed alone: more than "
            f"{presence.most} masks are not read to spread it"
        )
        return parts
    presence.held(name for names in images.values() for name in names)  # all at once, in threads
    table = {group: presence.held(members[group]) for groups in parts.values() for group in groups}
    state = _Exchange({part: list(groups) for part, groups in parts.items()}, members, table)
    before = state.lacking()
    while state.improve():
        pass
    presence.notes.extend(_notes(before, state, presence.classes))
    return state.parts


def ordered(groups: Sequence[str], members: Members, presence: Presence | None) -> list[str]:
    """Return groups with those first that bring a class none before them has, else in their order.

    Args:
        groups: In the order in which a growing share takes them.
        members: Group to its images.
        presence: As in `spread`.
    """
    if presence is None or sum(len(members[group]) for group in groups) > presence.most:
        return list(groups)
    first: list[str] = []
    found: set[int] = set()
    for group in groups:
        if len(found) == len(presence.classes):
            break
        new = presence.held(members[group]) - found
        if new:
            first.append(group)
            found |= new
    chosen = set(first)
    return [*first, *(group for group in groups if group not in chosen)]


@dataclass
class _Exchange:
    """Groups that change places, and how many groups of each part hold each class."""

    parts: Parts
    members: Members
    table: Mapping[str, frozenset[int]]

    def __post_init__(self) -> None:
        self.counts = {
            part: Counter(number for group in groups for number in self.table[group])
            for part, groups in self.parts.items()
        }

    def lacking(self) -> list[tuple[str, int]]:
        """Return parts and the classes that occur and are not in them, the most important parts first."""
        occurring = sorted(set().union(*self.table.values()))
        order = sorted(self.parts, key=lambda part: -_WEIGHTS.get(part, 2))
        return [(part, number) for part in order for number in occurring if not self.counts[part][number]]

    def improve(self) -> bool:
        """Make the exchange that gains the most; return whether there was one."""
        best: tuple[int, int] = (0, 0)
        chosen = None
        for part, number in self.lacking():
            for donor, given in self._holders(number, part):
                for place, taken in enumerate(self.parts[part]):
                    gain = self._gain(donor, self.parts[donor][given], taken) + self._gain(
                        part, taken, self.parts[donor][given]
                    )
                    size = -abs(len(self.members[self.parts[donor][given]]) - len(self.members[taken]))
                    if gain > 0 and (chosen is None or (gain, size) > best):
                        best, chosen = (gain, size), (donor, given, part, place)
            if chosen is not None:
                break
        if chosen is None:
            return False
        self._swap(*chosen)
        return True

    def _holders(self, number: int, part: str) -> Iterator[tuple[str, int]]:
        """Yield where groups of other parts with a class are, from the part that has most of them."""
        left = _CANDIDATES
        for donor in sorted(self.parts, key=lambda other: -self.counts[other][number]):
            for place, group in enumerate(self.parts[donor]):
                if donor != part and number in self.table[group] and left:
                    left -= 1
                    yield donor, place

    def _gain(self, part: str, leaves: str, comes: str) -> int:
        counts, gone, new = self.counts[part], self.table[leaves], self.table[comes]
        gained = sum(not counts[number] for number in new)
        lost = sum(counts[number] == 1 for number in gone - new)
        return _WEIGHTS.get(part, 2) * (gained - lost)

    def _swap(self, donor: str, given: int, part: str, place: int) -> None:
        gives, takes = self.parts[donor][given], self.parts[part][place]
        self.parts[donor][given], self.parts[part][place] = takes, gives
        for home, leaves, comes in ((donor, gives, takes), (part, takes, gives)):
            self.counts[home].subtract(self.table[leaves])
            self.counts[home].update(self.table[comes])


def _notes(before: Sequence[tuple[str, int]], state: _Exchange, classes: Sequence[str]) -> list[str]:
    after, notes = state.lacking(), []
    mended = [f"{classes[number]} in {part}" for part, number in before if (part, number) not in after]
    if mended:
        more = ", ..." if len(mended) > 5 else ""
        notes.append(
            f"split: groups changed places, because by the seed alone there was no {', '.join(mended[:5])}"
            f"{more}; split.stratify: false keeps that"
        )
    for number in dict.fromkeys(number for _, number in after):
        holding = sum(number in held for held in state.table.values())
        where = ", ".join(part for part, other in after if other == number)
        notes.append(
            f"split: {classes[number]} is in {holding} of {len(state.table)} images or groups, too few for "
            f"every split: none in {where}"
        )
    return notes
