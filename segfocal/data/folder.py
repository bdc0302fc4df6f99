"""Images and masks in folders."""

from __future__ import annotations

from typing import Any

from segfocal.data.division import STANDARD, FolderLayout
from segfocal.data.files import FileData
from segfocal.data.pairs import Pair
from segfocal.data.splits import Split
from segfocal.imbalance.counts import Task


class FolderData(FileData):
    """Images with masks of the same name.

    Args:
        root: As in ``FileData``.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        class_names: As in ``FileData``.
        images: Folder of the images, below ``root`` or, when ``split`` names folders, below each of those.
        masks: Folder of the masks beside it, or a pattern with ``{stem}`` for the name of the image:
            ``masks/{stem}_L``. Multilabel has a folder per class in it, ``masks/{class}/{stem}``, whose
            missing files mean that the class is absent. ``{split}`` here and in ``images`` stands for the
            split's folder.
        region: Folder of field-of-view masks beside the images, or a pattern with ``{stem}`` and ``{split}``
            as in ``masks``, or one file for all: pixels where they are 0 are ignored in training and scores,
            as those that the masks ignore. Null: all pixels count.
        split: How the images are divided; null: folders train, val and test below ``root``.
        **settings: Everything of ``FileData`` (values, colors, other, ...) and ``SegmentationData``
            (preprocess, patch_size, batch_size, augment, ...).

    Raises:
        SegfocalError: As ``FileData``.
    """

    def __init__(
        self,
        root: str,
        task: Task,
        class_names: list[str] | None = None,
        *,
        images: str = "images",
        masks: str = "masks",
        region: str | None = None,
        split: Split | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(root=root, task=task, class_names=class_names, **settings)
        self.images, self.masks, self.region = images, masks, region
        self.split = split if split is not None else STANDARD

    def pairs(self) -> dict[str, list[Pair]]:
        """Return the files of train, val and test."""
        classes = self.class_names if self.task == "multilabel" else None
        layout = FolderLayout(self.root, self.images, self.masks, classes, self.allow_leaks, self.region)
        return layout.divide(self.split, spreading=self.spreading())

    def group_of(self, name: str) -> str:
        """Return the group that ``split`` finds in a name."""
        return self.split.group_of(name)
