"""Which case belongs to which split: by folder, list, number, share or fold, groups kept whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segfocal.data.folds import check_fold, deal, keep
from segfocal.data.leaks import named
from segfocal.data.lists import listed
from segfocal.data.rules import SPLITS, Names, Rule, by_number, by_share, kind, without
from segfocal.data.strata import Presence
from segfocal.errors import SegfocalError, check_range

__all__ = ["SPLITS", "Split"]

Grouping = Callable[[str], str]


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

    Instead of rules, ``test_folds`` deals all images into folds, one of which is the test split and the rest
    train. ``val_folds`` does the same to the training images, however they were found.

    Args:
        train: Rule of the training images.
        val: Rule of the validation images; null: none, or see ``val_share``.
        test: Rule of the test images; null: none.
        group: Regular expression found in each name; its first parenthesis (else all of it) names the group
            that must not be divided, e.g. ``'Image_(\d+)'`` for the patient. Null: each image for itself.
        val_share: Share of the training images that is moved to validation, whole groups at a time.
        seed: Seed of shares and folds; it does not change with the seed of training.
        test_folds: Number of folds of all images, whole groups in each; null: test has a rule or no images.
        test_fold: Which of them is the test split, from 0.
        val_folds: Number of folds of the training images, for cross-validation without the test images.
        val_fold: Which of them is moved to validation, from 0.
        train_fraction: Share of the groups that is kept of what train is in the end; a smaller share is a
            part of a larger one, at least one group stays, and val and test do not change with it.
        stratify: Whether whole groups change places where a share or fold that was drawn lacks a class, so
            that each class is in each split as far as the numbers allow (of lanes: frames with and without).
    """

    train: Rule = None
    val: Rule = None
    test: Rule = None
    group: str | None = None
    val_share: float = 0.0
    seed: int = 0
    test_folds: int | None = None
    test_fold: int | None = None
    val_folds: int | None = None
    val_fold: int | None = None
    train_fraction: float = 1.0
    stratify: bool = True

    def __post_init__(self) -> None:
        check_range("split.val_share", self.val_share, low=0.0, high=1.0, open_high=True)
        check_range("split.train_fraction", self.train_fraction, low=0.0, high=1.0, open_low=True)
        check_fold("test", folds=self.test_folds, fold=self.test_fold)
        check_fold("val", folds=self.val_folds, fold=self.val_fold)
        try:
            re.compile(self.group or "")
        except re.error as error:
            raise SegfocalError(f"split.group {self.group!r} is no regular expression: {error}.") from error
        self._check_sources()
        if len({kind(rule) for rule in self.rules().values()}) > 1:
            raise SegfocalError(
                f"the rules of a split must be of one kind (folders, lists, numbers or shares), got "
                f"{self.rules()}."
            )

    def _check_sources(self) -> None:
        """See that each split has one rule at most."""
        rules = self.rules()
        if not rules and self.test_folds is None:
            raise SegfocalError("split needs a rule for at least one of train, val and test, or test_folds.")
        if rules and self.test_folds is not None:
            raise SegfocalError(
                f"split.test_folds divides all images: leave out the rules (set them to null), got {rules}."
            )
        by = {"val": self.val, "val_share": self.val_share or None, "val_folds": self.val_folds}
        ways = [f"{key}={value!r}" for key, value in by.items() if value is not None]
        if len(ways) > 1:
            raise SegfocalError(f"split takes one of val, val_share and val_folds, got {' and '.join(ways)}.")
        if ways and self.val is None and self.train is None and self.test_folds is None:
            raise SegfocalError(f"split: {ways[0]} is taken from train, which has no rule.")

    def rules(self) -> dict[str, int | float | str | list[str]]:
        """Return the rules that are given."""
        given = {"train": self.train, "val": self.val, "test": self.test}
        return {split: rule for split, rule in given.items() if rule is not None}

    def by_folder(self) -> bool:
        """Return whether the splits are folders."""
        return self.test_folds is None and all(kind(rule) == "folder" for rule in self.rules().values())

    def val_from_train(self) -> bool:
        """Return whether `finish` takes the validation images out of train."""
        return bool(self.val_share) or self.val_folds is not None

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

    def divide(
        self,
        names: Sequence[str],
        *,
        root: Path,
        group_of: Grouping | None = None,
        presence: Presence | None = None,
    ) -> Names:
        """Return the names of each split by list, number, share or fold.

        Args:
            names: All names, sorted.
            root: Where list files are.
            group_of: Group of a name; None: by the pattern ``group``.
            presence: Which classes images hold, for ``stratify``; None: draws follow the seed alone.

        Raises:
            SegfocalError: When rules ask for more than there is.
        """
        group_of = group_of or self.group_of
        if self.test_folds is not None:
            return self._hold_out(names, "test", self.test_folds, self.test_fold, group_of, presence)
        rules = self.rules()
        kinds = {kind(rule) for rule in rules.values()}
        if kinds == {"number"}:
            numbers = {split: int(rule) for split, rule in rules.items()}  # type: ignore[arg-type]
            return by_number(names, numbers)
        if kinds == {"share"}:
            shares = {split: float(rule) for split, rule in rules.items()}  # type: ignore[arg-type]
            return by_share(
                names, shares, group_of=group_of, seed=self.seed, presence=self._spreading(presence)
            )
        return {
            split: listed(names, rule, split=split, root=root)  # type: ignore[arg-type]
            for split, rule in rules.items()
        }

    def finish(
        self,
        names: Mapping[str, Sequence[str]],
        *,
        group_of: Grouping | None = None,
        allowed: Sequence[str] = (),
        presence: Presence | None = None,
    ) -> Names:
        """Move a share or fold of train to val, see that no group lies in two splits, reduce train.

        Args:
            names: Split to names.
            group_of: Group of a name; None: by the pattern ``group``.
            allowed: Names and groups that may lie in two splits.
            presence: As in `divide`.

        Raises:
            SegfocalError: Naming the group and its splits.
        """
        known, group_of = group_of is not None or self.group is not None, group_of or self.group_of
        done = {split: list(names.get(split, [])) for split in SPLITS}
        if self.val_share:
            moved = by_share(
                done["train"],
                {"val": self.val_share},
                group_of=group_of,
                seed=self.seed,
                presence=self._spreading(presence),
            )["val"]
            done["val"], done["train"] = moved, without(done["train"], moved)
        elif self.val_folds is not None:
            done |= self._hold_out(done["train"], "val", self.val_folds, self.val_fold, group_of, presence)
        home: dict[str, str] = {}
        for split in SPLITS:
            for name in done[split]:
                group = group_of(name)
                if named(allowed, name, group):
                    continue
                if home.setdefault(group, split) != split and (known or not self.by_folder()):
                    raise SegfocalError(
                        f"group {group!r} ({name}) is in {home[group]} and in {split}: what is trained on "
                        "must not be scored. Change split, or name it in data.init_args.allow_leaks."
                    )
        if self.train_fraction < 1:
            done["train"] = keep(
                done["train"],
                fraction=self.train_fraction,
                group_of=group_of,
                seed=self.seed,
                presence=self._spreading(presence),
            )
        return done

    def _spreading(self, presence: Presence | None) -> Presence | None:
        return presence if self.stratify else None

    def _hold_out(
        self,
        names: Sequence[str],
        split: str,
        folds: int,
        fold: int | None,
        group_of: Grouping,
        presence: Presence | None,
    ) -> Names:
        assert fold is not None
        spreading = self._spreading(presence)
        held = deal(names, folds=folds, group_of=group_of, seed=self.seed, presence=spreading)[fold]
        return {split: held, "train": without(names, held)}
