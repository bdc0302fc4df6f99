"""Images and masks listed in a table."""

from __future__ import annotations

import sys
from typing import Any

from pytorch_lightning.utilities import rank_zero_only

from segfocal.data.files import FileData
from segfocal.data.pairs import Pair
from segfocal.data.rows import TableLayout
from segfocal.data.splits import Split
from segfocal.imbalance.counts import Task


@rank_zero_only
def _say(note: str) -> None:
    sys.stderr.write(f"segfocal: {note}\n")


class TableData(FileData):
    """Images with masks, a row each, from a CSV or Parquet file.

    Columns: ``image`` and ``mask`` (paths below ``root``; for multilabel ``mask_<class>`` per class, empty
    where the class is absent), and where wanted ``name`` (default: the path of the image without its
    ending), ``split`` (train, val or test), ``group`` (patient, drive: never divided between splits) and
    ``region`` (path of a field-of-view mask: pixels where it is 0 are ignored in training and scores).
    Several rows of one image are one case: what one of their masks marks is marked.

    Args:
        root: As in ``FileData``.
        table: The file, below ``root`` or anywhere.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        class_names: As in ``FileData``.
        split: How the rows are divided. Where the table has a column ``split``, that decides, and of this
            setting folds, ``val_share`` (without rows for val) and ``train_fraction`` act.
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
        """Return the files of train, val and test; say where ``split`` does not act."""
        found = self.layout.divide(spreading=self.spreading())
        if note := self.layout.note():
            _say(note)
        return found

    def group_of(self, name: str) -> str:
        """Return the group of a row: what its column says, else what ``split`` finds in the name."""
        return self.layout.group_of(name)
