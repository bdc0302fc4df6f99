"""Masks and probabilities as picture files, in the layout that ``FolderData`` reads."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from segfocal.errors import SegfocalError
from segfocal.training.prediction.overlay import class_colours
from segfocal.training.prediction.predictor import Prediction

Array = npt.NDArray[Any]


def mask_pictures(prediction: Prediction, stem: str) -> dict[str, bytes]:
    """Encode a mask as PNG.

    Args:
        prediction: Of one image.
        stem: File name without its ending.

    Returns:
        Relative path to content. Binary: ``<stem>.png`` with 0 and 255. Multiclass: ``<stem>.png`` with
        class numbers and a palette, 16 bit without one beyond 256 classes. Multilabel:
        ``<class>/<stem>.png`` with 0 and 255, the empty ones too.
    """
    mask = prediction.mask
    if prediction.task == "multilabel":
        planes = zip(prediction.class_names, mask, strict=True)
        return {f"{name}/{stem}.png": png(plane * np.uint8(255)) for name, plane in planes}
    if prediction.task == "binary":
        return {f"{stem}.png": png(mask * np.uint8(255))}
    return {f"{stem}.png": _indexed(mask, len(prediction.class_names))}


def probability_pictures(prediction: Prediction, stem: str) -> dict[str, bytes]:
    """Encode probabilities as 16-bit grey PNG: value / 65535 is the probability, to 8e-6.

    Args:
        prediction: Of one image.
        stem: File name without its ending.

    Returns:
        Relative path to content: ``<stem>.png`` for one channel, else ``<class>/<stem>.png``.
    """
    planes = np.round(prediction.probabilities * np.float32(65535)).astype(np.uint16)
    if len(planes) == 1:
        return {f"{stem}.png": png(planes[0])}
    return {
        f"{name}/{stem}.png": png(plane) for name, plane in zip(prediction.class_names, planes, strict=True)
    }


def png(picture: Array) -> bytes:
    r"""Encode ``(H, W)`` uint8 or uint16, or ``(H, W, 3)`` uint8.

    Args:
        picture: What to encode.

    Returns:
        The file's content.

    Raises:
        SegfocalError: For any other shape or type.

    Example:
        >>> png(np.zeros((1, 1), np.uint8))[:4]
        b'\x89PNG'
    """
    colour = picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
    if not colour and not (picture.ndim == 2 and picture.dtype in (np.uint8, np.uint16)):
        raise SegfocalError(
            f"A PNG must be (H, W) uint8 or uint16, or (H, W, 3) uint8, got {picture.shape} {picture.dtype}."
        )
    return _encoded(Image.fromarray(np.ascontiguousarray(picture)))


def _indexed(mask: Array, classes: int) -> bytes:
    if classes > 256:
        return png(mask.astype(np.uint16))
    picture = Image.fromarray(mask.astype(np.uint8))
    palette = np.concatenate([np.zeros((1, 3), np.uint8), class_colours(classes - 1)])
    picture.putpalette(palette.tobytes())
    return _encoded(picture)


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
