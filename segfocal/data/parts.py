"""Data sets that bring splits of their own, and names for their images."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from segfocal.data.splits import Split
from segfocal.data.strata import Presence
from segfocal.errors import SegfocalError

AS_GIVEN = Split(train="train")  # whose groups are the names


def divide_parts(
    parts: Mapping[str, Sequence[str]],
    split: Split | None,
    *,
    root: Path,
    allowed: Sequence[str] = (),
    group_of: Callable[[str], str] | None = None,
    presence: Presence | None = None,
) -> dict[str, list[str]]:
    """Return the names of train, val and test.

    Args:
        parts: Split to the names that the data set itself puts there; names are unique in each.
        split: Divides what the data set calls train; None: all stay where they are.
        root: Where list files of ``split`` are.
        allowed: Names and groups that may lie in two splits.
        group_of: Group of a name; None: by the pattern of ``split``.
        presence: Which classes images hold, for ``split.stratify``; None: draws follow the seed alone.

    Raises:
        SegfocalError: For a split that has images of its own and a rule, and for groups in two splits.

    Example:
        >>> own = {"train": ["a", "b", "c"], "test": ["d"]}
        >>> divide_parts(own, Split(train=2, val=1), root=Path())
        {'train': ['a', 'b'], 'val': ['c'], 'test': ['d']}
    """
    rule = split or AS_GIVEN
    grouped = group_of or rule.group_of
    names = {part: list(found) for part, found in parts.items()}
    if split is not None:
        drawn = split.divide(sorted(names.pop("train", [])), root=root, group_of=grouped, presence=presence)
        drawn = {part: found for part, found in drawn.items() if found}
        both = sorted(set(drawn) & set(names))
        if both or (split.val_from_train() and "val" in names):
            part = both[0] if both else "val"
            raise SegfocalError(
                f"the data set has a part {part} of its own, and split takes {part} out of train. Leave one "
                "of them out."
            )
        names |= drawn
    return rule.finish(names, group_of=grouped, allowed=allowed, presence=presence)


def names_below(files: Sequence[Path]) -> list[str]:
    """Return the paths below the folder that all files share, without their endings.

    Args:
        files: Paths of images.

    Example:
        >>> names_below([Path("data/train/a.jpg"), Path("data/val/a.jpg")])
        ['train/a', 'val/a']
    """
    if not files:
        return []
    whole = [Path(os.path.abspath(path)) for path in files]  # some may be absolute, others not
    shared = os.path.commonpath([path.parent for path in whole])
    return [os.path.relpath(path.with_suffix(""), shared) for path in whole]
