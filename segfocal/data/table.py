"""Images and masks listed in a table."""

from __future__ import annotations

from typing import Any

from segfocal.data.files import FileData
from segfocal.data.pairs import Pair
from segfocal.data.rows import TableLayout
from segfocal.data.splits import Split
from segfocal.imbalance.counts import Task


class TableData(FileData):
    """Images with masks, a row each, from a CSV or Parquet file.

    Columns: ``image`` and ``mask`` (paths below ``root``; for multilabel ``mask_<class>`` per class, empty
    where the class is absent), and where wanted ``name`` (default: the path of the image without its
    ending), ``split`` (train, val or test), ``group`` (patient, drive: never divided between splits) and
    ``region`` (path of a field-of-view mask: pixels where it is 0 are ignored in training and scores).

    Args:
        root: As in ``FileData``.
        table: The file, below ``root`` or anywhere.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        class_names: As in ``FileData``.
        split: How the rows are divided; null where the table has a column ``split``.
        **settings: Everything of ``FileData`` (values, colors, other, ...) and ``SegmentationData``
            (preprocess, patch_size, batch_size, augment, ...).

    Raises:
        SegfocalError: As ``FileData``, naming the row of the table.
    """

    def __init__(
        self,
        root: str,
        table: str,
        task: Task,
        class_names: list[str] | None = None,
        *,
        split: Split | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(root=root, task=task, class_names=class_names, **settings)
        self.table, self.split = table, split
        self.layout = TableLayout(
            self.root,
            table,
            classes=self.class_names if task == "multilabel" else None,
            split=split,
            allowed=self.allow_leaks,
        )

    def pairs(self) -> dict[str, list[Pair]]:
        """Return the files of train, val and test."""
        return self.layout.divide()

    def group_of(self, name: str) -> str:
        """Return the group of a row: what its column says, else what ``split`` finds in the name."""
        return self.layout.group_of(name)
