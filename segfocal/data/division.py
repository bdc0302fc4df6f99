"""Which files of a folder belong to train, val and test; reads names only."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segfocal.data.pairs import Pair, find_pairs
from segfocal.data.region import with_regions
from segfocal.data.splits import SPLITS, Split
from segfocal.data.strata import Presence

STANDARD = Split(train="train", val="val", test="test")


@dataclass
class Spreading:
    """What a data module knows of masks, for splits that hold every class.

    Args:
        read: A case to the numbers of the classes in its masks.
        classes: Their names, by number.
        notes: Gathers sentences for the user.
    """

    read: Callable[[Pair], Collection[int]]
    classes: Sequence[str]
    notes: list[str]

    def presence(self, pairs: Mapping[str, Pair]) -> Presence:
        """Return the classes by name of the case."""
        return Presence(lambda name: self.read(pairs[name]), self.classes, self.notes)


@dataclass(frozen=True)
class FolderLayout:
    """Where the images and masks of a data set lie.

    Args:
        root: Folder of the data set, expanded.
        images: As in `FolderData`.
        masks: As in `FolderData`.
        classes: Multilabel classes with a mask file each; None: one mask per image.
        allowed: Names and groups that may lie in two splits.
        region: As in `FolderData`.
    """

    root: Path
    images: str = "images"
    masks: str = "masks"
    classes: Sequence[str] | None = None
    allowed: Sequence[str] = ()
    region: str | None = None

    def divide(self, split: Split, *, spreading: Spreading | None = None) -> dict[str, list[Pair]]:
        """Return the cases of train, val and test.

        Args:
            split: How they are divided.
            spreading: Which classes a case holds, for ``split.stratify``; None: masks are not read.

        Raises:
            SegfocalError: For folders and files that are missing, and rules that ask for too much.
        """
        if split.by_folder():
            found = {part: self._find(str(folder)) for part, folder in split.rules().items()}
            names = {part: [pair.name for pair in pairs] for part, pairs in found.items()}
            # moved to val, a pair keeps the folder it was found in
            pool = {part: {pair.name: pair for pair in pairs} for part, pairs in found.items()}
            if split.val_from_train():
                pool["val"] = pool["train"]
        else:
            every = {pair.name: pair for pair in self._find(None)}
            presence = None if spreading is None else spreading.presence(every)
            names = split.divide(sorted(every), root=self.root, presence=presence)
            pool = dict.fromkeys(SPLITS, every)
        if split.by_folder():
            presence = None if spreading is None else spreading.presence(pool.get("train", {}))
        final = split.finish(names, allowed=self.allowed, presence=presence)
        return {part: [pool[part][name] for name in chosen] for part, chosen in final.items()}

    def _find(self, folder: str | None) -> list[Pair]:
        images, masks, region, base = self.images, self.masks, self.region, self.root
        if folder is not None and "{split}" in images + masks:
            images, masks = images.replace("{split}", folder), masks.replace("{split}", folder)
        elif folder is not None:
            base = base / folder
        pairs = find_pairs(base, images=images, masks=masks, classes=self.classes)
        if region is None:
            return pairs
        return with_regions(pairs, base=base, region=region.replace("{split}", folder or "{split}"))


def expand(root: str) -> str:
    """Return a folder with ``$SEGFOCAL_DATA`` and a leading ``~`` replaced.

    Args:
        root: As given in a config.

    Example:
        >>> expand("some/folder")
        'some/folder'
    """
    data = os.environ.get("SEGFOCAL_DATA", "../shared/data")
    return os.path.expanduser(re.sub(r"\$SEGFOCAL_DATA\b|\$\{SEGFOCAL_DATA\}", lambda _: data, root))
