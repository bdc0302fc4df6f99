"""COCO's annotation files as a data module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segfocal.data.coco.drawing import CROWDS, OVERLAPS, Crowd, Overlap
from segfocal.data.coco.layout import CocoLayout, NamedImage, named_classes
from segfocal.data.coco.source import CocoSource
from segfocal.data.division import expand
from segfocal.data.module import SegmentationData
from segfocal.data.module import Split as SplitName
from segfocal.data.source import Source
from segfocal.data.splits import Split
from segfocal.errors import SegfocalError, check_choice
from segfocal.imbalance.counts import Task


class CocoData(SegmentationData):
    """Images whose masks are drawn from COCO's instances: polygons and run lengths, by pycocotools.

    COCO itself, people against vehicles and the rest::

        root: coco
        annotations: {train: annotations/instances_train2017.json, val: annotations/instances_val2017.json}
        images: {train: train2017, val: val2017}
        classes: {person: [person], vehicle: [car, truck, bus]}
        task: multiclass

    Args:
        root: As in ``FileData``.
        annotations: A file below ``root``, whose images ``split`` divides, or a file for each of train, val
            and test.
        task: ``"binary"``: shapes against the rest; ``"multiclass"``: class 0 is ``background``;
            ``"multilabel"``: overlaps are kept.
        classes: Names of the categories that are classes, or class name to the categories it is made of;
            other categories are background. Null: for binary, all of them.
        images: Folder below ``root`` that ``file_name`` is below, or one for each split.
        split: Divides the images of a single file, or of that of train; null: by the files.
        overlap: For multiclass, where shapes of two classes meet: the ``smaller`` one stays (of equal ones
            the later), the ``later`` one in the file, or the pixels are ``ignore``d.
        crowd: ``ignore``: what is marked ``iscrowd`` gets ``ignore_index`` where no other shape is;
            ``class``: it is drawn like others.
        drop_empty: Whether images without any shape of the classes are left out, in every split.
        **settings: Everything of ``SegmentationData``: preprocess, patch_size, batch_size, augment, ...

    Raises:
        SegfocalError: Naming file and entry: settings at once, files when a split is first used.
    """

    def __init__(
        self,
        root: str,
        annotations: str | dict[str, str],
        task: Task,
        classes: list[str] | dict[str, list[str]] | None = None,
        *,
        images: str | dict[str, str] = "images",
        split: Split | None = None,
        overlap: Overlap = "smaller",
        crowd: Crowd = "ignore",
        drop_empty: bool = False,
        **settings: Any,
    ) -> None:
        check_choice("overlap", overlap, OVERLAPS)
        check_choice("crowd", crowd, CROWDS)
        chosen = named_classes(classes, task=task)
        names = ["foreground"] if chosen is None else list(chosen)
        super().__init__(
            task=task, class_names=["background", *names] if task == "multiclass" else names, **settings
        )
        if self.ignore_index is None and (crowd == "ignore" or overlap == "ignore"):
            raise SegfocalError(
                "crowds and overlaps that are ignored need an ignore_index, got none. Set ignore_index: 255, "
                "or crowd: class and an overlap of smaller or later."
            )
        self.overlap, self.crowd = overlap, crowd
        self.layout = CocoLayout(
            Path(expand(root)), annotations, images, chosen, split, drop_empty, self.allow_leaks
        )
        self._images: dict[str, list[NamedImage]] = {}

    def source(self, split: SplitName) -> Source:
        """Return the cases of a split."""
        if not self._images:
            self._images = self.layout.divide(notes=self.notes)
        rule, chosen = self.layout.split, self._images[split]
        return CocoSource(
            chosen,
            [rule.group_of(name) if rule else name for name, _ in chosen],
            layers=self.num_classes if self.task == "multilabel" else None,
            overlap=self.overlap,
            crowd=self.crowd,
            ignore_index=self.ignore_index,
            rules=self.preprocess.rules(),
        )
