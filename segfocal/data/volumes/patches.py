"""Training patches of volumes and whole volumes as samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from segfocal.data.labels import Mask
from segfocal.data.patches import Sample
from segfocal.data.sampling import Key, sample_rng
from segfocal.data.volumes.augmentation import VolumeAugmentation
from segfocal.data.volumes.cases import VolumeCase, VolumeCases
from segfocal.data.volumes.counting import flat
from segfocal.errors import SegfocalError


class VolumePatchDataset(Dataset[Sample]):
    """Random patches; the sample of a key ``(epoch, index)`` depends on (seed, epoch, index) alone.

    Sample ``index`` of epoch ``e`` comes from volume ``(e * num_samples + index) % len(cases)``.

    Args:
        cases: The training cases.
        patch_size: Voxels along the three axes. Smaller volumes are padded with 0 at the end of each axis,
            their masks with the ignore label.
        num_samples: Patches per epoch.
        foreground_share: Share of patches that are placed over a foreground voxel.
        augmentation: Applied after the crop.
        seed: Seed of everything random here.
    """

    def __init__(
        self,
        cases: VolumeCases,
        *,
        patch_size: Sequence[int],
        num_samples: int,
        foreground_share: float,
        augmentation: VolumeAugmentation,
        seed: int,
    ) -> None:
        self.cases, self.patch_size, self.num_samples = cases, tuple(patch_size), num_samples
        self.foreground_share, self.augmentation, self.seed = foreground_share, augmentation, seed

    def __len__(self) -> int:
        return self.num_samples

    def fill(self) -> None:
        """Read as many cases as are kept in memory."""
        self.cases.fill()

    def __getitem__(self, key: Key) -> Sample:
        epoch, index = key
        number = (epoch * self.num_samples + index) % len(self.cases)
        rng = sample_rng(self.seed, epoch, index)
        case = self.cases.case(number)
        corner = self._corner(case, rng)
        x, y, z = (slice(low, low + size) for low, size in zip(corner, self.patch_size, strict=True))
        image = self._padded(case.image[..., x, y, z], fill=0)
        mask = self._padded(torch.from_numpy(case.labels.mask[..., x, y, z]), fill=self.cases.ignore_index)
        image, mask = self.augmentation(image, mask, rng)
        return _sample(self.cases, number, image, mask, case.spacing_mm)

    def _corner(self, case: VolumeCase, rng: np.random.Generator) -> list[int]:
        """A voxel of the foreground lies in the middle where the border allows it, else anywhere."""
        labels = case.labels
        room = np.maximum(np.array(labels.stored_size) - self.patch_size, 0)
        found = None
        if rng.random() < self.foreground_share:
            found = labels.rows.draw(flat(labels.mask), rng, task=self.cases.task)
        if found is None:
            return [int(low) for low in rng.integers(0, room + 1)]
        voxel = np.array([found[0], *divmod(found[1], labels.stored_size[2])])
        return [int(low) for low in np.clip(voxel - np.array(self.patch_size) // 2, 0, room)]

    def _padded(self, planes: Tensor, *, fill: int | None) -> Tensor:
        missing = [want - have for want, have in zip(self.patch_size, planes.shape[-3:], strict=True)]
        if not any(missing):
            return planes.clone()  # what is cached is never lent out
        if fill is None:
            raise SegfocalError(
                f"a volume of {tuple(planes.shape[-3:])} voxels is smaller than the patch {self.patch_size} "
                "and there is no ignore_index to fill the border with. Lower patch_size or set ignore_index."
            )
        return F.pad(planes, [n for size in reversed(missing) for n in (0, size)], value=fill)


class VolumeDataset(Dataset[Sample]):
    """Whole volumes in order, as validation, test and prediction see them.

    Where volumes are resampled, ``stored_mask``, ``stored_affine`` and ``stored_spacing`` are those of the
    files: scores are of that grid.

    Args:
        cases: The cases of the split.
        with_mask: False leaves the masks unread and out of the samples.
    """

    def __init__(self, cases: VolumeCases, *, with_mask: bool = True) -> None:
        self.cases, self.with_mask = cases, with_mask

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Sample:
        if not self.with_mask:
            image, spacing_mm = self.cases.image(index)
            return _sample(self.cases, index, image, None, spacing_mm)
        case = self.cases.case(index)
        mask: Mask = np.array(case.labels.mask, order="C")
        sample = _sample(self.cases, index, case.image.clone(), torch.from_numpy(mask), case.spacing_mm)
        if case.stored is None:
            return sample
        stored, affine = (tensor.clone() for tensor in case.stored)
        return sample | {"stored_mask": stored, "stored_affine": affine, "stored_spacing": _edges(affine)}


def _edges(affine: Tensor) -> Tensor:
    """Return the edges of a voxel in mm along the axes of its file."""
    return affine[:3, :3].square().sum(dim=0).sqrt().float()


def _sample(cases: VolumeCases, index: int, image: Tensor, mask: Tensor | None, spacing_mm: Tensor) -> Sample:
    sample: Sample = {"image": image} if mask is None else {"image": image, "mask": mask}
    source = cases.source
    named = {"name": source.names[index], "group": source.groups[index], "index": index}
    return sample | {"spacing": spacing_mm.float()} | named
