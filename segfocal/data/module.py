"""Images of two axes as a data module: crops, augmentation and whole images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segfocal.data.base import SPLITS, CaseData, Split
from segfocal.data.cases import Cases
from segfocal.data.checks import check_patch_size
from segfocal.data.patches import ImageDataset, PatchDataset
from segfocal.data.preprocess import Preprocess
from segfocal.data.source import Source
from segfocal.data.transforms import Augmentation
from segfocal.errors import check_choice
from segfocal.imbalance.background import Background
from segfocal.imbalance.counts import Task

__all__ = ["SPLITS", "SegmentationData", "Split"]


class SegmentationData(CaseData):
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
        cache_mib: Memory for decoded images and masks, in MiB per split (train, val).
        cache_dir: Folder for those that memory has no room for, in files that end with the process; null:
            they are decoded anew for every patch.
        num_workers: Loader processes; the samples do not depend on it.
        val_batch_size: Whole images per batch in validation and test; above 1 they must be of one size.
        allow_leaks: Names or groups of images that may lie in two splits, wildcards allowed
            (``["eye_07*"]``); null: none, and training refuses them.
        background: Number of the class that means over classes leave out; null: there is none, all classes
            count; "auto": class 0 of multiclass where its name says background or says nothing.

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
        cache_dir: str | None = None,
        num_workers: int = 0,
        val_batch_size: int = 1,
        allow_leaks: list[str] | None = None,
        background: Background = "auto",
    ) -> None:
        self.preprocess = preprocess if preprocess is not None else Preprocess()
        super().__init__(
            task=task,
            class_names=class_names,
            in_channels=self.preprocess.in_channels,
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
        self.patch_size, self.augment = check_patch_size(patch_size), augment
        self.augmentation = Augmentation(augment, ignore_index=ignore_index, in_channels=self.in_channels)
        self.cache_dir = cache_dir
        self._cases: dict[str, Cases] = {}

    @abstractmethod
    def source(self, split: Split) -> Source:
        """Return the cases of a split; an empty source where there is none. Called once per split."""

    def cases(self, split: Split) -> Cases:
        """Return the cases of a split, reading nothing yet."""
        check_choice("split", split, SPLITS)
        if split not in self._cases:
            trains = split in ("train", "val")  # test images are looked at once
            self._cases[split] = Cases(
                self.source(split),
                preprocess=self.preprocess,
                task=self.task,
                num_classes=self.num_classes,
                ignore_index=self.ignore_index,
                cache_mib=self.cache_mib if trains else 0.0,
                cache_dir=self.cache_dir if trains else None,
            )
        return self._cases[split]

    def patches(self, num_samples: int) -> PatchDataset:
        """Return the augmented training patches of one epoch."""
        return PatchDataset(
            self.cases("train"),
            patch_size=self.patch_size,
            num_samples=num_samples,
            foreground_share=self.foreground_share,
            augmentation=self.augmentation,
            seed=self.seed,
        )

    def wholes(self, split: Split, *, with_mask: bool) -> ImageDataset:
        """Return the whole images of a split."""
        # distances, which look at the edge of the region, are of final scores alone
        final = self.trainer is not None and self.trainer.state.fn != "fit"
        return ImageDataset(self.cases(split), with_mask=with_mask, with_region=final)

    def restored(self, scores: Tensor, batch: Mapping[str, Any], index: int) -> Tensor:
        """Return scores at the size of the file."""
        size = tuple(batch["stored_mask"][index].shape[-2:])
        return torch.from_numpy(self.preprocess.restore(scores.cpu().numpy(), size))

    def network_size(self) -> str | None:
        """Return the factor and the largest side to which images are reduced."""
        scale, longest = self.preprocess.scale, self.preprocess.longest_side
        parts = [] if scale == 1 else [f"scale {scale:g}"]
        parts += [] if longest is None else [f"at most {longest} px"]
        return " and ".join(parts) or None

    def preprocess_settings(self) -> dict[str, Any]:
        """Return the settings of ``preprocess``."""
        return self.preprocess.to_dict()
