"""From a volume as it is stored to what the network sees, and scores back to where the voxels were."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.transforms import (
    ClipIntensityPercentiles,
    Compose,
    NormalizeIntensity,
    Orientation,
    ScaleIntensityRange,
    ScaleIntensityRangePercentiles,
    Spacing,
    reset_ops_id,
)
from torch import Tensor

from segfocal.data.settings import from_dict, to_dict
from segfocal.data.volumes.grid import Affine
from segfocal.data.volumes.reading import Values, Volume
from segfocal.errors import SegfocalError, check_choice, check_range

Floats = npt.NDArray[np.float32]
INTENSITIES = ("mr", "ct", "none")
AXES = "RAS"


@dataclass(frozen=True)
class VolumePreprocess:
    """Turn a volume into the float32 ``(C, X, Y, Z)`` that the network sees, with MONAI's transforms.

    Axes are turned and flipped to right, anterior, superior (the nearest ones where the volume lies oblique),
    then resampled, linearly, or by nearest neighbour for labels. Training, validation and the predictor use
    the same object, so its settings travel with the run.

    Args:
        intensity: ``"mr"``: each channel's mean over the volume is subtracted and the rest divided by its
            standard deviation; ``"ct"``: ``intensity_range`` (Hounsfield units), or else ``percentiles``, cut
            and scaled to -1 to 1; ``"none"``: as stored.
        intensity_range: ``(low, high)`` in the file's own units, e.g. (-200, 300); for ``"ct"`` alone.
        percentiles: ``(low, high)`` of each volume and channel at which values are cut, 0 to 100; for
            ``"mr"`` before the moments are taken.
        nonzero: Whether ``"mr"`` takes the moments over voxels that are not 0 and leaves the others 0.
        spacing_mm: Edges of a voxel in mm along the three axes, to which volumes are resampled; null: as
            stored.
        tile: Voxels along the three axes of the windows in which larger volumes are predicted; null: the
            patch size of the training.
        in_channels: Channels of the images; dataset.json says it.

    Raises:
        SegfocalError: For settings that contradict each other.
    """

    intensity: Literal["mr", "ct", "none"] = "mr"
    intensity_range: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = None
    nonzero: bool = False
    spacing_mm: tuple[float, float, float] | None = None
    tile: tuple[int, int, int] | None = None
    in_channels: int = 1

    def __post_init__(self) -> None:
        check_choice("intensity", self.intensity, INTENSITIES)
        check_range("in_channels", self.in_channels, low=1)
        for name in ("intensity_range", "percentiles"):
            pair = getattr(self, name)
            if pair is not None and not pair[0] < pair[1]:
                raise SegfocalError(f"{name} must be (low, high) with low < high, got {pair}.")
        for percentile in self.percentiles or ():
            check_range("percentiles", percentile, low=0.0, high=100.0)
        for length in (*(self.spacing_mm or ()), *(self.tile or ())):
            check_range("spacing_mm and tile", length, low=0.0, open_low=True)
        given = [name for name in ("intensity_range", "percentiles") if getattr(self, name) is not None]
        if self.intensity == "ct" and len(given) != 1:
            raise SegfocalError(
                f"intensity='ct' needs one of intensity_range and percentiles, got {given or None}."
            )
        if self.intensity_range is not None and self.intensity != "ct":
            raise SegfocalError(f"intensity_range needs intensity='ct', got {self.intensity!r}.")

    def image(self, volume: Volume) -> MetaTensor:
        """Return the network's input ``(C, X, Y, Z)``, float32; `restore` leads back from it."""
        array = torch.from_numpy(volume.array.copy())
        scaled = torch.as_tensor(self._intensities()(array)).float()
        # MetaTensor(scaled) of one that is a MetaTensor already would keep its meta data
        plain = scaled.as_tensor() if isinstance(scaled, MetaTensor) else scaled
        return self._grid(plain, volume.affine, mode="bilinear")

    def mask(self, labels: Values, affine: Affine) -> MetaTensor:
        """Return labels ``(K, X, Y, Z)`` on the grid of the network's input, in the stored dtype.

        Args:
            labels: ``(K, X, Y, Z)``.
            affine: Of the image.
        """
        kind = torch.from_numpy(labels).dtype
        found = self._grid(torch.from_numpy(labels).float(), affine, mode="nearest")
        return found.round().to(kind)

    def restore(self, scores: Tensor, image: MetaTensor) -> Floats:
        """Return scores on the grid of the file.

        Args:
            scores: ``(K, X, Y, Z)`` on the grid of ``image``.
            image: What `image` returned.

        Returns:
            ``(K, X', Y', Z')`` float32 with the axes of the file; resampled linearly.
        """
        placed = MetaTensor(
            scores.float(), affine=image.affine, applied_operations=deepcopy(image.applied_operations)
        )
        reset_ops_id(placed)  # the steps are made anew, and MONAI knows them by their place in memory
        back = self._steps("bilinear").inverse(placed)
        return np.asarray(back.as_tensor().numpy(), dtype=np.float32)

    def restore_to(self, scores: Tensor, shape: tuple[int, ...], affine: Affine) -> Floats:
        """Return scores on the grid of a file of which shape ``(X, Y, Z)`` and affine alone are at hand."""
        return self.restore(scores, self._grid(torch.zeros(1, *shape), affine, mode="bilinear"))

    def spacing(self, affine: Affine | Tensor) -> tuple[float, float, float]:
        """Return the edges of a voxel in mm along the three axes of an affine."""
        x, y, z = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0).tolist()
        return x, y, z

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-able values."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> VolumePreprocess:
        """Return the object that ``to_dict`` described.

        Raises:
            SegfocalError: On a setting that this version does not know.
        """
        return from_dict(cls, settings)

    def _grid(self, array: Tensor, affine: Affine, *, mode: str) -> MetaTensor:
        placed = MetaTensor(array, affine=torch.from_numpy(np.asarray(affine, dtype=np.float64)))
        found: MetaTensor = self._steps(mode)(placed)
        return found

    def _steps(self, mode: str) -> Compose:
        # labels=None: the letters mean what they mean everywhere; MONAI asks for it with a warning
        steps: list[Any] = [Orientation(AXES, labels=None)]
        if self.spacing_mm is not None:
            steps.append(
                Spacing(
                    self.spacing_mm, mode=mode, padding_mode="border", dtype=torch.float32, diagonal=False
                )
            )
        return Compose(steps)

    def _intensities(self) -> Compose:
        steps: list[Any] = []
        if self.intensity == "ct" and self.intensity_range is not None:
            low, high = self.intensity_range
            steps.append(ScaleIntensityRange(low, high, -1.0, 1.0, clip=True))
        elif self.percentiles is not None:
            low, high = self.percentiles
            if self.intensity == "ct":
                steps.append(
                    ScaleIntensityRangePercentiles(low, high, -1.0, 1.0, clip=True, channel_wise=True)
                )
            else:
                steps.append(ClipIntensityPercentiles(low, high, channel_wise=True))
        if self.intensity == "mr":
            steps.append(NormalizeIntensity(nonzero=self.nonzero, channel_wise=True))
        return Compose(steps)
