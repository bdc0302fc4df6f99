"""Training patches and whole images as samples: dicts of tensors, ready to collate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from segfocal.data.cases import Cases, Labels, Picture, naming
from segfocal.data.labels import Mask
from segfocal.data.landmarks import Landmarks
from segfocal.data.preprocess import Image
from segfocal.data.sampling import Key, sample_rng
from segfocal.data.transforms import Augmentation
from segfocal.errors import SegfocalError

Sample = dict[str, Any]


class PatchDataset(Dataset[Sample]):
    """Random patches; the sample of a key ``(epoch, index)`` depends on (seed, epoch, index) alone.

    Sample ``index`` of epoch ``e`` comes from image ``(e * num_samples + index) % len(cases)``, so that all
    images are used equally often, also when an epoch is shorter than the list.

    Args:
        cases: The training cases.
        patch_size: Height and width in pixels. Smaller images are padded with 0 below and on the right,
            their masks with the ignore label.
        num_samples: Patches per epoch.
        foreground_share: Share of patches that are placed over a foreground pixel.
        augmentation: Applied after the crop.
        seed: Seed of everything random here.
    """

    def __init__(
        self,
        cases: Cases,
        *,
        patch_size: tuple[int, ...],
        num_samples: int,
        foreground_share: float,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.cases, self.patch_size, self.num_samples = cases, patch_size, num_samples
        self.foreground_share, self.augmentation, self.seed = foreground_share, augmentation, seed

    def __len__(self) -> int:
        return self.num_samples

    def fill(self) -> None:
        """Read as many cases as are kept in memory."""
        self.cases.fill()

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        case = (epoch * self.num_samples + index) % len(self.cases)
        rng = sample_rng(self.seed, epoch, index)
        picture, labels = self.cases.pair(case)
        top, left = self._corner(labels, rng)
        bottom, right = top + self.patch_size[0], left + self.patch_size[1]
        with naming(self.cases.source.place(case)):
            image, mask = self._padded(
                picture.image[top:bottom, left:right], labels.mask[..., top:bottom, left:right]
            )
            marks = _landmarks(self.cases, case, picture, corner=(top, left))
            image, mask, marks = self._augmented(self.cases.preprocess.unit(image), mask, marks, rng)
        planes = self.cases.preprocess.standardize(image, picture.mean, picture.std)
        return _sample(self.cases, case, planes, mask, marks)

    def _augmented(
        self, image: Image, mask: Mask, marks: Landmarks | None, rng: np.random.Generator
    ) -> tuple[Image, Mask, Landmarks | None]:
        if marks is None:
            return (*self.augmentation(image, mask, rng), None)
        image, mask, points = self.augmentation.with_points(image, mask, marks.points(image.shape), rng)
        marks, swapped = marks.moved(points)
        return image, marks.relabelled(mask) if swapped else mask, marks

    def _corner(self, labels: Labels, rng: np.random.Generator) -> tuple[int, int]:
        """A pixel of the foreground lies in the middle where the border allows it, else anywhere."""
        room = np.maximum(np.array(labels.mask.shape[-2:]) - self.patch_size, 0)
        pixel = None
        if rng.random() < self.foreground_share:
            pixel = labels.rows.draw(labels.mask, rng, task=self.cases.task)
        if pixel is None:
            corner = rng.integers(0, room + 1)
        else:
            corner = np.clip(np.array(pixel) - np.array(self.patch_size) // 2, 0, room)
        return int(corner[0]), int(corner[1])

    def _padded(self, image: Image, mask: Mask) -> tuple[Image, Mask]:
        down, right = (want - have for want, have in zip(self.patch_size, image.shape[:2], strict=True))
        if down == 0 and right == 0:
            return image, mask
        ignore = self.cases.ignore_index
        if ignore is None:
            raise SegfocalError(
                f"an image of {image.shape[:2]} pixels is smaller than the patch {self.patch_size} and there "
                "is no ignore_index to fill the border with. Lower patch_size or set ignore_index."
            )
        image = np.pad(image, ((0, down), (0, right), (0, 0)))
        mask = np.pad(mask, ((0, 0),) * (mask.ndim - 2) + ((0, down), (0, right)), constant_values=ignore)
        return image, mask


class ImageDataset(Dataset[Sample]):
    """Whole images in order, as validation, test and prediction see them.

    Where ``preprocess`` resizes, ``stored_mask`` is the mask at the size of its file: scores are of that.

    Args:
        cases: The cases of the split.
        with_mask: False leaves the masks unread and out of the samples.
        with_region: Adds ``stored_region``, where pixels count, of that size, to the samples of cases that
            have one.
    """

    def __init__(self, cases: Cases, *, with_mask: bool = True, with_region: bool = False) -> None:
        self.cases, self.with_mask, self.with_region = cases, with_mask, with_region

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Sample:
        if self.with_mask:
            picture, labels = self.cases.pair(index)
        else:
            picture, labels = self.cases.picture(index), None
        preprocess = self.cases.preprocess
        planes = preprocess.standardize(preprocess.unit(picture.image), picture.mean, picture.std)
        marks = _landmarks(self.cases, index, picture) if labels else None
        sample = _sample(self.cases, index, planes, labels.mask if labels else None, marks)
        stored = self.cases.stored_mask(index) if labels else None
        region = self.cases.source.region(index) if labels and self.with_region else None
        files = {"stored_mask": stored, "stored_region": region}
        return sample | {key: torch.from_numpy(np.array(of)) for key, of in files.items() if of is not None}


def collate(samples: list[Sample]) -> Sample:
    """Stack samples into a batch. Nothing is padded: they must have one size, but for what is as stored.

    Args:
        samples: Dicts of tensors, strings and numbers with the same keys.

    Raises:
        SegfocalError: Naming two images of different sizes.
    """
    shapes = {tuple(sample["image"].shape): sample["name"] for sample in samples}
    if len(shapes) > 1:
        (one, first), (other, second) = list(shapes.items())[:2]
        raise SegfocalError(
            f"a batch of whole images needs one size, got {one} in {first!r} and {other} in {second!r}. "
            "Set val_batch_size: 1."
        )
    batch: Sample = {}
    for key, value in samples[0].items():
        column = [sample[key] for sample in samples]
        if isinstance(value, torch.Tensor) and not key.startswith("stored_"):
            # numpy copies on this thread; torch.stack waits for its thread pool, 40 ms on a busy machine
            batch[key] = torch.from_numpy(np.stack([tensor.numpy() for tensor in column]))
        else:
            batch[key] = torch.tensor(column) if isinstance(value, int) else column
    return batch


def _landmarks(
    cases: Cases, index: int, picture: Picture, *, corner: tuple[int, int] = (0, 0)
) -> Landmarks | None:
    marks = cases.source.landmarks(index)
    return None if marks is None else marks.placed(picture.stored_size, picture.image.shape, corner=corner)


def _sample(cases: Cases, index: int, planes: Image, mask: Mask | None, marks: Landmarks | None) -> Sample:
    sample: Sample = {"image": torch.from_numpy(planes)} | (marks.sample() if marks is not None else {})
    if mask is not None:
        # a copy: the cached mask is never lent out
        sample["mask"] = torch.from_numpy(np.array(mask, order="C"))
    return sample | {"name": cases.source.names[index], "group": cases.source.groups[index], "index": index}
