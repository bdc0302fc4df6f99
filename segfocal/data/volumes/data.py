"""Volumes with label maps as a data module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from segfocal.data.base import SPLITS, CaseData
from segfocal.data.base import Split as SplitName
from segfocal.data.checks import check_patch_size
from segfocal.data.parts import AS_GIVEN, divide_parts
from segfocal.data.splits import Split
from segfocal.data.volumes.augmentation import VolumeAugmentation
from segfocal.data.volumes.cache import Cache, CachePlan
from segfocal.data.volumes.cases import VolumeCases
from segfocal.data.volumes.classes import class_names, class_values
from segfocal.data.volumes.finding import find_volumes
from segfocal.data.volumes.layout import FIFTH, VolumeFiles
from segfocal.data.volumes.patches import VolumeDataset, VolumePatchDataset
from segfocal.data.volumes.preprocess import VolumePreprocess
from segfocal.data.volumes.source import VolumeSource, volume_presence
from segfocal.errors import SegfocalError, check_choice
from segfocal.imbalance.background import Background
from segfocal.imbalance.counts import Task


class NiftiData(CaseData):
    r"""Volumes in the folders of the Medical Segmentation Decathlon or of nnU-Net's raw data, or in a table.

    ``dataset.json`` says which files there are, what their channels are and what the labels mean. Volumes of
    all splits come from imagesTr and labelsTr. Samples are as in `SegmentationData`, with three axes, right,
    anterior, superior, and ``spacing``, the edges of a voxel in mm. Whole volumes are scored on the grid of
    their files, also where ``preprocess.spacing_mm`` gives the network another. An image may be a folder of
    the name its file would have, without ending, that holds a DICOM series. Other folders (one per patient, a
    file per channel) are listed in a ``table``, which ``segfocal fingerprint`` writes. With MONAI::

        datasets:
          train: {class_path: monai.apps.DecathlonDataset,
                  init_args: {root_dir: data, task: Task04_Hippocampus, section: training, download: true}}
          val: {class_path: monai.apps.DecathlonDataset,
                init_args: {root_dir: data, task: Task04_Hippocampus, section: validation}}

    Args:
        root: Folder with dataset.json, or what the paths of ``table`` start from; ``$SEGFOCAL_DATA`` in it
            stands for that environment variable. Null with ``datasets``.
        table: CSV, TSV or Parquet file, below ``root`` or anywhere, with the columns ``image`` (or
            ``image_<channel>`` for each channel; a folder is a DICOM series), ``mask``, and where wanted
            ``name``, ``group`` (patient) and ``split`` (train, val, test; ``split`` then divides those of
            train). Null: dataset.json.
        labels: For a table: class name to the value, or values, that stand for it in the label maps, such as
            ``{background: 0, edema: 2, tumour: [1, 4]}``; ``ignore``: values without a class.
        channels: For a table whose images hold channels on a fourth axis: their names.
        task: Null: ``"multilabel"`` where labels are regions that overlap, else ``"multiclass"``;
            ``"binary"`` takes every label but the background for the foreground.
        split: How the cases are divided; null: five folds, the first of which is the test split. With
            ``datasets``: how those of train are divided; null: each split has the data set named for it.
        datasets: ``train``, ``val`` and ``test`` to ``class_path`` and ``init_args``; their transforms and
            caches are not used.
        preprocess: Spacing and intensity.
        patch_size: Voxels of a patch along the three axes; one number or three. Smaller volumes are padded
            with 0 (``ignore_index`` in the mask) at the end of each axis.
        augment: Preset ``none``, ``mirror``, ``flips`` or ``medical``, or a list of presets and random
            dictionary transforms of MONAI given by ``class_path`` and ``init_args``.
        cache: ``"memory"``, ``"disk"`` or ``"none"``: where prepared volumes are kept.
        cache_dir: Folder for ``"disk"``, and for what ``cache_mib`` does not hold; null: ~/.cache/segfocal
            for ``"disk"``, and none for ``"memory"``.
        ignore_index: Label of voxels without a class, also used for padding.
        seed: Seed of order, crops and augmentation.
        batch_size: Patches per batch and process.
        patches_per_epoch: Length of an epoch; null: 16 per training volume.
        foreground_share: Share of patches placed over a voxel of a foreground class, drawn evenly among those
            in the volume.
        cache_mib: Memory for prepared volumes, in MiB per split (train, val).
        num_workers: Loader processes; the samples do not depend on it.
        val_batch_size: Whole volumes per batch in validation and test; above 1 they must be of one size.
        allow_leaks: Names or groups of volumes that may lie in two splits, wildcards allowed
            (``["case_07*"]``); null: none, and training refuses them.
        background: Number of the class that means over classes leave out; null: there is none, all classes
            count; "auto": class 0 of multiclass where its name says background or says nothing.

    Raises:
        SegfocalError: Naming file, expected, found and remedy.
    """

    def __init__(
        self,
        root: str | None = None,
        *,
        table: str | None = None,
        labels: dict[str, int | list[int]] | None = None,
        channels: list[str] | None = None,
        task: Task | None = None,
        split: Split | None = None,
        datasets: dict[str, dict[str, Any]] | None = None,
        preprocess: VolumePreprocess | None = None,
        patch_size: int | list[int] = 64,
        augment: str | list[str | dict[str, Any]] = "flips",
        cache: Cache = "memory",
        cache_dir: str | None = None,
        ignore_index: int | None = 255,
        seed: int = 0,
        batch_size: int = 2,
        patches_per_epoch: int | None = None,
        foreground_share: float = 0.5,
        cache_mib: float = 1024.0,
        num_workers: int = 0,
        val_batch_size: int = 1,
        allow_leaks: list[str] | None = None,
        background: Background = "auto",
    ) -> None:
        self.set, self.parts = find_volumes(root, datasets, table=table, labels=labels, channels=channels)
        if task is None:
            task = "multilabel" if self.set.regions else "multiclass"
        self.values = class_values(self.set, task)
        super().__init__(
            task=task,
            class_names=class_names(self.set, task),
            in_channels=len(self.set.channels),
            ignore_index=ignore_index,
            seed=seed,
            batch_size=batch_size,
            patches_per_epoch=patches_per_epoch,
            foreground_share=foreground_share,
            cache_mib=cache_mib,
            num_workers=num_workers,
            val_batch_size=val_batch_size,
            allow_leaks=allow_leaks,
            background=background,
        )
        if self.set.ignored and ignore_index is None:
            raise SegfocalError("dataset.json has a label 'ignore': set ignore_index to a number.")
        self.patch_size, self.augment = check_patch_size(patch_size, axes=3), augment
        given = preprocess if preprocess is not None else VolumePreprocess()
        x, y, z = given.tile or self.patch_size
        self.preprocess = replace(given, in_channels=self.in_channels, tile=(x, y, z))
        self.tile = (x, y, z)
        self.split = split if split is not None or datasets or self.set.splits else FIFTH
        self.cache, self.cache_dir = cache, cache_dir
        self.augmentation = VolumeAugmentation(augment, ignore_index=ignore_index)
        CachePlan(cache)
        self._files: dict[str, list[VolumeFiles]] = {}
        self._cases: dict[str, VolumeCases] = {}

    def cases(self, split: SplitName) -> VolumeCases:
        """Return the cases of a split, reading nothing yet."""
        check_choice("split", split, SPLITS)
        if split not in self._cases:
            source = VolumeSource(
                self._divided()[split],
                group_of=self.group_of,
                task=self.task,
                values=self.values,
                ignored=self.set.ignored,
                ignore_index=self.ignore_index,
                channels=self.in_channels,
            )
            # each test volume is read once: keeping it would gain nothing
            kind: Cache = "none" if split == "test" else self.cache
            self._cases[split] = VolumeCases(
                source,
                preprocess=self.preprocess,
                num_classes=self.num_classes,
                cache=CachePlan(kind, self.cache_mib, self.cache_dir),
                scored=split != "train",
            )
        return self._cases[split]

    def patches(self, num_samples: int) -> VolumePatchDataset:
        """Return the augmented training patches of one epoch."""
        return VolumePatchDataset(
            self.cases("train"),
            patch_size=self.patch_size,
            num_samples=num_samples,
            foreground_share=self.foreground_share,
            augmentation=self.augmentation,
            seed=self.seed,
        )

    def wholes(self, split: SplitName, *, with_mask: bool) -> VolumeDataset:
        """Return the whole volumes of a split."""
        return VolumeDataset(self.cases(split), with_mask=with_mask)

    def restored(self, scores: Tensor, batch: Mapping[str, Any], index: int) -> Tensor:
        """Return scores on the grid of the file."""
        shape = tuple(batch["stored_mask"][index].shape[-3:])
        affine = batch["stored_affine"][index].cpu().numpy()
        return torch.from_numpy(self.preprocess.restore_to(scores.cpu(), shape, affine))

    def network_size(self) -> str | None:
        """Return the edges of a voxel to which volumes are resampled."""
        spacing = self.preprocess.spacing_mm
        return None if spacing is None else " x ".join(f"{edge:g}" for edge in spacing) + " mm"

    def preprocess_settings(self) -> dict[str, Any]:
        """Return the settings of ``preprocess`` and the label values, under the name ``volume``."""
        return {
            "volume": self.preprocess.to_dict(),
            "values": [list(values) for values in self.values],
            "channels": list(self.set.channels),
        }

    def group_of(self, name: str) -> str:
        """Return the group of a volume: its patient in the table, else what ``split`` finds in the name."""
        return self.set.groups.get(name) or (self.split or AS_GIVEN).group_of(name)

    def _divided(self) -> dict[str, list[VolumeFiles]]:
        if not self._files:
            if self.split is not None and self.split.by_folder():
                raise SegfocalError(
                    "split must divide the cases of imagesTr by list, number, share or fold, got folders "
                    f"{self.split.rules()}."
                )
            if self.split is FIFTH:
                self.notes.append(
                    "split: null: the test volumes, a fifth, are drawn by the seed alone; write "
                    "data.init_args.split, e.g. {test_folds: 5, test_fold: 0}, to spread classes over splits"
                )
            every = {case.name: case for case in self.set.cases}
            names = divide_parts(
                self.parts,
                self.split,
                root=self.set.root,
                allowed=self.allow_leaks,
                group_of=self.group_of,
                presence=volume_presence(self.set, task=self.task, notes=self.notes),
            )
            self._files = {part: [every[name] for name in chosen] for part, chosen in names.items()}
        return self._files
