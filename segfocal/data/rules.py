"""The kinds of rules of a split, and what those by number and share draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from segfocal.data.strata import Presence, ordered, spread
from segfocal.errors import SegfocalError

SPLITS = ("train", "val", "test")
Rule = int | float | str | list[str] | None
Names = dict[str, list[str]]


def kind(rule: int | float | str | list[str]) -> str:
    """Return ``"folder"``, ``"list"``, ``"number"`` or ``"share"``.

    Example:
        >>> kind("train"), kind("train.txt"), kind(20), kind(0.7)
        ('folder', 'list', 'number', 'share')
    """
    if isinstance(rule, str):
        return "list" if rule.endswith(".txt") else "folder"
    if isinstance(rule, list):
        return "list"
    return "number" if isinstance(rule, int) else "share"


def without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return the names that are not among the others, in their order."""
    left_out = set(others)
    return [name for name in names if name not in left_out]


def by_number(names: Sequence[str], numbers: Mapping[str, int]) -> Names:
    """Return the first names for train, the next for val and the last for test.

    Args:
        names: All names, sorted.
        numbers: Split to number of names.

    Raises:
        SegfocalError: When there are fewer names than asked for.
    """
    train, val, test = (numbers.get(split, 0) for split in SPLITS)
    if min(numbers.values()) < 1 or train + val + test > len(names):
        raise SegfocalError(
            f"split needs positive numbers of images, at most {len(names)}, got {dict(numbers)}."
        )
    result = {"train": names[:train], "val": names[train : train + val], "test": names[len(names) - test :]}
    return {split: list(part) for split, part in result.items()}


def by_share(
    names: Sequence[str],
    shares: Mapping[str, float],
    *,
    group_of: Callable[[str], str],
    seed: int,
    presence: Presence | None = None,
) -> Names:
    """Return names drawn by share, whole groups at a time: test first, then val, then train.

    Args:
        names: What is drawn from.
        shares: Split to share of the names.
        group_of: Group of a name.
        seed: Seed of the order of the groups.
        presence: Which classes images hold, so that each split gets each; None: by the seed alone.

    Raises:
        SegfocalError: When shares sum to more than 1, or there are too few groups.
    """
    total = sum(shares.values())
    if min(shares.values()) <= 0 or total > 1 + 1e-9:
        raise SegfocalError(f"shares of a split must be positive and sum to at most 1, got {dict(shares)}.")
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(group_of(name), []).append(name)
    order = [str(group) for group in np.random.default_rng(seed).permutation(sorted(members))]
    parts: Names = {}
    taken, used, end = 0, 0, 0.0
    for split in [split for split in ("test", "val", "train") if split in shares]:
        end += shares[split] * len(names)
        chosen: list[str] = []
        while taken < len(order):
            group = members[order[taken]]
            if chosen and used + len(group) / 2 > end:
                break
            chosen.append(order[taken])
            used += len(group)
            taken += 1
        if not chosen:
            raise SegfocalError(f"{len(order)} group(s) are too few for the shares {dict(shares)}.")
        parts[split] = chosen
    drawn = _spread(parts, order[taken:], members, presence)
    return {split: sorted(name for group in drawn[split] for name in members[group]) for split in parts}


def _spread(
    parts: Names, left: Sequence[str], members: Mapping[str, list[str]], presence: Presence | None
) -> Names:
    """Spread the classes; train is the front of what test and val leave, so that shares of it are nested."""
    train = parts.get("train", [])
    rest = [*train, *left]
    held_out = {split: groups for split, groups in parts.items() if split != "train"}
    done = spread(held_out | ({"train": rest} if rest else {}), members, presence)
    if train and left:
        done["train"] = ordered(done["train"], members, presence)[: len(train)]
    return done
