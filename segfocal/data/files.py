"""Images and masks in files: what the stored values of masks mean, and how a case is read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segfocal.data.coding import MaskSettings
from segfocal.data.division import Spreading, expand
from segfocal.data.file_source import FileSource, file_spreading
from segfocal.data.module import SegmentationData
from segfocal.data.module import Split as SplitName
from segfocal.data.pairs import Pair
from segfocal.data.source import Source
from segfocal.imbalance.counts import Task


class FileData(SegmentationData):
    """Masks as files. A subclass says which file belongs to which: ``pairs``.

    Args:
        root: Folder of the data set; ``$SEGFOCAL_DATA`` or ``${SEGFOCAL_DATA}`` in it stands for that
            environment variable, by default ``../shared/data`` seen from the current directory.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        class_names: One per channel of the logits, in their order; may be left out for binary
            (``foreground``) and where ``colors`` gives them.
        values: Stored value to label, e.g. ``{10: 1}``; null: 0 and 1 or 255 for binary and multilabel, the
            class numbers (and ``ignore_index``) for multiclass.
        ignore_values: Stored values without a class.
        colors: Class name to ``'#rrggbb'`` or ``[r, g, b]``, or a csv file below ``root`` with the columns
            name, r, g, b: the masks are colour pictures.
        ignore_colors: Colours without a class.
        other: Label of all values or colours not named; null: they are an error.
        threshold: For binary and multilabel masks that hold grey levels (resized with interpolation, JPEG):
            stored values from this one on are the class (128 for 0 to 255), smaller ones are not; null: such
            masks are an error.
        **settings: Everything of ``SegmentationData``: preprocess, patch_size, batch_size, augment, ...

    Raises:
        SegfocalError: Naming file, expected, found and remedy: settings at once, names when a split is first
            used, contents when a file is read.
    """

    def __init__(
        self,
        *,
        root: str,
        task: Task,
        class_names: list[str] | None = None,
        values: dict[int, int] | None = None,
        ignore_values: list[int] | None = None,
        colors: dict[str, str | list[int]] | str | None = None,
        ignore_colors: list[str | list[int]] | None = None,
        other: int | None = None,
        threshold: float | None = None,
        **settings: Any,
    ) -> None:
        self.root = Path(expand(root))
        masks = MaskSettings(self.root, values, ignore_values, colors, ignore_colors, other, threshold)
        super().__init__(task=task, class_names=masks.names(class_names, task=task), **settings)
        self.coding = masks.coding(self.class_names, task=task, ignore_index=self.ignore_index)
        self._pairs: dict[str, list[Pair]] = {}

    @abstractmethod
    def pairs(self) -> dict[str, list[Pair]]:
        """Return the files of train, val and test. Called once."""

    @abstractmethod
    def group_of(self, name: str) -> str:
        """Return the group of a case, which lies in one split as a whole."""

    def source(self, split: SplitName) -> Source:
        """Return the cases of a split."""
        if not self._pairs:
            self._pairs = self.pairs()
        chosen = self._pairs[split]
        return self._source(chosen, [self.group_of(pair.name) for pair in chosen])

    def spreading(self) -> Spreading:
        """Return what is needed to see that each split holds each class."""
        return file_spreading(
            self.coding,
            self.class_names,
            task=self.task,
            ignore_index=self.ignore_index,
            rules=self.preprocess.rules(),
            notes=self.notes,
        )

    def _source(self, pairs: Sequence[Pair], groups: Sequence[str]) -> FileSource:
        return FileSource(
            pairs,
            groups,
            self.coding,
            layered=self.task == "multilabel",
            ignore_index=self.ignore_index,
            rules=self.preprocess.rules(),
        )
