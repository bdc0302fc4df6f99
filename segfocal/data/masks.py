"""What the pixels of a mask file mean: from stored values or colours to class numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from segfocal.data.colors import levels, listing, name, pack, packed, single
from segfocal.data.labels import Mask
from segfocal.errors import SegfocalError, nearest
from segfocal.imbalance.counts import Task

Table = dict[int, int]


@dataclass(frozen=True)
class MaskCoding:
    """Stored numbers (values, or colours packed as 0xRRGGBB) and the labels they stand for.

    Args:
        table: Number to label.
        other: Label of all other numbers; None makes them an error.
        colors: Whether the numbers are colours.
        loose: Whether 1 and 255 both mean foreground, as nobody said which; they may not be mixed.
        threshold: Stored value from which on a pixel is foreground, in place of the table; None: the table.
    """

    table: Table
    other: int | None = None
    colors: bool = False
    loose: bool = False
    threshold: float | None = None
    seen: set[int] = field(default_factory=set, compare=False)

    def decode(self, stored: Mask) -> Mask:
        """Return the labels ``(H, W)`` of a mask as read from its file; uint8 where they fit.

        Raises:
            SegfocalError: Listing the values or colours that stand for nothing, with their pixels.
        """
        if self.threshold is not None:
            light = levels(stored)
            return (
                light.astype(np.uint8) if light.dtype == bool else (light >= self.threshold).astype(np.uint8)
            )
        numbers = packed(stored) if self.colors else single(stored)
        keys = np.array(sorted(self.table), dtype=np.int64)
        labels = np.array([self.table[int(key)] for key in keys] + [self.other or 0])
        labels = labels.astype(np.uint8 if labels.min() >= 0 and labels.max() <= 255 else np.int32)
        if numbers.dtype == np.uint8:  # a table of 256 is ten times faster than a search
            place = _place(np.arange(256), keys)
            unknown = bool(_present(numbers, bits=stored.dtype == bool)[place == len(keys)].any())
            table = labels[place]
            result: Mask = cv2.LUT(numbers, table) if table.dtype == np.uint8 else table[numbers]
        else:
            place = _place(numbers, keys)
            unknown = bool((place == len(keys)).any())
            result = labels[place]
        if unknown and self.other is None:
            raise self._unknown(numbers[~np.isin(numbers, keys)])
        if self.loose and stored.dtype != bool:
            self._refuse_mixture(numbers)
        return result

    def _unknown(self, numbers: Mask) -> SegfocalError:
        expected = ", ".join(name(key, colors=self.colors) for key in sorted(self.table)[:40])
        kind, settings, ignore = (
            ("colours", "colors", "ignore_colors") if self.colors else ("values", "values", "ignore_values")
        )
        found = listing(numbers, colors=self.colors)
        return SegfocalError(
            f"expected mask {kind} {expected}, got {found}. {self._background()}Add them to {settings} "
            f"or {ignore}, or give all the rest one class with other. Many different ones: a lossy or "
            "resized file; for masks of one class set threshold: 128."
        )

    def _background(self) -> str:
        """Binary palettes name the foreground alone, and then the most frequent colour stands for nothing."""
        if 0 in self.table.values():
            return ""
        return "Nothing stands for the background (class 0): set other: 0 to make it all that is not named. "

    def _refuse_mixture(self, numbers: Mask) -> None:
        """0/1 and 0/255 files are clear, a mixture is not: 255 may be foreground or ignored."""
        self.seen.update(value for value in (1, 255) if (numbers == value).any())
        if len(self.seen) > 1:
            raise SegfocalError(
                "these masks hold 1 as well as 255, and either may be the foreground. Say it: values: {0: 0, "
                "1: 1} with ignore_values: [255], or values: {0: 0, 1: 1, 255: 1}."
            )


def value_coding(
    *,
    task: Task,
    num_classes: int,
    ignore_index: int | None,
    values: Mapping[int, int] | None,
    ignore_values: Sequence[int],
    other: int | None,
) -> MaskCoding:
    """Return the coding of masks that store numbers.

    Args:
        task: Binary and multilabel masks hold 0 and 1 per class.
        num_classes: Channels of the logits.
        ignore_index: Label of ``ignore_values``.
        values: Stored value to label; None: binary 0 and 1 or 255, multiclass the class numbers and
            ``ignore_index`` itself.
        ignore_values: Stored values without a class.
        other: Label of all other values.

    Raises:
        SegfocalError: For labels outside the classes.
    """
    classes = num_classes if task == "multiclass" else 2
    if values is not None:
        table = {int(value): int(label) for value, label in values.items()}
    elif task == "multiclass":
        table = {label: label for label in range(classes)}
        if ignore_index is not None:
            table[ignore_index] = ignore_index
    else:
        table = {0: 0, 1: 1, 255: 1}
    _add_ignored(table, ignore_values, ignore_index)
    _check_labels([*table.values(), *([] if other is None else [other])], classes, ignore_index)
    loose = values is None and task != "multiclass" and 255 not in ignore_values
    return MaskCoding(table, other, loose=loose)


def threshold_coding(*, task: Task, threshold: float) -> MaskCoding:
    """Return the coding of masks that store grey levels, of which a part is foreground.

    Args:
        task: ``"binary"`` or ``"multilabel"``.
        threshold: Smallest stored value of the foreground.

    Raises:
        SegfocalError: For class numbers, and for a threshold that makes all pixels foreground.
    """
    if task == "multiclass":
        raise SegfocalError("threshold fits binary and multilabel masks, got task 'multiclass'. Use values.")
    if threshold <= 0:
        raise SegfocalError(f"threshold must be above 0, got {threshold}. Set 128 for masks of 0 to 255.")
    return MaskCoding({}, threshold=threshold)


def color_coding(
    *,
    task: Task,
    class_names: Sequence[str],
    ignore_index: int | None,
    colors: Mapping[str, str | Sequence[int]],
    ignore_colors: Sequence[str | Sequence[int]],
    other: int | None,
) -> MaskCoding:
    """Return the coding of masks that store colours.

    Args:
        task: ``"binary"`` (the class is 1) or ``"multiclass"``.
        class_names: Each must have a colour; a further colour stands for ``other``.
        ignore_index: Label of ``ignore_colors``.
        colors: Class name to ``"#rrggbb"`` or ``[r, g, b]``.
        ignore_colors: Colours without a class.
        other: Label of all other colours.

    Raises:
        SegfocalError: For classes without a colour and for what is no colour.
    """
    if task == "multilabel":
        raise SegfocalError(
            "colors fits binary and multiclass masks: multilabel masks are one file per class."
        )
    first = 1 if task == "binary" else 0
    table: Table = {}
    for label, label_name in enumerate(class_names, start=first):
        if label_name not in colors and not (task == "multiclass" and label == other):
            raise SegfocalError(f"class {label_name!r} has no colour in colors.{nearest(label_name, colors)}")
        if label_name in colors:
            table[pack(colors[label_name])] = label
    _add_ignored(table, [pack(color) for color in ignore_colors], ignore_index)
    _check_labels([] if other is None else [other], len(class_names) + first, ignore_index)
    return MaskCoding(table, other, colors=True)


def _add_ignored(table: Table, numbers: Sequence[int], ignore_index: int | None) -> None:
    if numbers and ignore_index is None:
        raise SegfocalError(
            "ignored values or colours need an ignore_index, got none. Set ignore_index: 255."
        )
    table.update({int(number): int(ignore_index or 0) for number in numbers})


def _check_labels(labels: Sequence[int], classes: int, ignore_index: int | None) -> None:
    wrong = [label for label in labels if not 0 <= label < classes and label != ignore_index]
    if wrong:
        raise SegfocalError(f"values and other must lead to labels 0 to {classes - 1}, got {wrong}.")


def _present(numbers: Mask, *, bits: bool) -> npt.NDArray[np.bool_]:
    """Which of the 256 bytes occur; one bit is counted 20 times faster than a histogram is made."""
    if bits:
        ones = int(np.count_nonzero(numbers))
        return np.array([ones < numbers.size, ones > 0] + [False] * 254)
    found: npt.NDArray[np.bool_] = cv2.calcHist([numbers], [0], None, [256], [0, 256]).ravel() > 0
    return found


def _place(numbers: Mask, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Position of each number among the keys; their count where it is none of them."""
    place = np.minimum(np.searchsorted(keys, numbers), len(keys) - 1)
    return np.where(keys[place] == numbers, place, len(keys))
