"""Names that look as if they belonged together: eyes of a patient, frames of a drive."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

# how a group may be written in a name, the most telling first
PATTERNS = (
    r"^(.+?)[_-]?[LR]$",  # left and right of one patient
    r"^(.+?)[_-](?:slice|frame|img|image|z|t)?\d+$",
    r"^(.+?)[_-][^_-]+$",
)
_LEAST_SHARE = 0.6  # of the names must be in a group with others
_FEW = 10


@dataclass(frozen=True)
class Groups:
    """A pattern and what it finds.

    Args:
        pattern: Regular expression; its parenthesis is the group.
        count: Groups.
        largest: Images of the largest one.
        enough: Whether there are enough of them to be divided into splits.
    """

    pattern: str
    count: int
    largest: int
    enough: bool


def guess_groups(names: Sequence[str]) -> Groups | None:
    """Return the first pattern by which most names share their beginning with another one.

    Args:
        names: Of images.

    Returns:
        The groups; None where names do not look like any.

    Example:
        >>> guess_groups([f"eye_{n:02}{side}" for n in range(12) for side in "LR"]).count
        12
    """
    for pattern in PATTERNS:
        found = [re.search(pattern, name) for name in names]
        if not all(found):
            continue
        sizes = Counter(match.group(1) for match in found if match)
        together = sum(size for size in sizes.values() if size > 1)
        if len(sizes) > 1 and together >= _LEAST_SHARE * len(names):
            return Groups(pattern, len(sizes), max(sizes.values()), enough=len(sizes) >= _FEW)
    return None
