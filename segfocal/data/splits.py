"""Which case belongs to which split: by folder, by list, by number or by share, groups kept whole."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segfocal.data.lists import listed
from segfocal.errors import SegfocalError, check_range

SPLITS = ("train", "val", "test")
Rule = int | float | str | list[str] | None
Names = dict[str, list[str]]


@dataclass(frozen=True)
class Split:
    r"""How images are divided into train, val and test.

    All rules that are given must be of one kind:

    - a folder of that name below ``root``, holding its own images and masks (``train: training``);
    - a list of names, wildcards allowed (``val: ["*9"]``), or a text file with one name, or the paths of
      image and mask, per line (``train: lists/train.txt``);
    - a number of images in the order of their names: train from the front, then val, test from the end;
    - a share of the images, drawn with ``seed``, whole groups at a time (``train: 0.7``). Test is drawn first
      and train last, so that a smaller train share is a part of a larger one and the others stay.

    Args:
        train: Rule of the training images.
        val: Rule of the validation images; null: none, or see ``val_share``.
        test: Rule of the test images; null: none.
        group: Regular expression found in each name; its first parenthesis (else all of it) names the group
            that must not be divided, e.g. ``'Image_(\d+)'`` for the patient. Null: each image for itself.
        val_share: Share of the training images that is moved to validation, whole groups at a time.
        seed: Seed of shares; it does not change with the seed of training.
    """

    train: Rule = None
    val: Rule = None
    test: Rule = None
    group: str | None = None
    val_share: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_range("split.val_share", self.val_share, low=0.0, high=1.0, open_high=True)
        try:
            re.compile(self.group or "")
        except re.error as error:
            raise SegfocalError(f"split.group {self.group!r} is no regular expression: {error}.") from error
        if self.train is None and self.val is None and self.test is None:
            raise SegfocalError("split needs a rule for at least one of train, val and test.")
        if self.val is not None and self.val_share:
            raise SegfocalError(
                f"split takes val or val_share, got val={self.val!r} and val_share={self.val_share}."
            )
        if self.val_share and self.train is None:
            raise SegfocalError("split.val_share is taken from train, which has no rule.")
        if len({kind(rule) for rule in self.rules().values()}) > 1:
            raise SegfocalError(
                f"the rules of a split must be of one kind (folders, lists, numbers or shares), got "
                f"{self.rules()}."
            )

    def rules(self) -> dict[str, int | float | str | list[str]]:
        """Return the rules that are given."""
        given = {"train": self.train, "val": self.val, "test": self.test}
        return {split: rule for split, rule in given.items() if rule is not None}

    def by_folder(self) -> bool:
        """Return whether the splits are folders."""
        return all(kind(rule) == "folder" for rule in self.rules().values())

    def group_of(self, name: str) -> str:
        """Return the group of a name.

        Raises:
            SegfocalError: When the pattern does not occur in the name.
        """
        if self.group is None:
            return name
        found = re.search(self.group, name)
        if found is None:
            raise SegfocalError(f"split.group {self.group!r} does not occur in the name {name!r}.")
        return found.group(1) if found.re.groups else found.group(0)

    def divide(self, names: Sequence[str], *, root: Path) -> Names:
        """Return the names of each split by list, number or share.

        Args:
            names: All names, sorted.
            root: Where list files are.

        Raises:
            SegfocalError: When rules ask for more than there is.
        """
        rules = self.rules()
        kinds = {kind(rule) for rule in rules.values()}
        if kinds == {"number"}:
            numbers = {split: int(rule) for split, rule in rules.items()}  # type: ignore[arg-type]
            return _by_number(names, numbers)
        if kinds == {"share"}:
            shares = {split: float(rule) for split, rule in rules.items()}  # type: ignore[arg-type]
            return self._by_share(names, shares)
        return {
            split: listed(names, rule, split=split, root=root)  # type: ignore[arg-type]
            for split, rule in rules.items()
        }

    def finish(self, names: Mapping[str, Sequence[str]]) -> Names:
        """Move ``val_share`` of train to val, and see that no group lies in two splits.

        Raises:
            SegfocalError: Naming the group and its splits.
        """
        done = {split: list(names.get(split, [])) for split in SPLITS}
        if self.val_share:
            moved = self._by_share(done["train"], {"val": self.val_share})["val"]
            done["val"], done["train"] = moved, [name for name in done["train"] if name not in set(moved)]
        home: dict[str, str] = {}
        for split in SPLITS:
            for name in done[split]:
                group = self.group_of(name)
                if home.setdefault(group, split) != split and (self.group or not self.by_folder()):
                    raise SegfocalError(
                        f"group {group!r} ({name}) is in {home[group]} and in {split}: what is trained on "
                        "must not be scored. Change split."
                    )
        return done

    def _by_share(self, names: Sequence[str], shares: Mapping[str, float]) -> Names:
        total = sum(shares.values())
        if min(shares.values()) <= 0 or total > 1 + 1e-9:
            raise SegfocalError(
                f"shares of a split must be positive and sum to at most 1, got {dict(shares)}."
            )
        members: dict[str, list[str]] = {}
        for name in names:
            members.setdefault(self.group_of(name), []).append(name)
        order = np.random.default_rng(self.seed).permutation(sorted(members))
        result: Names = {}
        taken, used, end = 0, 0, 0.0
        for split in [split for split in ("test", "val", "train") if split in shares]:
            end += shares[split] * len(names)
            chosen: list[str] = []
            while taken < len(order):
                group = members[order[taken]]
                if chosen and used + len(group) / 2 > end:
                    break
                chosen += group
                used += len(group)
                taken += 1
            if not chosen:
                raise SegfocalError(f"{len(order)} group(s) are too few for the shares {dict(shares)}.")
            result[split] = sorted(chosen)
        return result


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


def _by_number(names: Sequence[str], numbers: Mapping[str, int]) -> Names:
    train, val, test = (numbers.get(split, 0) for split in SPLITS)
    if min(numbers.values()) < 1 or train + val + test > len(names):
        raise SegfocalError(
            f"split needs positive numbers of images, at most {len(names)}, got {dict(numbers)}."
        )
    result = {"train": names[:train], "val": names[train : train + val], "test": names[len(names) - test :]}
    return {split: list(part) for split, part in result.items()}
