"""Whole groups dealt into folds of nearly equal size, and nested parts of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from segfocal.data.strata import Presence, ordered, spread
from segfocal.errors import SegfocalError, check_range


def check_fold(key: str, *, folds: int | None, fold: int | None) -> None:
    """Check a number of folds and which one is meant.

    Args:
        key: ``"val"`` or ``"test"``, for messages.
        folds: How many, at least 2; None: no folds.
        fold: Which, from 0; None: none.

    Raises:
        SegfocalError: Where one is given without the other, or out of range.
    """
    if folds is None and fold is None:
        return
    if folds is None or fold is None:
        raise SegfocalError(
            f"split.{key}_folds (how many) and split.{key}_fold (which one, from 0) go together, got "
            f"{key}_folds={folds} and {key}_fold={fold}."
        )
    check_range(f"split.{key}_folds", folds, low=2)
    if not 0 <= fold < folds:
        raise SegfocalError(f"split.{key}_fold must lie in 0 to {folds - 1}, got {fold}.")


def deal(
    names: Sequence[str],
    *,
    folds: int,
    group_of: Callable[[str], str],
    seed: int,
    presence: Presence | None = None,
) -> list[list[str]]:
    """Return ``folds`` lists that together hold every name once, with no group in two of them.

    Groups are shuffled, then dealt from the largest to the smallest into the fold that has the fewest names
    so far: folds of groups of one size differ by at most one group.

    Args:
        names: What is dealt; their order does not matter.
        folds: How many.
        group_of: Group of a name.
        seed: Seed of the shuffle.
        presence: Which classes images hold, so that each fold gets each; None: by the seed alone.

    Raises:
        SegfocalError: When there are more folds than groups.

    Example:
        >>> [len(fold) for fold in deal("abcdefg", folds=3, group_of=str, seed=0)]
        [3, 2, 2]
    """
    members = _members(names, group_of)
    if folds > len(members):
        raise SegfocalError(
            f"{len(members)} group(s) are too few for {folds} folds. Lower the number of folds."
        )
    parts: dict[str, list[str]] = {f"fold {number}": [] for number in range(folds)}
    sizes = dict.fromkeys(parts, 0)
    for group in sorted(_shuffled(members, seed), key=lambda group: -len(members[group])):
        least = min(sizes, key=lambda part: sizes[part])
        parts[least].append(group)
        sizes[least] += len(members[group])
    dealt = spread(parts, members, presence).values()
    return [sorted(name for group in groups for name in members[group]) for groups in dealt]


def keep(
    names: Sequence[str],
    *,
    fraction: float,
    group_of: Callable[[str], str],
    seed: int,
    presence: Presence | None = None,
) -> list[str]:
    """Return the names of a share of the groups, at least one; a smaller share is part of a larger one.

    Args:
        names: What to choose from.
        fraction: Share of the groups, in (0, 1]; rounded to the nearest number of groups.
        group_of: Group of a name.
        seed: Seed of the order in which groups are added.
        presence: Which classes images hold: groups that bring a new one are added first. None: by the seed
            alone.

    Example:
        >>> quarter, half = (keep("abcd", fraction=f, group_of=str, seed=0) for f in (0.25, 0.5))
        >>> len(quarter), len(half), set(quarter) < set(half)
        (1, 2, True)
    """
    members = _members(names, group_of)
    count = max(1, int(fraction * len(members) + 0.5))
    order = ordered(_shuffled(members, seed), members, presence)
    return sorted(name for group in order[:count] for name in members[group])


def _members(names: Sequence[str], group_of: Callable[[str], str]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for name in sorted(names):
        members.setdefault(group_of(name), []).append(name)
    return members


def _shuffled(members: dict[str, list[str]], seed: int) -> list[str]:
    return [str(group) for group in np.random.default_rng(seed).permutation(sorted(members))]
