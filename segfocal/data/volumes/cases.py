"""Volumes of one split, read, checked, prepared, and kept in memory or on disk up to a limit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import CacheDataset, PersistentDataset
from monai.transforms import Transform
from torch import Tensor

from segfocal.data.cases import MIB, Labels, naming, threaded
from segfocal.data.labels import LabelRows, Mask
from segfocal.data.volumes.cache import CachePlan
from segfocal.data.volumes.counting import count_labels
from segfocal.data.volumes.preprocess import VolumePreprocess
from segfocal.data.volumes.reading import open_nifti
from segfocal.data.volumes.source import VolumeSource
from segfocal.errors import SegfocalError
from segfocal.imbalance.counts import Counts, Task


@dataclass(frozen=True, eq=False)
class VolumeCase:
    """A prepared volume.

    Args:
        image: ``(C, X, Y, Z)`` float32.
        labels: Mask ``(X, Y, Z)`` or ``(K, X, Y, Z)`` and its counts.
        spacing_mm: ``(3,)`` edges of a voxel.
        stored: Mask and affine of the file, where the image is resampled and the case is one to score.
    """

    image: Tensor
    labels: Labels
    spacing_mm: Tensor
    stored: tuple[Tensor, Tensor] | None = None


class VolumeCases:
    """Read the volumes of a source, at most once as long as the cache lasts.

    Args:
        source: Where they come from.
        preprocess: Axes, spacing and intensity.
        num_classes: Channels of the logits.
        cache: Where prepared volumes are kept, by MONAI's CacheDataset and PersistentDataset.
        scored: Whether the masks as they are stored are needed too.
    """

    def __init__(
        self,
        source: VolumeSource,
        *,
        preprocess: VolumePreprocess,
        num_classes: int,
        cache: CachePlan,
        scored: bool = False,
    ) -> None:
        self.source, self.preprocess, self.num_classes, self.cache = source, preprocess, num_classes, cache
        self.keeps_stored = scored and preprocess.spacing_mm is not None
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
        with _own_errors():
            found: Mapping[str, Tensor] = chosen[index]
        mask: Mask = found["mask"].numpy()
        rows = LabelRows(found["rows"].numpy(), found["negatives"].numpy())
        stored = (found["stored_mask"], found["stored_affine"]) if self.keeps_stored else None
        return VolumeCase(found["image"], Labels(mask, mask.shape[-3:], rows), found["spacing"], stored)

    def image(self, index: int) -> tuple[Tensor, Tensor]:
        """Return image and spacing of a volume whose mask is not asked for."""
        with naming(self.source.place(index)):
            image = self.preprocess.image(self.source.volume(index))
        return image.as_tensor(), torch.tensor(self.preprocess.spacing(image.affine))

    def labels(self, index: int) -> Labels:
        """Return the mask of a case."""
        return self.case(index).labels

    def holds(self, index: int) -> npt.NDArray[np.bool_]:
        """Return which classes the mask of a case holds on the grid of its file, that of scores."""
        case = self.case(index)
        if case.stored is None:
            return case.labels.rows.held()
        return count_labels(case.stored[0].numpy(), task=self.task, num_classes=self.num_classes).held()

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
        settings = json.dumps(
            [self.preprocess.to_dict(), self.source.values, self.source.ignored, self.task, self.keeps_stored]
        )
        items = [
            {"index": index, "stamp": self.source.stamp(index), "settings": settings}
            for index in range(len(self))
        ]
        prepare = _Prepare(self.source, self.preprocess, self.num_classes, keeps_stored=self.keeps_stored)
        room = self._fitting() if self.cache.kind == "memory" else 0
        workers = os.cpu_count()
        with _own_errors():
            kept = CacheDataset(items, prepare, cache_num=room, num_workers=workers, progress=False)
        place = self.cache.place()
        try:
            self._rest = PersistentDataset(items, prepare, cache_dir=place)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "a file"  # all that MONAI refuses
            raise SegfocalError(
                f"cache_dir {place} must be a folder that can be written to, got: {reason}. Name another."
            ) from error
        self._kept = kept

    def _fitting(self) -> int:
        """Return how many of the first volumes fit into memory, from their headers."""
        room = self.cache.mib * MIB
        for index, files in enumerate(self.source.files):
            image = open_nifti(files.mask)
            shape = np.array(image.shape[:3], dtype=float)
            planes = self.num_classes if self.task == "multilabel" else 1
            room -= float(np.prod(shape)) * planes if self.keeps_stored else 0.0
            if self.preprocess.spacing_mm is not None:
                shape *= np.array(self.preprocess.spacing(image.affine)) / self.preprocess.spacing_mm
            room -= float(np.prod(shape)) * (4 * self.source.channels + planes)
            if room < 0:
                return index
        return len(self)


class _Prepare(Transform):
    """Everything that is the same in every epoch."""

    def __init__(
        self, source: VolumeSource, preprocess: VolumePreprocess, num_classes: int, *, keeps_stored: bool
    ) -> None:
        self.source, self.preprocess, self.num_classes = source, preprocess, num_classes
        self.keeps_stored = keeps_stored

    def __call__(self, item: Mapping[str, Any]) -> dict[str, Tensor]:
        index = int(item["index"])
        with naming(self.source.place(index)):
            volume, stored = self.source.pair(index)
            image = self.preprocess.image(volume)
            mask = self.preprocess.mask(stored, volume.affine).as_tensor()
        layered = self.source.task == "multilabel"
        mask = (mask if layered else mask[0]).contiguous()
        rows = count_labels(mask.numpy(), task=self.source.task, num_classes=self.num_classes)
        kept = torch.from_numpy(np.ascontiguousarray(stored if layered else stored[0]))
        files = {"stored_mask": kept, "stored_affine": torch.from_numpy(np.array(volume.affine))}
        return (files if self.keeps_stored else {}) | {
            "image": image.as_tensor().contiguous(),
            "mask": mask,
            "rows": torch.from_numpy(rows.rows),
            "negatives": torch.from_numpy(rows.negatives),
            "spacing": torch.tensor(self.preprocess.spacing(image.affine)),
        }


@contextmanager
def _own_errors() -> Iterator[None]:
    """Take our errors out of those that MONAI wraps around whatever a transform raises."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, SegfocalError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None
