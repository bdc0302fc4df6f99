"""Cases that belong together: patients, eyes, cars, frames of a drive, copies of one picture."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

# how a group may be written in a name, the most telling first
PATTERNS = (
    r"^(.+?)[._]rf[._][0-9a-f]+$",  # copies of one picture that Roboflow made
    r"^(.+?)[_-]?[LR]$",  # left and right of one patient
    r"^(.+?)[_-](?:slice|frame|img|image|z|t)?\d+$",
    r"^(.+?)[_-][^_-]+$",
)
_COPY = re.compile(
    r"^(.+?)(?:[ _-]?\(\d+\)|[_-](?:copy|aug|flip|rot)?\d{0,3}| - Copy(?: \(\d+\))?)$", re.IGNORECASE
)
_LEAST_SHARE = 0.6  # of the names must be in a group with others
_FEW_FOLDERS, _FEW_NAMES = 3, 5  # groups: one for each split; more where only names say that they are any
_LARGEST = 0.5  # of all cases, that a group may hold and still be kept whole


@dataclass(frozen=True)
class Groups:
    """What belongs together, and how that was found.

    Args:
        how: The pattern, or words.
        of: One group per case, in their order.
        pattern: Regular expression whose parenthesis is the group; "" where there is none.
    """

    how: str
    of: tuple[str, ...] = field(repr=False)
    pattern: str = ""

    @property
    def count(self) -> int:
        """Return the number of groups."""
        return len(set(self.of))

    @property
    def largest(self) -> int:
        """Return the number of cases of the largest one."""
        return max(Counter(self.of).values())

    @property
    def enough(self) -> bool:
        """Return whether there are enough of them to be divided into splits."""
        few = _FEW_NAMES if self.pattern else _FEW_FOLDERS
        return self.count >= few and self.largest <= _LARGEST * len(self.of)


def guess_groups(names: Sequence[str], members: Sequence[tuple[str, ...]] = ()) -> Groups | None:
    """Return the groups of cases: by their folders, else by the first pattern that most names fit.

    Args:
        names: Of images, without suffix.
        members: Per image, the folders beside others that it lies in (patients, classes), where known.

    Returns:
        The groups; None where names do not look like any.

    Example:
        >>> guess_groups([f"eye_{n:02}{side}" for n in range(12) for side in "LR"]).count
        12
        >>> guess_groups(["1", "2", "1", "2"], [("p1",), ("p1",), ("p2",), ("p2",)]).of
        ('p1', 'p1', 'p2', 'p2')
    """
    if members and all(members) and _patients(members):
        return Groups("the folders they lie in", tuple("/".join(member) for member in members))
    for pattern in PATTERNS:
        found = [re.search(pattern, name) for name in names]
        if not all(found):
            continue
        groups = tuple(match.group(1) for match in found if match)
        sizes = Counter(groups)
        together = sum(size for size in sizes.values() if size > 1)
        if len(sizes) > 1 and together >= _LEAST_SHARE * len(names):
            return Groups(pattern, groups, pattern)
    return None


def copies(names: Sequence[str], places: Sequence[str]) -> list[list[int]]:
    """Return the positions of names that are copies of another one: ``a-0003_1`` beside ``a-0003``.

    Args:
        names: Of images, without suffix.
        places: Their folders.

    Example:
        >>> copies(["a-0003", "a-0003_1", "a-0004"], ["x"] * 3)
        [[0, 1]]
    """
    at = {(place, name): number for number, (place, name) in enumerate(zip(places, names, strict=True))}
    found: dict[int, list[int]] = {}
    for (place, name), number in at.items():
        match = _COPY.match(name)
        first = at.get((place, match.group(1))) if match else None
        if first is not None and first != number:
            found.setdefault(first, [first]).append(number)
    return list(found.values())


def one_clip(names: Sequence[str]) -> bool:
    """Return whether names look like the frames of one film: one beginning, and numbers without gaps.

    Example:
        >>> one_clip([f"frame_{n:05}" for n in range(30)]), one_clip(["7", "12", "40"])
        (True, False)
    """
    found = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    if len(names) < 8 or not all(found):
        return False
    starts = {match.group(1) for match in found if match}
    ticks = sorted(int(match.group(2)) for match in found if match)
    steps = Counter(b - a for a, b in pairwise(ticks))
    regular = steps.most_common(1)[0][1] >= 0.8 * (len(ticks) - 1)
    film = any(re.search(r"(?i)frame|video|clip|seq|vid|cam", start) for start in starts)
    return len(starts) == 1 and regular and film


def _patients(members: Sequence[tuple[str, ...]]) -> bool:
    """Return whether folders are patients or drives rather than kinds: many, of a few cases each."""
    sizes = Counter(members)
    numbered = sum(any(re.search(r"\d", part) for part in member) for member in sizes)
    several = sum(size for size in sizes.values() if size > 1) >= _LEAST_SHARE * len(members)
    return len(sizes) > 1 and several and numbered >= 0.5 * len(sizes)
