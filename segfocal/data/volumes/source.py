"""The volumes of one split as a source of cases."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from segfocal.data.source import Array, Source
from segfocal.data.strata import Presence, held_classes
from segfocal.data.volumes.classes import class_names, class_values
from segfocal.data.volumes.grid import Affine, check_same_grid, turned
from segfocal.data.volumes.layout import VolumeFiles, VolumeSet
from segfocal.data.volumes.reading import Volume, read_labels, read_volume
from segfocal.data.volumes.series import image_files
from segfocal.imbalance.counts import Task

MOST = 200  # label maps that are read to spread classes: each is a whole volume


class VolumeSource(Source):
    """The files of one split.

    Args:
        files: Images and label maps.
        group_of: Group of a case's name.
        task: What the masks mean.
        values: The label values of each class, the background first.
        ignored: Label values without a class.
        ignore_index: What they become.
        channels: Of the images.
    """

    def __init__(
        self,
        files: Sequence[VolumeFiles],
        *,
        group_of: Callable[[str], str],
        task: Task,
        values: Sequence[tuple[int, ...]],
        ignored: Sequence[int],
        ignore_index: int | None,
        channels: int,
    ) -> None:
        super().__init__([case.name for case in files], [group_of(case.name) for case in files])
        self.files, self.task, self.channels = list(files), task, channels
        self.values, self.ignored, self.ignore_index = list(values), list(ignored), ignore_index

    def volume(self, index: int) -> Volume:
        """Return the image as stored, and where it lies."""
        return read_volume(self.files[index].images, channels=self.channels)

    def labels(self, index: int) -> tuple[Array, Affine]:
        """Return labels ``(1, X, Y, Z)``, or 0/1 ``(K, X, Y, Z)`` for multilabel, and the affine."""
        known = [value for values in self.values for value in values]
        stored, affine, _ = read_labels(self.files[index].mask, known=sorted({*known, *self.ignored}))
        planes = self.values[1:] if self.task != "multiclass" else self.values
        dtype = np.int32 if len(planes) > 255 or (self.ignore_index or 0) > 255 else np.uint8
        found = np.stack([np.isin(stored, values) for values in planes]).astype(dtype)
        if self.task == "multiclass":
            found = found.argmax(axis=0, keepdims=True).astype(dtype)
        if self.ignored and self.ignore_index is not None:
            found[:, np.isin(stored, self.ignored)] = self.ignore_index
        return found, affine

    def image(self, index: int) -> Array:
        """Return the image alone."""
        return self.volume(index).array

    def mask(self, index: int) -> Array:
        """Return the labels alone."""
        return self.labels(index)[0]

    def pair(self, index: int) -> tuple[Volume, Array]:
        """Return image and labels, which must lie on one grid; those of a DICOM series may be turned."""
        volume, (labels, affine) = self.volume(index), self.labels(index)
        if volume.path.is_dir():  # whoever made the label map of a series chose the order of its axes
            labels, affine = turned(labels, affine, like=volume.affine)
        sizes = volume.array.shape[1:], labels.shape[1:]
        check_same_grid(volume.path, sizes[0], volume.affine, self.files[index].mask, sizes[1], affine)
        return volume, labels

    def place(self, index: int) -> str:
        """Return the path of the image."""
        return str(self.files[index].images[0])

    def image_files(self, index: int) -> tuple[Path, ...]:
        """Return the files of the image, one per channel or one for all; of DICOM series the slices."""
        return image_files(self.files[index])

    def case_files(self, index: int) -> tuple[Path, ...]:
        """Return the files of image and label map."""
        return (*self.image_files(index), self.files[index].mask)

    def identity(self, index: int, contents: Mapping[Path, bytes]) -> bytes:
        """Return a hash of what the label map and the image files hold, and of the names of these."""
        digest = hashlib.sha256(contents[self.files[index].mask])
        for path in self.image_files(index):
            digest.update(os.fsencode(path.name) + b"\0" + contents[path])
        return digest.digest()

    def former_identity(self, index: int) -> bytes:
        """Return a hash of the label map's bytes and of names and sizes of the image files."""
        case = self.files[index]
        digest = hashlib.sha256(case.mask.read_bytes())
        for path in self.image_files(index):
            digest.update(f"{path.name} {path.stat().st_size}".encode())
        return digest.digest()

    def stamp(self, index: int) -> str:
        """Return what changes when a file of the case does; reads no content."""
        return " ".join(_stamp(path) for path in (*self.image_files(index), self.files[index].mask))


def volume_presence(found: VolumeSet, *, task: Task, notes: list[str]) -> Presence:
    """Return which classes the label maps of volumes hold.

    Args:
        found: The volumes.
        task: What the masks mean.
        notes: Gathers sentences for the user.
    """
    every, names = {case.name: case for case in found.cases}, class_names(found, task)

    def read(name: str) -> list[int]:
        source = VolumeSource(
            [every[name]],
            group_of=str,
            task=task,
            values=class_values(found, task),
            ignored=found.ignored,
            ignore_index=None,
            channels=len(found.channels),
        )
        return held_classes(source.mask(0), task=task, count=len(names))

    return Presence(read, names, notes, most=MOST)


def _stamp(path: Path) -> str:
    state = path.stat()
    return f"{path} {state.st_size} {state.st_mtime_ns}"
