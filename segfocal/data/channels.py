"""Channels and intensities of a stored image: which conversions are meant, and which are mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.errors import SegfocalError

Image = npt.NDArray[Any]
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def choose_channels(image: Image, *, wanted: int) -> Image:
    """Return the image with as many channels as the network takes.

    Args:
        image: ``(H, W, C)``.
        wanted: Channels of the network. Alpha (the last of 2 or 4) is dropped, grey is repeated to 3, RGB
            becomes luminance for 1.

    Returns:
        ``(H, W, wanted)`` in the type of ``image``.

    Raises:
        SegfocalError: For every other difference.
    """
    found = image.shape[2]
    if found in (2, 4) and wanted != found and wanted in (1, 3):
        image = image[:, :, : found - 1]
    if image.shape[2] == wanted:
        return image
    if image.shape[2] == 1 and wanted == 3:
        return np.repeat(image, 3, axis=2)
    if image.shape[2] == 3 and wanted == 1:
        grey = image.astype(np.float32) @ LUMA
        return (np.rint(grey) if image.dtype.kind in "iu" else grey).astype(image.dtype)[:, :, None]
    raise SegfocalError(
        f"expected an image of {wanted} channels, got {found}. Give images of {wanted}, or set "
        f"preprocess.in_channels and the network's in_channels to {found} and train."
    )


def check_intensities(image: Image, *, intensity_range: tuple[float, float] | None) -> None:
    """Raise unless all values are finite and their way to the unit scale is known.

    Args:
        image: Any shape.
        intensity_range: ``(low, high)`` where the user gave one.

    Raises:
        SegfocalError: For NaN, infinity, and types or values without a scale.
    """
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        nans, infinite = int(np.isnan(image).sum()), int(np.isinf(image).sum())
        raise SegfocalError(
            f"an image must be finite, got {nans} NaN and {infinite} infinite values. Repair the file."
        )
    if intensity_range is not None or image.dtype in (np.uint8, np.uint16):
        return
    low, high = image.min(), image.max()
    if image.dtype.kind != "f" or low < 0 or high > 1:
        raise SegfocalError(
            f"an image must be uint8, uint16 or floats within [0, 1], got {image.dtype} within "
            f"[{low}, {high}]. Set preprocess.intensity_range, e.g. [{low}, {high}]."
        )
