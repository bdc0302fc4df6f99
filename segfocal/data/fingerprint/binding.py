"""Which cases must lie in one split: patients, copies of one picture; and what lies in two as published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from segfocal.data.fingerprint.groups import Groups, copies, guess_groups, one_clip
from segfocal.data.fingerprint.pairing import CaseFiles
from segfocal.data.fingerprint.text import SHARES
from segfocal.data.fingerprint.twins import MOST, Joined, equal_positions, near_copies
from segfocal.data.rules import by_share
from segfocal.errors import SegfocalError

_ORDER = ("test", "val", "train")
_SHOWN = 3


@dataclass
class Binding:
    """What belongs together.

    Args:
        groups: One per case, or None where each case stands for itself.
        pattern: Regular expression that says the same of the names; "" where there is none.
        how: How the groups were found.
        dropped: Positions of cases that also lie in a later split.
        notes: Sentences for page and configuration.
        warnings: Sentences to be heeded.
    """

    groups: list[str] | None = None
    pattern: str = ""
    how: str = ""
    dropped: frozenset[int] = frozenset()
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return number and size of the groups."""
        assert self.groups is not None
        sizes = Counter(self.groups)
        return f"{len(sizes)} by {self.how}, up to {max(sizes.values())} images each: kept in one split"


def bind(cases: Sequence[CaseFiles], ordered: Sequence[tuple[bytes, bytes]]) -> Binding:
    """Find what belongs together.

    Args:
        cases: With their splits; "" where these are drawn.
        ordered: Digest and thumbnail of each.
    """
    names = [case.image.stem for case in cases]
    named = guess_groups(names, [case.members for case in cases])
    equal = equal_positions([digest for digest, _ in ordered])
    near = [group for group in near_copies([thumb for _, thumb in ordered]) if not _in(group, equal)]
    binding = Binding()
    if len(cases) > MOST:
        binding.notes.append(f"turned or re-encoded copies were not looked for among {len(cases)} images")
    _say_equal(binding, cases, equal, "the same picture")
    _say_equal(binding, cases, near, "the same picture, turned or stored anew,")
    if any(case.split for case in cases):
        _published(binding, cases, named, equal)
    else:
        again = copies(names, ["/".join(case.image.parts) for case in cases])
        _drawn(binding, cases, named, [*equal, *near, *again])
    return binding


def _drawn(
    binding: Binding, cases: Sequence[CaseFiles], named: Groups | None, together: Sequence[Sequence[int]]
) -> None:
    """Bind cases whose splits are drawn."""
    kept = named if named is not None and named.enough else None
    if named is not None and kept is None:
        binding.warnings.append(
            f"names look like {named.count} groups (by {named.how}), up to {named.largest} images each: too "
            "few or too large to be kept whole, so that images of one lie in several splits"
        )
    elif named is None and one_clip([case.image.stem for case in cases]):
        binding.warnings.append(
            "names look like the frames of one film, which chance divides: train and test are more alike "
            "than new films will be. Set split by number (train: N) to cut it in time"
        )
    joined = Joined(len(cases))
    first: dict[str, int] = {}
    for position, name in enumerate(kept.of if kept else ()):
        joined.join(first.setdefault(name, position), position)
    for group in together:
        for position in group:
            joined.join(group[0], position)
    if not joined.groups():
        return
    # where folders hold equal names, a group is called by the path of its first image
    labels = list(kept.of) if kept else [case.image.stem for case in cases]
    if not kept and len(set(labels)) < len(labels):
        labels = [case.image.place for case in cases]
    whole = [labels[joined.root(n)] for n in range(len(cases))]
    if not _divisible(whole):
        binding.warnings.append("groups and copies are too few or too large to be kept in one split each")
        return
    binding.groups = whole
    alone = kept is not None and list(kept.of) == whole
    binding.pattern = kept.pattern if kept is not None and alone else ""
    binding.how = kept.how if kept is not None else "copies"
    if together:
        binding.notes.append(f"{len(together)} pictures are there more than once: each in one split")


def _published(
    binding: Binding, cases: Sequence[CaseFiles], named: Groups | None, equal: Sequence[Sequence[int]]
) -> None:
    """Bind cases whose splits the data set gives; what also lies in a later split is not trained on."""
    dropped = set()
    for group in equal:
        last = min((cases[n].split for n in group), key=_ORDER.index)
        dropped |= {n for n in group if cases[n].split != last}
    binding.dropped = frozenset(dropped)
    if dropped:
        binding.notes.append(
            f"{len(dropped)} images of train or val that also lie in a later split are left out"
        )
    if named is None:
        return
    homes: dict[str, set[str]] = {}
    for case, name in zip(cases, named.of, strict=True):
        homes.setdefault(name, set()).add(case.split)
    across = sorted(name for name, splits in homes.items() if len(splits) > 1)
    if across and named.enough:
        binding.warnings.append(
            f"{len(across)} of {named.count} groups (by {named.how}) lie in two splits as published: "
            f"{', '.join(across[:_SHOWN])}{', ...' if len(across) > _SHOWN else ''}"
        )
    elif not across and named.count < len(cases) and named.enough:
        binding.groups, binding.pattern, binding.how = list(named.of), named.pattern, named.how


def _say_equal(
    binding: Binding, cases: Sequence[CaseFiles], groups: Sequence[Sequence[int]], what: str
) -> None:
    across = [group for group in groups if len({cases[n].split for n in group}) > 1]
    for found, where in ((across, "in two splits"), (groups, "twice")):
        if found:
            names = "; ".join(" = ".join(_called(cases[n]) for n in group) for group in found[:_SHOWN])
            binding.warnings.append(f"{what} {where}, {len(found)} times: {names}")
            return


def _called(case: CaseFiles) -> str:
    return f"{case.split}/{case.image.stem}" if case.split else case.image.place


def _in(group: Sequence[int], others: Sequence[Sequence[int]]) -> bool:
    return any(set(group) <= set(other) for other in others)


def _divisible(groups: Sequence[str]) -> bool:
    """Return whether whole groups make three splits of about the usual shares."""
    names = [str(n) for n in range(len(groups))]
    try:
        found = by_share(names, SHARES, group_of=lambda name: groups[int(name)], seed=0)
    except SegfocalError:
        return False
    return len(found["train"]) >= 0.4 * len(groups)
