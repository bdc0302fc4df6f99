"""What every data module shares, whatever its number of axes: splits, loaders, class counts, fingerprint."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segfocal.data.cases import CaseSet
from segfocal.data.checks import check_classes, check_labels
from segfocal.data.content import content_hashes, readable
from segfocal.data.leaks import Member, check_leaks
from segfocal.data.loaders import Patches, image_loader, patch_loader
from segfocal.data.patches import Sample
from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.imbalance.background import Background, auto_note, background_class
from segfocal.imbalance.counts import TASKS, Counts, Task

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
PATCHES_PER_IMAGE = 16


class CaseData(pl.LightningDataModule, ABC):
    """Cases with labels, divided into train, val and test.

    Samples are dicts: ``image`` float32 ``(C, *S)``, ``mask`` integers ``(*S)`` or ``(K, *S)`` for
    multilabel, ``name``, ``group``, ``index``. Where the network sees whole cases at another size than
    their files have, ``stored_mask`` is the mask of the file, a list in a batch: scores are of that size.
    ``stored_region``, likewise, says for final scores where pixels count.

    Args:
        task: What the masks mean.
        class_names: One per channel of the logits.
        in_channels: Channels of the images.
        ignore_index: Label of pixels without a class.
        seed: Seed of order, crops and augmentation.
        batch_size: Patches per batch and process.
        patches_per_epoch: Length of an epoch; null: 16 per training case, at least one batch.
        foreground_share: Share of patches placed over foreground.
        cache_mib: Memory for decoded cases, in MiB per split.
        num_workers: Loader processes.
        val_batch_size: Whole cases per batch in validation and test.
        allow_leaks: Names or groups of images that may lie in two splits, wildcards allowed; null: none.
        background: Number of the class that means over classes leave out; null: there is none, all classes
            count; "auto": class 0 of multiclass where its name says background or says nothing.

    Raises:
        SegfocalError: When settings contradict each other.
    """

    tile: tuple[int, ...] | None = None  # of the windows in which larger cases are scored; None: in one piece

    def __init__(
        self,
        *,
        task: Task,
        class_names: Sequence[str],
        in_channels: int,
        ignore_index: int | None,
        seed: int,
        batch_size: int,
        patches_per_epoch: int | None,
        foreground_share: float,
        cache_mib: float,
        num_workers: int,
        val_batch_size: int,
        allow_leaks: list[str] | None = None,
        background: Background = "auto",
    ) -> None:
        super().__init__()
        check_choice("task", task, TASKS)
        check_range("foreground_share", foreground_share, low=0.0, high=1.0)
        check_range("batch_size", batch_size, low=1)
        check_range("val_batch_size", val_batch_size, low=1)
        check_range("num_workers", num_workers, low=0)
        check_range("cache_mib", cache_mib, low=0.0)
        check_range("patches_per_epoch", 1 if patches_per_epoch is None else patches_per_epoch, low=1)
        check_classes(task, class_names, ignore_index=ignore_index)
        self.task, self.class_names, self.num_classes = task, list(class_names), len(class_names)
        self.in_channels, self.ignore_index, self.seed = in_channels, ignore_index, seed
        self.batch_size, self.val_batch_size, self.num_workers = batch_size, val_batch_size, num_workers
        self.patches_per_epoch, self.foreground_share = patches_per_epoch, foreground_share
        self.cache_mib, self.allow_leaks = cache_mib, list(allow_leaks or [])
        self.background = background_class(
            background, task=task, class_names=self.class_names, what="data.init_args.background"
        )
        self.background_note = auto_note(class_names) if (background, task) == ("auto", "multiclass") else ""
        self.notes: list[str] = []  # about the split, for the user
        self._leaks_checked = False
        self._resume = (0, 0)
        self._hashed: dict[Path, bytes] = {}

    @abstractmethod
    def cases(self, split: Split) -> CaseSet:
        """Return the cases of a split, reading nothing yet; the same object every time."""

    @abstractmethod
    def patches(self, num_samples: int) -> Patches:
        """Return the augmented training patches of one epoch, by key (epoch, index)."""

    @abstractmethod
    def wholes(self, split: Split, *, with_mask: bool) -> Dataset[Sample]:
        """Return the whole cases of a split in order."""

    @abstractmethod
    def restored(self, scores: Tensor, batch: Mapping[str, Any], index: int) -> Tensor:
        """Return scores at the size of the file, by the steps of the predictor.

        Args:
            scores: ``(C, *S)`` of one case, float32 in [0, 1].
            batch: With ``stored_mask``.
            index: Of the case in the batch.

        Returns:
            ``(C, *S')`` on the CPU.
        """

    @abstractmethod
    def network_size(self) -> str | None:
        """Return at which size the network sees the cases, in words; None: at that of their files."""

    @abstractmethod
    def preprocess_settings(self) -> dict[str, Any]:
        """Return what run.json keeps, so that the predictor prepares its input alike."""

    def splits(self) -> list[Split]:
        """Return the splits that have images, in order."""
        return [split for split in SPLITS if len(self.cases(split))]

    def class_counts(self) -> Counts:
        """Return the pixels per class of the training split, at the size that training sees.

        Returns:
            int64 ``(C,)`` for multiclass, ``(C, 2)`` (negatives, positives) for binary and multilabel.
        """
        return self._needed("train").counts()

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data: hashes of names, splits and content, and counts of images.

        Returns:
            ``sha256`` of all, ``splits`` (one of each split, so that others of the same test images are
            known), ``images`` (their number in each split), ``task`` and ``class_names``.
        """
        contents = self._hashed = self._contents()
        whole = hashlib.sha256(f"{self.task} {self.class_names}".encode())
        splits = {}
        for split in self.splits():
            digest = hashlib.sha256(f"{self.task} {self.class_names}".encode())
            source = self.cases(split).source
            for index, name in enumerate(source.names):
                digest.update(_bytes(f"\0{name}\0") + source.identity(index, contents))
            splits[split] = digest.hexdigest()
            whole.update(f"\0{split}\0{splits[split]}".encode())
        return {
            "sha256": whole.hexdigest(),
            "splits": splits,
            "images": {split: len(self.cases(split)) for split in self.splits()},
            "task": self.task,
            "class_names": self.class_names,
        }

    def former_sha256(self) -> str:
        """Return the hash of all that earlier versions wrote, which knows images by names and sizes alone."""
        digest = hashlib.sha256(f"{self.task} {self.class_names}".encode())
        for split in self.splits():
            source = self.cases(split).source
            for index, name in enumerate(source.names):
                digest.update(f"\0{split}\0{name}\0".encode() + source.former_identity(index))
        return digest.hexdigest()

    def file_hashes(self) -> dict[str, str]:
        """Return a hash of the content of every file behind the cases, by its path below their common folder.

        They are those of the last `fingerprint`, where there was one.
        Cases that lie in no file of ours are missing.
        """
        found = self._hashed or self._contents()
        if not found:
            return {}
        common = os.path.commonpath([os.path.abspath(path.parent) for path in found])
        return {readable(os.path.relpath(path, common)): each.hex() for path, each in found.items()}

    def _contents(self) -> dict[Path, bytes]:
        """Return hashes of the files of all cases; files that have not changed are not read again."""
        sources = [self.cases(split).source for split in self.splits()]
        return content_hashes(
            path for source in sources for index in range(len(source)) for path in source.case_files(index)
        )

    def setup(self, stage: str) -> None:
        """Find the images that a stage needs; for fit, see that there is something to learn and to score.

        Raises:
            SegfocalError: Where there are no images, one class only, or images in two splits.
        """
        if stage == "fit":
            self._check_leaks()
            check_labels(self._needed("train"))
            self.cases("val")
        else:
            self._needed("val" if stage == "validate" else "test")

    def resume_at(self, epoch: int, batch: int) -> None:
        """Let the next training loader begin at this batch of this epoch."""
        self._resume = (epoch, batch)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return augmented patches; each process gets its own."""
        ranks = self._ranks()
        fewest = self.batch_size * ranks[1]
        least = max(PATCHES_PER_IMAGE * len(self._needed("train")), fewest)
        return patch_loader(
            self.patches(self.patches_per_epoch or least),
            batch_size=self.batch_size,
            start=self._resume,
            ranks=ranks,
            num_workers=self.num_workers,
        )

    def val_dataloader(self) -> DataLoader[Sample] | list[Any]:
        """Return the whole validation images, or an empty list where there is no such split."""
        return self._whole("val") if len(self.cases("val")) else []

    def test_dataloader(self) -> DataLoader[Sample]:
        """Return the whole test images."""
        return self._whole("test")

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Return the test images without their masks."""
        return self._whole("test", with_mask=False)

    def _check_leaks(self) -> None:
        if self._leaks_checked:
            return
        members = []
        for split in self.splits():
            source = self.cases(split).source
            for index, (name, group) in enumerate(zip(source.names, source.groups, strict=True)):
                members.append(Member(split, name, group, source.image_files(index)))
        check_leaks(members, allowed=self.allow_leaks)
        self._leaks_checked = True

    def _whole(self, split: Split, *, with_mask: bool = True) -> DataLoader[Sample]:
        self._needed(split)
        return image_loader(
            self.wholes(split, with_mask=with_mask),
            batch_size=self.val_batch_size,
            ranks=self._ranks(),
            num_workers=self.num_workers,
        )

    def _needed(self, split: Split) -> CaseSet:
        cases = self.cases(split)
        if not len(cases):
            raise SegfocalError(f"there are no {split} images. Give the split {split} of the data some.")
        return cases

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)


def _bytes(text: str) -> bytes:
    """Return a name as bytes, also one that no encoding has."""
    return text.encode("utf-8", "surrogatepass")
