"""Volumes of one split, read, checked, prepared, and kept in memory or on disk up to a limit."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.data import CacheDataset, PersistentDataset
from monai.transforms import Transform
from torch import Tensor

from segfocal.data.cases import MIB, Labels, naming, threaded
from segfocal.data.labels import LabelRows, Mask
from segfocal.data.volumes.preprocess import VolumePreprocess
from segfocal.data.volumes.reading import open_nifti
from segfocal.data.volumes.source import VolumeSource
from segfocal.errors import check_choice
from segfocal.imbalance.counts import Counts, Task

Cache = Literal["none", "memory", "disk"]
CACHES: tuple[Cache, ...] = ("none", "memory", "disk")
SLAB = 16


@dataclass(frozen=True)
class CachePlan:
    """Where prepared volumes are kept, so that they are read and resampled once.

    Args:
        kind: ``"memory"``, ``"disk"`` or ``"none"``.
        mib: Memory for them, in MiB; the rest goes to ``folder``, or is read anew where that is null.
        folder: On disk; null with ``"disk"``: ``volumes`` below ``$SEGFOCAL_CACHE``, or ~/.cache/segfocal.
    """

    kind: Cache = "memory"
    mib: float = 1024.0
    folder: str | None = None

    def __post_init__(self) -> None:
        check_choice("cache", self.kind, CACHES)

    def place(self) -> Path | None:
        """Return the folder of the volumes that are not in memory."""
        if self.kind == "none":
            return None
        if self.folder is None and self.kind == "disk":
            return Path(os.environ.get("SEGFOCAL_CACHE", Path.home() / ".cache" / "segfocal")) / "volumes"
        return None if self.folder is None else Path(self.folder)


@dataclass(frozen=True, eq=False)
class VolumeCase:
    """A prepared volume.

    Args:
        image: ``(C, X, Y, Z)`` float32.
        labels: Mask ``(X, Y, Z)`` or ``(K, X, Y, Z)`` and its counts.
        spacing_mm: ``(3,)`` edges of a voxel.
    """

    image: Tensor
    labels: Labels
    spacing_mm: Tensor


class VolumeCases:
    """Read the volumes of a source, at most once as long as the cache lasts.

    Args:
        source: Where they come from.
        preprocess: Axes, spacing and intensity.
        num_classes: Channels of the logits.
        cache: Where prepared volumes are kept, by MONAI's CacheDataset and PersistentDataset.
    """

    def __init__(
        self, source: VolumeSource, *, preprocess: VolumePreprocess, num_classes: int, cache: CachePlan
    ) -> None:
        self.source, self.preprocess, self.num_classes, self.cache = source, preprocess, num_classes, cache
        self.task: Task = source.task
        self.ignore_index = source.ignore_index
        self._kept: CacheDataset | None = None
        self._rest: PersistentDataset | None = None

    def __len__(self) -> int:
        return len(self.source)

    def case(self, index: int) -> VolumeCase:
        """Return a prepared volume. It may be the cached one: never write into it."""
        self.fill()
        assert self._kept is not None
        assert self._rest is not None
        chosen = self._kept if index < self._kept.cache_num else self._rest
        found: Mapping[str, Tensor] = chosen[index]
        mask: Mask = found["mask"].numpy()
        rows = LabelRows(found["rows"].numpy(), found["negatives"].numpy())
        return VolumeCase(found["image"], Labels(mask, mask.shape[-3:], rows), found["spacing"])

    def image(self, index: int) -> tuple[Tensor, Tensor]:
        """Return image and spacing of a volume whose mask is not asked for."""
        with naming(self.source.place(index)):
            image = self.preprocess.image(self.source.volume(index))
        return image.as_tensor(), torch.tensor(self.preprocess.spacing(image.affine))

    def labels(self, index: int) -> Labels:
        """Return the mask of a case."""
        return self.case(index).labels

    def counts(self) -> Counts:
        """Return the voxels per class of all cases: ``(C,)`` for multiclass, else ``(C, 2)``."""
        self.fill()
        found = threaded(lambda index: self.labels(index).rows.counts(self.task), range(len(self)))
        total: Counts = np.sum(found, axis=0, dtype=np.int64)
        return total

    def fill(self) -> None:
        """Read as many cases as the memory holds: worker processes then share them."""
        if self._kept is not None:
            return
        settings = json.dumps([self.preprocess.to_dict(), self.source.values, self.source.ignored, self.task])
        items = [
            {"index": index, "stamp": self.source.stamp(index), "settings": settings}
            for index in range(len(self))
        ]
        prepare = _Prepare(self.source, self.preprocess, self.num_classes)
        room = self._fitting() if self.cache.kind == "memory" else 0
        self._kept = CacheDataset(items, prepare, cache_num=room, num_workers=os.cpu_count(), progress=False)
        self._rest = PersistentDataset(items, prepare, cache_dir=self.cache.place())

    def _fitting(self) -> int:
        """Return how many of the first volumes fit into memory, from their headers."""
        room = self.cache.mib * MIB
        for index, files in enumerate(self.source.files):
            image = open_nifti(files.mask)
            shape = np.array(image.shape[:3], dtype=float)
            if self.preprocess.spacing_mm is not None:
                shape *= np.array(self.preprocess.spacing(image.affine)) / self.preprocess.spacing_mm
            planes = self.num_classes if self.task == "multilabel" else 1
            room -= float(np.prod(shape)) * (4 * self.source.channels + planes)
            if room < 0:
                return index
        return len(self)


class _Prepare(Transform):
    """Everything that is the same in every epoch."""

    def __init__(self, source: VolumeSource, preprocess: VolumePreprocess, num_classes: int) -> None:
        self.source, self.preprocess, self.num_classes = source, preprocess, num_classes

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Tensor]:
        index = int(item["index"])
        with naming(self.source.place(index)):
            volume, stored = self.source.pair(index)
            image = self.preprocess.image(volume)
            mask = self.preprocess.mask(stored, volume.affine).as_tensor()
        mask = (mask if self.source.task == "multilabel" else mask[0]).contiguous()
        rows = count_labels(mask.numpy(), task=self.source.task, num_classes=self.num_classes)
        return {
            "image": image.as_tensor().contiguous(),
            "mask": mask,
            "rows": torch.from_numpy(rows.rows),
            "negatives": torch.from_numpy(rows.negatives),
            "spacing": torch.tensor(self.preprocess.spacing(image.affine)),
        }


def flat(mask: Mask) -> Mask:
    """Return a mask of three axes as one of two, the last two joined.

    Args:
        mask: ``(X, Y, Z)`` or ``(K, X, Y, Z)``.
    """
    return mask.reshape(*mask.shape[:-2], -1)


def count_labels(mask: Mask, *, task: Task, num_classes: int) -> LabelRows:
    """Count a volume's voxels per class and first axis, a few slices at a time.

    Args:
        mask: ``(X, Y, Z)`` or ``(K, X, Y, Z)``.
        task: What it means.
        num_classes: Channels of the logits.
    """
    slabs = [flat(mask[..., x : x + SLAB, :, :]) for x in range(0, mask.shape[-3], SLAB)]
    counted = [LabelRows.of(slab, task=task, num_classes=num_classes) for slab in slabs]
    negatives: Counts = np.sum([part.negatives for part in counted], axis=0, dtype=np.int64)
    return LabelRows(np.concatenate([part.rows for part in counted], axis=1), negatives)
