"""Generated pictures as a data module, with the exact posterior of every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.data.module import SPLITS, SegmentationData, Split
from segfocal.data.preprocess import Preprocess
from segfocal.data.synthetic.scene import SHARES
from segfocal.data.synthetic.shapes import KINDS, Kind
from segfocal.data.synthetic.source import SyntheticSource
from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.imbalance.background import Background
from segfocal.imbalance.counts import TASKS, Task

APPEARANCE = ("plain", "striped", "chequered")
SMALLEST_PX = 32


class SyntheticData(SegmentationData):
    """Generated vessels, lesions or lanes, for which the truth is known exactly.

    Pictures are uint8 with uneven light, texture, noise and decoys, so that no intensity threshold finds the
    foreground. Multiclass has the background and ``foreground_classes`` more, the later the rarer; multilabel
    has as many labels, which overlap. `posterior` gives the probabilities that the labels were drawn with.
    To check calibration, train on whole pictures (``patch_size`` = ``image_size``) or with
    ``foreground_share=0``: patches placed on foreground show more of it than the pictures have.

    Args:
        kind: ``"vessels"``, ``"lesions"`` or ``"lanes"``.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        foreground: Fraction of pixels with a foreground label, 0.0005 to 0.2.
        image_size: Height and width in pixels, one number or two, at least 32.
        train_images: Number of training pictures; fewer are a part of more, val and test stay as they are.
        val_images: Number of validation pictures.
        test_images: Number of test pictures.
        channels: Channels of the pictures.
        foreground_classes: Foreground classes of multiclass and labels of multilabel, 1 to 3; null: 3. A
            binary task has one.
        ignore_index: As in `SegmentationData`; the generator itself ignores nothing.
        seed: Seed of pictures, labels, order, crops and augmentation.
        batch_size: As in `SegmentationData`.
        patch_size: As in `SegmentationData`.
        patches_per_epoch: As in `SegmentationData`.
        foreground_share: As in `SegmentationData`.
        augment: As in `SegmentationData`.
        cache_mib: As in `SegmentationData`; 0 generates every picture anew each time.
        num_workers: As in `SegmentationData`.
        val_batch_size: As in `SegmentationData`.
        background: As in `SegmentationData`.

    Raises:
        SegfocalError: For settings outside their range.

    Example:
        >>> data = SyntheticData(kind="lanes", task="multilabel", foreground=0.02, image_size=64)
        >>> data.num_classes, data.posterior("test", 0).shape
        (3, (3, 64, 64))
    """

    def __init__(
        self,
        *,
        kind: Kind = "vessels",
        task: Task = "binary",
        foreground: float = 0.05,
        image_size: int | list[int] = 128,
        train_images: int = 64,
        val_images: int = 16,
        test_images: int = 16,
        channels: int = 1,
        foreground_classes: int | None = None,
        ignore_index: int | None = 255,
        seed: int = 0,
        batch_size: int = 8,
        patch_size: int | list[int] = 96,
        patches_per_epoch: int | None = None,
        foreground_share: float = 0.5,
        augment: str | list[str | dict[str, Any]] = "flips",
        cache_mib: float = 1024.0,
        num_workers: int = 0,
        val_batch_size: int = 1,
        background: Background = "auto",
    ) -> None:
        check_choice("kind", kind, KINDS)
        check_choice("task", task, TASKS)
        check_range("foreground", foreground, low=0.0005, high=0.2)
        check_range("channels", channels, low=1)
        check_range("seed", seed, low=0)
        counts = {"train": train_images, "val": val_images, "test": test_images}
        for split, count in counts.items():
            check_range(f"{split}_images", count, low=0)
        self.kind, self.foreground, self.channels = kind, foreground, channels
        self.layers = _layers(task, foreground_classes)
        self.image_size = _shape(image_size)
        self._counts = counts
        super().__init__(
            task=task,
            class_names=_names(kind, task, self.layers),
            preprocess=Preprocess(in_channels=channels),
            ignore_index=ignore_index,
            seed=seed,
            batch_size=batch_size,
            patch_size=patch_size,
            patches_per_epoch=patches_per_epoch,
            foreground_share=foreground_share,
            augment=augment,
            cache_mib=cache_mib,
            num_workers=num_workers,
            val_batch_size=val_batch_size,
            background=background,
        )

    def source(self, split: Split) -> SyntheticSource:
        """Return the generator of a split."""
        return SyntheticSource(
            split,
            count=self._counts[split],
            seed=self.seed,
            kind=self.kind,
            task=self.task,
            layers=self.layers,
            shape=self.image_size,
            foreground=self.foreground,
            channels=self.channels,
        )

    def posterior(self, split: Split, index: int) -> npt.NDArray[np.float32]:
        """Return P(label | scene) of a case; a sample's ``index`` says which it is.

        Args:
            split: ``"train"``, ``"val"`` or ``"test"``.
            index: Number of the case in the split.

        Returns:
            float32 ``(num_classes, H, W)``; sums to 1 over the classes for multiclass.

        Raises:
            SegfocalError: For an unknown split or an index outside it.
        """
        check_choice("split", split, SPLITS)
        check_range("index", index, low=0, high=self._counts[split] - 1)
        return self.source(split).posterior(index)


def _layers(task: Task, foreground_classes: int | None) -> int:
    most = 1 if task == "binary" else max(SHARES)
    if foreground_classes is None:
        return most
    if not 1 <= foreground_classes <= most:
        raise SegfocalError(
            f"foreground_classes must lie in 1 to {most} for {task}, got {foreground_classes}."
        )
    return foreground_classes


def _shape(image_size: int | list[int]) -> tuple[int, int]:
    pair = [image_size, image_size] if isinstance(image_size, int) else list(image_size)
    if len(pair) != 2 or min(pair) < SMALLEST_PX:
        raise SegfocalError(
            f"image_size must be one or two numbers of at least {SMALLEST_PX} px, got {image_size}."
        )
    return pair[0], pair[1]


def _names(kind: Kind, task: Task, layers: int) -> list[str]:
    if task == "binary":
        return [kind.removesuffix("s")]
    return (["background"] if task == "multiclass" else []) + list(APPEARANCE[:layers])
