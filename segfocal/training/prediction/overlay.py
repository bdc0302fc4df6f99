"""Pictures for people: an image with its prediction tinted and the reference outlined."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.errors import SegfocalError

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

# Okabe and Ito 2008: told apart by readers with any colour vision; sky blue first, as it shows on red tissue
_DISTINCT = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
REFERENCE = (255, 255, 255)
IGNORED = 255
SLICES = 5  # of a volume


def class_colours(count: int) -> Bytes:
    """Return one RGB colour per foreground class.

    Args:
        count: How many.

    Returns:
        ``(count, 3)`` uint8: seven that everybody can tell apart, then hues a golden angle apart.

    Example:
        >>> class_colours(1).tolist()
        [[86, 180, 233]]
    """
    further = [
        [round(255 * value) for value in colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.75, 0.95)]
        for number in range(max(0, count - len(_DISTINCT)))
    ]
    return np.array([*_DISTINCT[:count], *further], dtype=np.uint8).reshape(-1, 3)


def to_picture(image: Array) -> Bytes:
    """Turn any image into 8-bit RGB.

    Args:
        image: ``(H, W)`` or ``(H, W, C)``, any number type. uint8 is kept; other types are stretched between
            their 0.5 and 99.5 % quantiles. One or two channels become grey, of more the first three are
            shown.

    Returns:
        ``(H, W, 3)`` uint8.

    Example:
        >>> to_picture(np.zeros((2, 2), np.uint16)).shape
        (2, 2, 3)
    """
    planes = image[:, :, None] if image.ndim == 2 else image
    if planes.ndim != 3 or 0 in planes.shape:
        raise SegfocalError(f"An image must have shape (H, W) or (H, W, C) and pixels, got {image.shape}.")
    planes = planes[:, :, :3] if planes.shape[2] >= 3 else np.repeat(planes[:, :, :1], 3, axis=2)
    if planes.dtype == np.uint8:
        return np.ascontiguousarray(planes)
    if planes.dtype == bool:
        return planes.astype(np.uint8) * np.uint8(255)
    values = np.nan_to_num(planes.astype(np.float32))
    low, high = np.quantile(values, (0.005, 0.995))
    stretched = (values - low) / max(float(high - low), 1e-12)
    return np.asarray(np.round(255 * np.clip(stretched, 0, 1)), dtype=np.uint8)


def overlay(
    image: Array, prediction: Array, *, reference: Array | None = None, opacity: float = 0.45
) -> Bytes:
    """Tint the predicted classes, outline them, and outline the reference in white.

    Args:
        image: As in ``to_picture``.
        prediction: Class numbers ``(H, W)`` with 0 for the background, or masks ``(K, H, W)``.
        reference: The same form; pixels of value 255 (ignored) are left out of both.
        opacity: Of the tint, 0 to 1.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        SegfocalError: If the sizes differ.

    Example:
        >>> overlay(np.zeros((1, 1), np.uint8), np.ones((1, 1), np.uint8), opacity=1.0).tolist()
        [[[86, 180, 233]]]
    """
    picture = to_picture(image)
    for name, labels in (("prediction", prediction), ("reference", reference)):
        if labels is not None and labels.shape[-2:] != picture.shape[:2]:
            raise SegfocalError(
                f"The {name} must have the image's size {picture.shape[:2]}, got {labels.shape[-2:]} "
                "(height, width)."
            )
    masks = _masks(prediction)
    colours = class_colours(max(masks, default=0))
    blended = picture.astype(np.float32)
    for number, mask in masks.items():
        colour = colours[number - 1].astype(np.float32)
        blended[mask] += opacity * (colour - blended[mask])
        blended[outline(mask)] = colour
    for mask in _masks(reference).values() if reference is not None else ():
        blended[outline(mask)] = REFERENCE
    return np.round(blended).astype(np.uint8)


def axial(volume: Array, place: int) -> Array:
    """Return an axial slice as radiologists look at it: from the feet, the patient's right on the left.

    Args:
        volume: ``(..., X, Y, Z)``, the axes to the right, anterior and superior.
        place: Number of the slice, from below.

    Returns:
        ``(..., Y, X)``, anterior at the top.

    Example:
        >>> axial(np.arange(4).reshape(2, 2, 1), 0).tolist()  # the right and anterior corner is 3
        [[3, 1], [2, 0]]
    """
    return np.ascontiguousarray(np.swapaxes(volume[..., place], -1, -2)[..., ::-1, ::-1])


def telling_slices(marked: npt.NDArray[np.bool_], *, count: int = SLICES) -> list[int]:
    """Return numbers of slices between the first and the last that hold something, or of all where none does.

    Args:
        marked: ``(..., X, Y, Z)``.
        count: How many.
    """
    held = np.flatnonzero(marked.any(axis=tuple(range(marked.ndim - 1))))
    first, last = (held[0], held[-1]) if held.size else (0, marked.shape[-1] - 1)
    return sorted({round(float(place)) for place in np.linspace(first, last, count)})


def outline(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the pixels of a mask that touch the outside by an edge; the picture's border is no outside.

    Args:
        mask: ``(H, W)``.

    Returns:
        ``(H, W)``.

    Example:
        >>> int(outline(np.pad(np.ones((3, 3), bool), 1)).sum())
        8
    """
    padded = np.pad(mask, 1, mode="edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inside


def _masks(labels: Array) -> dict[int, npt.NDArray[np.bool_]]:
    if labels.ndim == 3:
        return {number: plane == 1 for number, plane in enumerate(labels, start=1)}
    present = [int(number) for number in np.unique(labels)]
    return {number: labels == number for number in present if number > 0 and number != IGNORED}
