"""Data sets of other libraries as a data module: what gives pairs of image and mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segfocal.data.coding import MaskSettings
from segfocal.data.foreign.making import check_parts, make_dataset
from segfocal.data.foreign.source import ForeignSource, Key
from segfocal.data.module import SegmentationData
from segfocal.data.module import Split as SplitName
from segfocal.data.parts import divide_parts, names_below
from segfocal.data.source import Source
from segfocal.data.splits import Split
from segfocal.data.strata import Presence, held_classes
from segfocal.errors import SegfocalError, nearest
from segfocal.imbalance.counts import Task


class ForeignData(SegmentationData):
    """Any data sets that give pairs of image and mask, by class path: those of torchvision and your own.

    Pairs are pictures of Pillow or arrays; masks ``(H, W)``, ``(H, W, 3)`` with ``colors``, or for
    multilabel ``(K, H, W)``. Pascal VOC, whose masks are what ``values`` expects as it stands::

        datasets:
          train: {class_path: torchvision.datasets.VOCSegmentation,
                  init_args: {root: data, image_set: train, download: true}}
          val: {class_path: torchvision.datasets.VOCSegmentation, init_args: {root: data, image_set: val}}
        image_files: images

    SBDataset takes ``mode: segmentation``; Cityscapes ``target_type: semantic``, ``values: {7: 0, 8: 1, 11:
    2, ...}`` from its ids to the classes and ``other: 255``; OxfordIIITPet ``target_types: segmentation``,
    ``values: {1: 1, 2: 0}`` and ``ignore_values: [3]``.

    Args:
        datasets: ``train``, ``val`` and ``test`` to ``class_path`` and ``init_args``; ``download: true`` does
            what the class makes of it. ``$SEGFOCAL_DATA`` in arguments stands for that variable.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        class_names: As in ``FileData``.
        split: Divides the data set of train; null: each split has the data set named for it.
        image_files: Attribute of the data sets that lists the image files, e.g. ``images`` (OxfordIIITPet:
            ``_images``): names, groups and the search for images in two splits come from it. Null: images are
            numbered as the data set has them.
        values: As in ``FileData``.
        ignore_values: As in ``FileData``.
        colors: As in ``FileData``; a csv file lies below the current directory.
        ignore_colors: As in ``FileData``.
        other: As in ``FileData``.
        **settings: Everything of ``SegmentationData``: preprocess, patch_size, batch_size, augment, ...

    Raises:
        SegfocalError: Naming the data set, what it gave and the remedy: settings at once, data sets when a
            split is first used.
    """

    def __init__(
        self,
        datasets: dict[str, dict[str, Any]],
        task: Task,
        class_names: list[str] | None = None,
        *,
        split: Split | None = None,
        image_files: str | None = None,
        values: dict[int, int] | None = None,
        ignore_values: list[int] | None = None,
        colors: dict[str, str | list[int]] | str | None = None,
        ignore_colors: list[str | list[int]] | None = None,
        other: int | None = None,
        threshold: float | None = None,
        **settings: Any,
    ) -> None:
        check_parts(datasets)
        masks = MaskSettings(Path(), values, ignore_values, colors, ignore_colors, other, threshold)
        super().__init__(task=task, class_names=masks.names(class_names, task=task), **settings)
        self.coding = masks.coding(self.class_names, task=task, ignore_index=self.ignore_index)
        self.datasets, self.split, self.image_files = datasets, split, image_files
        self._made: dict[str, Any] = {}
        self._keys: dict[str, dict[str, Key]] = {}
        self._files: dict[Key, Path] = {}

    def source(self, split: SplitName) -> Source:
        """Return the cases of a split."""
        if not self._made:
            self._make()
        return self._source(self._keys[split], self._made)

    def _source(self, keys: Mapping[str, Key], made: Mapping[str, Any]) -> ForeignSource:
        return ForeignSource(
            keys,
            [self.split.group_of(name) if self.split else name for name in keys],
            made=made,
            files={key: path for key, path in self._files.items() if key in set(keys.values())},
            coding=self.coding,
            layered=self.task == "multilabel",
        )

    def _make(self) -> None:
        made = {part: make_dataset(spec, part) for part, spec in self.datasets.items()}
        keys = [(part, number) for part, dataset in made.items() for number in range(len(dataset))]
        if self.image_files is not None:
            files = [
                path for part, dataset in made.items() for path in _listed(dataset, self.image_files, part)
            ]
            self._files = dict(zip(keys, files, strict=True))
            names = names_below(files)
        else:
            names = [f"{part}/{number:06d}" for part, number in keys]
        parts: dict[str, dict[str, Key]] = {part: {} for part in made}
        for name, key in zip(names, keys, strict=True):
            if parts[key[0]].setdefault(name, key) != key:
                raise SegfocalError(f"datasets.{key[0]} lists the image {name!r} twice.")
        divided = divide_parts(
            {part: list(found) for part, found in parts.items()},
            self.split,
            root=Path(),
            allowed=self.allow_leaks,
            presence=self._presence(parts.get("train", {}), made),
        )
        self._keys = {
            part: {name: _key(parts, part, name) for name in chosen} for part, chosen in divided.items()
        }
        self._made = made

    def _presence(self, keys: Mapping[str, Key], made: Mapping[str, Any]) -> Presence:
        """Return which classes the masks of train hold; one thread, as other people's data sets expect."""

        def read(name: str) -> list[int]:
            mask = self._source({name: keys[name]}, made).mask(0)
            return held_classes(mask, task=self.task, count=self.num_classes)

        return Presence(read, self.class_names, self.notes, workers=1)


def _key(parts: Mapping[str, Mapping[str, Key]], part: str, name: str) -> Key:
    """Return where an image is: in its split's own data set, or in that of train, which ``split`` divides."""
    own = parts.get(part, {})
    return own[name] if name in own else parts["train"][name]


def _listed(dataset: Any, attribute: str, part: str) -> list[Path]:
    listed = vars(dataset).get(attribute)
    if not isinstance(listed, Sequence) or isinstance(listed, str) or len(listed) != len(dataset):
        hint = nearest(attribute, vars(dataset))
        raise SegfocalError(
            f"image_files must name the attribute of datasets.{part} that lists a file for each of its "
            f"{len(dataset)} images, got {attribute!r}.{hint}"
        )
    return [Path(str(path)) for path in listed]
