"""What every data module of segfocal shares: splits, loaders, class counts, fingerprint."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import pytorch_lightning as pl
from torch.utils.data import DataLoader

from segfocal.data.cases import Cases
from segfocal.data.checks import check_classes, check_labels, check_patch_size
from segfocal.data.loaders import image_loader, patch_loader
from segfocal.data.patches import ImageDataset, PatchDataset, Sample
from segfocal.data.preprocess import Preprocess
from segfocal.data.source import Source
from segfocal.data.transforms import Augmentation
from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.imbalance.counts import TASKS, Counts, Task

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
PATCHES_PER_IMAGE = 16


class SegmentationData(pl.LightningDataModule, ABC):
    """Images with masks, divided into train, val and test. A subclass says where they come from: ``source``.

    Training sees augmented patches, everything else whole images. Samples are dicts: ``image`` float32
    ``(C, H, W)``, ``mask`` integers ``(H, W)`` or ``(K, H, W)`` for multilabel, ``name``, ``group``,
    ``index``.

    Args:
        task: ``"binary"`` (one foreground class), ``"multiclass"`` (one class per pixel) or ``"multilabel"``
            (classes overlap).
        class_names: One per channel of the logits: binary 1, multiclass all classes, multilabel each label.
        preprocess: Channels, size and intensity of the images.
        ignore_index: Label of pixels without a class, also used for padded borders; null: there is none.
        seed: Seed of order, crops and augmentation.
        batch_size: Patches per batch and process.
        patch_size: Height and width of a patch in pixels; one number or two.
        patches_per_epoch: Length of an epoch; null: 16 per training image, at least one batch.
        foreground_share: Share of patches placed over a foreground pixel, of a class drawn evenly among those
            in the image (class 0 of multiclass is background); the rest lies anywhere.
        augment: Preset ``none``, ``flips``, ``medical`` or ``road``, or a list of presets and albumentations
            transforms given by ``class_path`` and ``init_args``.
        cache_mib: Memory for decoded images, in MiB per split (train, val).
        num_workers: Loader processes; the samples do not depend on it.
        val_batch_size: Whole images per batch in validation and test; above 1 they must be of one size.

    Raises:
        SegfocalError: When settings contradict each other.
    """

    def __init__(
        self,
        *,
        task: Task,
        class_names: Sequence[str],
        preprocess: Preprocess | None = None,
        ignore_index: int | None = 255,
        seed: int = 0,
        batch_size: int = 8,
        patch_size: int | list[int] = 256,
        patches_per_epoch: int | None = None,
        foreground_share: float = 0.5,
        augment: str | list[str | dict[str, Any]] = "flips",
        cache_mib: float = 1024.0,
        num_workers: int = 0,
        val_batch_size: int = 1,
    ) -> None:
        super().__init__()
        check_choice("task", task, TASKS)
        check_range("foreground_share", foreground_share, low=0.0, high=1.0)
        check_range("batch_size", batch_size, low=1)
        check_range("val_batch_size", val_batch_size, low=1)
        check_range("num_workers", num_workers, low=0)
        check_range("cache_mib", cache_mib, low=0.0)
        check_range("patches_per_epoch", 1 if patches_per_epoch is None else patches_per_epoch, low=1)
        self.task, self.class_names, self.num_classes = task, list(class_names), len(class_names)
        self.preprocess = preprocess if preprocess is not None else Preprocess()
        self.in_channels, self.ignore_index, self.seed = self.preprocess.in_channels, ignore_index, seed
        self.batch_size, self.val_batch_size, self.num_workers = batch_size, val_batch_size, num_workers
        self.patch_size = check_patch_size(patch_size)
        self.patches_per_epoch, self.foreground_share = patches_per_epoch, foreground_share
        self.augment, self.cache_mib = augment, cache_mib
        check_classes(task, class_names, ignore_index=ignore_index)
        self.augmentation = Augmentation(augment, ignore_index=ignore_index, in_channels=self.in_channels)
        self._cases: dict[str, Cases] = {}
        self._resume = (0, 0)

    @abstractmethod
    def source(self, split: Split) -> Source:
        """Return the cases of a split; an empty source where there is none. Called once per split."""

    def splits(self) -> list[Split]:
        """Return the splits that have images, in order."""
        return [split for split in SPLITS if len(self.cases(split))]

    def cases(self, split: Split) -> Cases:
        """Return the cases of a split, reading nothing yet."""
        check_choice("split", split, SPLITS)
        if split not in self._cases:
            self._cases[split] = Cases(
                self.source(split),
                preprocess=self.preprocess,
                task=self.task,
                num_classes=self.num_classes,
                ignore_index=self.ignore_index,
                cache_mib=self.cache_mib if split in ("train", "val") else 0.0,
            )
        return self._cases[split]

    def class_counts(self) -> Counts:
        """Return the pixels per class of the training split, at the size that training sees.

        Returns:
            int64 ``(C,)`` for multiclass, ``(C, 2)`` (negatives, positives) for binary and multilabel.
        """
        return self._needed("train").counts()

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies the data: a sha256 of names, splits and content, and counts of images."""
        digest = hashlib.sha256(f"{self.task} {self.class_names}".encode())
        for split in self.splits():
            source = self.cases(split).source
            for index, name in enumerate(source.names):
                digest.update(f"\0{split}\0{name}\0".encode() + source.identity(index))
        images = {split: len(self.cases(split)) for split in self.splits()}
        return {
            "sha256": digest.hexdigest(),
            "images": images,
            "task": self.task,
            "class_names": self.class_names,
        }

    def setup(self, stage: str) -> None:
        """Find the images that a stage needs; for fit, see that there is something to learn."""
        if stage == "fit":
            check_labels(self._needed("train"))
            self.cases("val")
        else:
            self._needed("val" if stage == "validate" else "test")

    def resume_at(self, epoch: int, batch: int) -> None:
        """Let the next training loader begin at this batch of this epoch."""
        self._resume = (epoch, batch)

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return augmented patches; each process gets its own."""
        cases = self._needed("train")
        ranks = self._ranks()
        fewest = self.batch_size * ranks[1]
        dataset = PatchDataset(
            cases,
            patch_size=self.patch_size,
            num_samples=self.patches_per_epoch or max(PATCHES_PER_IMAGE * len(cases), fewest),
            foreground_share=self.foreground_share,
            augmentation=self.augmentation,
            seed=self.seed,
        )
        return patch_loader(
            dataset,
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

    def _whole(self, split: Split, *, with_mask: bool = True) -> DataLoader[Sample]:
        return image_loader(
            ImageDataset(self._needed(split), with_mask=with_mask),
            batch_size=self.val_batch_size,
            ranks=self._ranks(),
            num_workers=self.num_workers,
        )

    def _needed(self, split: Split) -> Cases:
        cases = self.cases(split)
        if not len(cases):
            raise SegfocalError(f"there are no {split} images. Give the split {split} of the data some.")
        return cases

    def _ranks(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
