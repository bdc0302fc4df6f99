"""The settings that say what masks hold, as every data module takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.data.colors import read_class_table
from segfocal.data.masks import MaskCoding, color_coding, threshold_coding, value_coding
from segfocal.errors import SegfocalError
from segfocal.imbalance.counts import Task

Colors = Mapping[str, str | Sequence[int]]


@dataclass(frozen=True)
class MaskSettings:
    """What the stored values or colours of masks mean; the arguments are those of `FileData`.

    Args:
        root: Where a csv file of colours is.
        values: Stored value to label.
        ignore_values: Stored values without a class.
        colors: Class name to colour, or a csv file of them.
        ignore_colors: Colours without a class.
        other: Label of all values or colours not named.
        threshold: Stored value from which on a pixel is foreground, for masks of grey levels.

    Raises:
        SegfocalError: Where values and colours are given, or a threshold beside either.
    """

    root: Path
    values: Mapping[int, int] | None = None
    ignore_values: Sequence[int] | None = None
    colors: Colors | str | None = None
    ignore_colors: Sequence[str | Sequence[int]] | None = None
    other: int | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        named = (self.values, self.ignore_values or None, self.colors, self.other)
        if self.threshold is not None and any(setting is not None for setting in named):
            raise SegfocalError(
                "threshold splits all stored values in two: leave out values, ignore_values, colors, other."
            )
        if self.colors is not None and (self.values is not None or self.ignore_values):
            raise SegfocalError("masks hold values or colours: give values or colors, not both.")

    def table(self) -> Colors | None:
        """Return the colours, where there are any."""
        if not isinstance(self.colors, str):
            return self.colors
        return read_class_table(self.root / Path(self.colors).expanduser())

    def names(self, given: list[str] | None, *, task: Task) -> list[str]:
        """Return the class names, by default those of the colours, or ``foreground`` for binary.

        Args:
            given: As the user gives them.
            task: What the masks mean.

        Raises:
            SegfocalError: Where nothing tells them.
        """
        table = self.table()
        if given is not None:
            return given
        if table is None and task != "binary":
            raise SegfocalError(f"class_names must name the classes of task {task!r}, got none.")
        if table is not None and len(table) > 1 and task == "binary":
            raise SegfocalError(
                f"class_names must say which of the colours is the foreground: {', '.join(table)}."
            )
        return ["foreground"] if table is None else list(table)

    def coding(self, class_names: Sequence[str], *, task: Task, ignore_index: int | None) -> MaskCoding:
        """Return what leads from stored values or colours to labels.

        Args:
            class_names: One per channel of the logits.
            task: What the masks mean.
            ignore_index: Label without a class.

        Raises:
            SegfocalError: For labels outside the classes and classes without a colour.
        """
        if self.threshold is not None:
            return threshold_coding(task=task, threshold=self.threshold)
        table = self.table()
        shared: dict[str, Any] = {"task": task, "ignore_index": ignore_index, "other": self.other}
        if table is not None:
            ignored = self.ignore_colors or []
            return color_coding(class_names=class_names, colors=table, ignore_colors=ignored, **shared)
        return value_coding(
            num_classes=len(class_names),
            values=self.values,
            ignore_values=self.ignore_values or [],
            **shared,
        )
