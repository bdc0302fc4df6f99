"""What the stored values of masks are likely to mean."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from segfocal.data.fingerprint.scan import Totals
from segfocal.errors import SegfocalError
from segfocal.imbalance.counts import Task

IGNORED = 255
_MOST_CLASSES = 64


@dataclass(frozen=True)
class Classes:
    """Task, classes and coding of masks.

    Args:
        task: "binary", "multiclass" or "multilabel".
        names: One per logit channel.
        pixels: ``(C,)`` pixels of multiclass, else ``(C, 2)`` negatives and positives, as lists.
        images: Images that hold the class, per name.
        reasons: Sentences: how the task was found.
        values: Stored value to label; None where the usual ones hold (0 and 1 or 255; class numbers).
        ignore_values: Stored values without a class.
        colors: Class name to "#rrggbb"; None for masks of values.
        other: Label of all that is not named, or None.
        ignored_px: Pixels that are ignored.
    """

    task: Task
    names: tuple[str, ...]
    pixels: list[list[int]] | list[int]
    images: tuple[int, ...]
    reasons: list[str]
    values: dict[int, int] | None = None
    ignore_values: tuple[int, ...] = ()
    colors: dict[str, str] | None = None
    other: int | None = None
    ignored_px: int = 0

    def shares(self) -> list[float]:
        """Return the share of each name in the pixels that are not ignored."""
        counts = np.array(self.pixels, dtype=np.float64)
        if counts.ndim == 2:
            return [float(row[1] / max(row.sum(), 1.0)) for row in counts]
        return [float(share) for share in counts / max(counts.sum(), 1.0)]

    def rarest(self) -> float:
        """Return the smallest share of a foreground class that occurs."""
        shares = self.shares()[1:] if self.task == "multiclass" else self.shares()
        return min((share for share in shares if share), default=0.0)


def judge_classes(totals: Totals, *, folders: tuple[str, ...], unlabelled: tuple[int, ...] = ()) -> Classes:
    """Say what the masks hold.

    Args:
        totals: Of all cases.
        folders: Names of the folders of masks where each class has one.
        unlabelled: Values in such masks that are known to be ignored; none: what is not 0 is the class.

    Returns:
        Task, classes and coding.

    Raises:
        SegfocalError: Where the masks hold too many values to be classes, or one value only.
    """
    if folders:
        return _multilabel(totals, folders, unlabelled)
    pixels, images = totals.pixels[0], totals.images[0]
    if len(pixels) > _MOST_CLASSES:
        raise SegfocalError(
            f"the masks hold {len(pixels)} or more different {'colours' if totals.colors else 'values'}, too "
            "many for classes: they are lossy (JPEG), resized with interpolation, or probabilities. Save "
            "them as PNG with one number per class."
        )
    if len(pixels) == 1:
        raise SegfocalError(
            f"every mask holds nothing but {next(iter(pixels))}: there is nothing to learn. Wrong folder?"
        )
    if totals.colors:
        return _by_color(pixels, images)
    return _by_value(pixels, images)


def _by_value(pixels: Counter[int], images: Counter[int]) -> Classes:
    found = sorted(pixels)
    if set(found) in ({0, 1}, {0, IGNORED}):
        return _binary(pixels, images, found[1], reason=f"the masks hold {found[0]} and {found[1]} only")
    if set(found) == {0, 1, IGNORED}:
        reason = "the masks hold 0 and 1, and 255 is taken for unlabelled: set values if it is a class"
        return _binary(pixels, images, 1, reason=reason, values={0: 0, 1: 1}, ignore_values=(IGNORED,))
    if len(found) == 2:
        rare = min(found, key=lambda value: pixels[value])
        reason = f"the masks hold {found[0]} and {found[1]} only; the rarer one, {rare}, is the foreground"
        return _binary(pixels, images, rare, reason=reason, values={v: int(v == rare) for v in found})
    ignored = (IGNORED,) if IGNORED in pixels and max(v for v in found if v != IGNORED) < 128 else ()
    kept = [value for value in found if value not in ignored]
    plain = kept == list(range(len(kept)))
    reasons = [f"the masks hold {len(kept)} values"]
    if ignored:
        reasons.append("255, far from the others, is taken for unlabelled: ignore_values")
    return Classes(
        task="multiclass",
        names=tuple("background" if value == 0 else f"class {value}" for value in kept),
        pixels=[pixels[value] for value in kept],
        images=tuple(images[value] for value in kept),
        reasons=reasons,
        values=None if plain else {value: label for label, value in enumerate(kept)},
        ignore_values=() if plain else ignored,
        ignored_px=sum(pixels[value] for value in ignored),
    )


def _binary(
    pixels: Counter[int], images: Counter[int], foreground: int, *, reason: str, **coding: Any
) -> Classes:
    unlabelled = sum(pixels[value] for value in coding.get("ignore_values", ()))
    positives = pixels[foreground]
    return Classes(
        task="binary",
        names=("foreground",),
        pixels=[[sum(pixels.values()) - positives - unlabelled, positives]],
        images=(images[foreground],),
        reasons=[reason],
        ignored_px=unlabelled,
        **coding,
    )


def _by_color(pixels: Counter[int], images: Counter[int]) -> Classes:
    ordered = [number for number, _ in pixels.most_common()]
    hexes = {number: f"#{number:06x}" for number in ordered}
    if len(ordered) == 2:
        front = ordered[1]
        reason = f"the masks hold two colours; the rarer one, {hexes[front]}, is the foreground"
        return _binary(pixels, images, front, reason=reason, colors={"foreground": hexes[front]}, other=0)
    names = tuple("background" if place == 0 else f"colour {hexes[n]}" for place, n in enumerate(ordered))
    return Classes(
        task="multiclass",
        names=names,
        pixels=[pixels[number] for number in ordered],
        images=tuple(images[number] for number in ordered),
        reasons=[f"the masks hold {len(ordered)} colours; the most frequent one is called background"],
        colors={name: hexes[number] for name, number in zip(names, ordered, strict=True)},
    )


def _multilabel(totals: Totals, folders: tuple[str, ...], unlabelled: tuple[int, ...]) -> Classes:
    area = sum(height * width * count for (height, width), count in totals.sizes.items())
    absent = {0, *unlabelled}
    positives = [sum(n for value, n in plane.items() if value not in absent) for plane in totals.pixels]
    shown = [
        max((n for value, n in plane.items() if value not in absent), default=0) for plane in totals.images
    ]
    ignored = [sum(plane[value] for value in unlabelled) for plane in totals.pixels]
    strange = {value for plane in totals.pixels for value in plane} - {0, 1, IGNORED}
    if strange:
        raise SegfocalError(
            f"masks in folders of their own ({', '.join(folders)}) must hold 0 and 1 or 255, "
            f"got {sorted(strange)[:10]}. Set values by hand."
        )
    return Classes(
        task="multilabel",
        names=folders,
        pixels=[[area - count - left, count] for count, left in zip(positives, ignored, strict=True)],
        images=tuple(shown),
        reasons=[f"{len(folders)} folders of masks lie side by side, a missing file means: class absent"],
        ignored_px=sum(ignored),
    )
