"""From an image as it is stored to what the network sees: channels, size, intensity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from segfocal.data.channels import check_intensities, choose_channels
from segfocal.data.reading import Orientation, ReadRules
from segfocal.data.settings import from_dict, to_dict
from segfocal.errors import SegfocalError, check_choice, check_range

Image = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

NORMALIZATIONS = ("image", "imagenet", "fixed", "none")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocess:
    """Turn an ``(H, W)`` or ``(H, W, C)`` array into the float32 ``(C, H, W)`` that the network sees.

    Training, validation and the predictor use the same object, so its settings travel with the run.
    Intensities first go to the unit scale: uint8 / 255, uint16 / 65535, floats as they are (they must lie in
    [0, 1]) or, with ``intensity_range``, (x - low) / (high - low) cut to [0, 1].

    Args:
        in_channels: Channels of the network's input. Alpha is dropped, grey is repeated to 3, RGB is reduced
            to luminance for 1; any other difference is an error.
        normalize: ``"image"`` subtracts each channel's mean over the image and divides by its standard
            deviation; ``"imagenet"`` and ``"fixed"`` use constants on the unit scale; ``"none"`` leaves it.
        mean: One number per channel (or one for all) on the unit scale, for ``"fixed"``.
        std: Likewise.
        scale: Factor on height and width (0.25: a quarter of each); images are averaged, masks take the
            nearest. Scores are of the size of the files, to which probabilities are resized.
        longest_side: Largest height or width in pixels after ``scale``; larger images are reduced to it.
        intensity_range: ``(low, high)`` in the file's own units, e.g. (-200, 300) for a CT window.
        page: Which page of files that hold several (TIFF, GIF), counted from 0; ``"channels"``: each page is
            a channel; null: such files are refused. Files of one page are read as they are.
        orientation: ``"upright"``: images and masks are turned as their own EXIF says, so that a mask without
            one belongs to the picture that viewers show, and predictions are upright; ``"stored"``: the
            pixels stay as they lie in the files.

    Raises:
        SegfocalError: For settings that contradict each other, and when an image does not fit them.

    Example:
        >>> import numpy as np
        >>> Preprocess(in_channels=1, normalize="none")(np.array([[0, 255]], dtype=np.uint8)).tolist()
        [[[0.0, 1.0]]]
    """

    in_channels: int = 3
    normalize: Literal["image", "imagenet", "fixed", "none"] = "image"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float = 1.0
    longest_side: int | None = None
    intensity_range: tuple[float, float] | None = None
    page: int | Literal["channels"] | None = None
    orientation: Orientation = "upright"

    def __post_init__(self) -> None:
        check_choice("normalize", self.normalize, NORMALIZATIONS)
        check_range("in_channels", self.in_channels, low=1)
        check_range("scale", self.scale, low=0.0, high=16.0, open_low=True)
        if self.longest_side is not None:
            check_range("longest_side", self.longest_side, low=1)
        if self.intensity_range is not None and not self.intensity_range[0] < self.intensity_range[1]:
            raise SegfocalError(
                f"intensity_range must be (low, high) with low < high, got {self.intensity_range}."
            )
        if self.normalize == "imagenet" and self.in_channels != 3:
            raise SegfocalError(f"normalize='imagenet' has 3 channels, in_channels is {self.in_channels}.")
        _check_constants(self)
        self.rules()

    def __call__(self, image: Image) -> Floats:
        """Return the network's input ``(C, H, W)``, float32, at the reduced size."""
        chosen = self.select(image)
        mean, std = self.moments(chosen)
        return self.standardize(self.unit(chosen), mean, std)

    def rules(self) -> ReadRules:
        """Return how files of images and masks are read."""
        return ReadRules(page=self.page, orientation=self.orientation, channels=self.in_channels)

    def select(self, image: Image) -> Image:
        """Check the array, choose its channels and resize it; ``(H, W, C)`` in the stored type."""
        if image.ndim == 2:
            image = image[:, :, None]
        if image.ndim != 3 or 0 in image.shape:
            raise SegfocalError(f"an image must have shape (H, W) or (H, W, C), got {image.shape}.")
        if image.dtype == bool:
            image = image.astype(np.uint8) * 255
        image = choose_channels(image, wanted=self.in_channels)
        check_intensities(image, intensity_range=self.intensity_range)
        return self._resize(image, cv2.INTER_AREA)

    def select_mask(self, mask: Image) -> Image:
        """Resize class numbers ``(H, W)`` or ``(K, H, W)`` by nearest neighbour, in the stored type."""
        if mask.ndim == 2:
            return self._resize(mask[:, :, None], cv2.INTER_NEAREST)[:, :, 0]
        return np.stack([self.select_mask(channel) for channel in mask])

    def restore(self, scores: Floats, size: tuple[int, ...]) -> Floats:
        """Return scores in [0, 1] at the size of the stored image, linearly resized.

        Args:
            scores: ``(K, h, w)`` at the reduced size.
            size: Height and width of the stored image.
        """
        if scores.shape[1:] == tuple(size):
            return scores
        height, width = size
        restored: Floats = np.empty((len(scores), height, width), dtype=np.float32)
        for plane, kept in zip(scores, restored, strict=True):
            kept[:] = cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        return restored.clip(0.0, 1.0, out=restored)

    def resizes(self) -> bool:
        """Return whether an image may get another size than it is stored in."""
        return self.scale != 1 or self.longest_side is not None

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after ``scale`` and ``longest_side``, in pixels."""
        factor = self.scale
        if self.longest_side is not None:
            factor = min(factor, self.longest_side / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))

    def unit(self, image: Image) -> Image:
        """Return uint8 as it is and everything else as float32 in [0, 1]: what augmentation works on."""
        if self.intensity_range is not None:
            low, high = self.intensity_range
            scaled: Floats = (image.astype(np.float32) - np.float32(low)) / np.float32(high - low)
            return scaled.clip(0.0, 1.0)
        if image.dtype == np.uint8:
            return image
        factor = 1.0 / 65535.0 if image.dtype == np.uint16 else 1.0
        return image.astype(np.float32) * np.float32(factor)

    def moments(self, image: Image) -> tuple[Floats, Floats]:
        """Return mean and standard deviation per channel on the unit scale, of a whole selected image."""
        if self.normalize == "image":
            unit = self.unit(image)
            pairs = [cv2.meanStdDev(np.ascontiguousarray(unit[:, :, c])) for c in range(unit.shape[2])]
            found = np.array(pairs, dtype=np.float64).reshape(-1, 2)
            found /= 255.0 if unit.dtype == np.uint8 else 1.0
            # a constant channel becomes 0, not NaN; float32 rounding of the values may leave about 1e-8 of it
            std = np.where(found[:, 1] > 1e-7, found[:, 1], 1.0)
            return found[:, 0].astype(np.float32), std.astype(np.float32)
        mean, std_ = {
            "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
            "fixed": (self.mean or (0.0,), self.std or (1.0,)),
            "none": ((0.0,), (1.0,)),
        }[self.normalize]
        return (
            np.resize(np.array(mean, dtype=np.float32), self.in_channels),
            np.resize(np.array(std_, dtype=np.float32), self.in_channels),
        )

    def standardize(self, image: Image, mean: Floats, std: Floats) -> Floats:
        """Return ``(unit - mean) / std`` as float32 ``(C, H, W)`` of uint8 or unit-scale ``(H, W, C)``."""
        factor = np.float32(1.0 / 255.0 if image.dtype == np.uint8 else 1.0) / std
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
        planes *= factor[:, None, None]
        planes -= (mean / std)[:, None, None]
        return planes

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-able values."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Preprocess:
        """Return the object that ``to_dict`` described.

        Raises:
            SegfocalError: On a setting that this version does not know.
        """
        return from_dict(cls, settings)

    def _resize(self, image: Image, interpolation: int) -> Image:
        height, width = self.size(*image.shape[:2])
        if (height, width) == image.shape[:2]:
            return image
        if interpolation == cv2.INTER_AREA and height > image.shape[0]:
            interpolation = cv2.INTER_LINEAR
        # OpenCV resizes neither int64 nor float16
        stored = image.dtype
        wide = image.astype(np.float32) if stored == np.float16 else image
        wide = wide.astype(np.int32) if stored.kind in "iu" and stored.itemsize == 8 else wide
        if image.shape[2] <= 4:  # more channels than OpenCV resizes together
            resized = cv2.resize(np.ascontiguousarray(wide), (width, height), interpolation=interpolation)
            whole: Image = resized.reshape(height, width, -1).astype(stored, copy=False)
            return whole
        planes = [
            cv2.resize(np.ascontiguousarray(wide[:, :, c]), (width, height), interpolation=interpolation)
            for c in range(image.shape[2])
        ]
        return np.stack(planes, axis=2).astype(stored)


def _check_constants(settings: Preprocess) -> None:
    given = {"mean": settings.mean, "std": settings.std}
    if settings.normalize != "fixed":
        extra = [name for name, values in given.items() if values is not None]
        if extra:
            raise SegfocalError(f"{extra[0]} needs normalize='fixed', got normalize={settings.normalize!r}.")
        return
    for name, values in given.items():
        if values is None or len(values) not in (1, settings.in_channels):
            raise SegfocalError(
                f"normalize='fixed' needs 1 or {settings.in_channels} numbers in {name}, got {values}."
            )
    if min(settings.std or (1.0,)) <= 0:
        raise SegfocalError(f"std must be positive, got {settings.std}.")
