"""Read one image or mask file: Pillow for PNG, JPEG and the like, tifffile for TIFF, numpy for npy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, UnidentifiedImageError

from segfocal.errors import SegfocalError

Array = npt.NDArray[Any]
Palette = Literal["indices", "colors"]

PILLOW = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pgm", ".ppm")
TIFF = (".tif", ".tiff")
SUFFIXES = (*PILLOW, *TIFF, ".npy")


def read_array(path: Path, *, palette: Palette) -> Array:
    """Return the pixels of a file as they are stored.

    EXIF rotation is not applied, so that image and mask agree on the stored pixels.

    Args:
        path: A file with one of ``SUFFIXES``.
        palette: What a palette file means: ``"indices"`` (class numbers of a mask) or its ``"colors"``.

    Returns:
        ``(H, W)`` or ``(H, W, C)``: bool for 1-bit files, uint8, uint16 or floating. npy files must hold
        one of these shapes; in TIFF stacks without named axes the shortest axis holds the channels.

    Raises:
        SegfocalError: Naming the file, when it is missing, truncated, not an image or of no readable form.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in PILLOW:
            array = _pillow(path, palette)
        elif suffix in TIFF:
            array = _tiff(path, palette)
        elif suffix == ".npy":
            array = np.load(path, allow_pickle=False)
        else:
            raise SegfocalError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}.")
    except SegfocalError:
        raise
    except FileNotFoundError as error:
        raise SegfocalError(f"{path}: there is no such file.") from error
    except UnidentifiedImageError as error:
        raise SegfocalError(
            f"{path}: expected an image, got something else. Replace or remove the file."
        ) from error
    except Exception as error:  # on a damaged file decoders raise whatever they stumble over
        raise SegfocalError(f"{path}: cannot be read ({error}). Replace or remove the file.") from error
    if array.ndim not in (2, 3):
        raise SegfocalError(f"{path}: expected shape (H, W) or (H, W, C), got {array.shape}.")
    return array


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of a file; where Pillow reads it, its pixels are not decoded.

    Args:
        path: A file with one of ``SUFFIXES``.

    Raises:
        SegfocalError: As `read_array`.
    """
    if path.suffix.lower() not in PILLOW:
        height, width = read_array(path, palette="colors").shape[:2]
        return height, width
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        raise SegfocalError(f"{path}: cannot be read ({error}). Replace or remove the file.") from error


def picture_array(image: Image.Image, *, palette: Palette) -> Array:
    """Return the pixels of a picture of Pillow as they are stored.

    Args:
        image: The picture.
        palette: As in `read_array`.

    Returns:
        As `read_array`.
    """
    if image.mode == "P" and palette == "colors":
        array = np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "PA", "La", "RGBa", "RGBX"):
        array = np.asarray(image.convert("RGB"))
    else:
        array = np.asarray(image)
    if array.dtype == np.int32 and array.min() >= 0 and array.max() < 2**16:
        return array.astype(np.uint16)
    return array


def _pillow(path: Path, palette: Palette) -> Array:
    # Pillow cuts 16-bit colour PNG to 8 bits; byte 24 of a PNG is the bit depth, byte 25 the colour type
    with path.open("rb") as file:
        head = file.read(26)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:25] == b"\x10" and head[25:26] != b"\x00":
        return _deep_png(path)
    with Image.open(path) as image:
        return picture_array(image, palette=palette)


def _deep_png(path: Path) -> Array:
    with Image.open(path) as image:
        image.load()  # OpenCV would return a truncated file as if it were whole
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise SegfocalError(f"{path}: cannot be read as 16-bit colour PNG. Replace or remove the file.")
    order = [2, 1, 0, 3][: array.shape[2]]
    return np.ascontiguousarray(array[:, :, order])


def _tiff(path: Path, palette: Palette) -> Array:
    with tifffile.TiffFile(path) as file:
        series, page = file.series[0], file.pages[0]
        array: Array = series.asarray()
        colors = page.colormap if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        array = ~array
    if colors is not None and palette == "colors":
        rgb: Array = (colors.T[array] >> 8).astype(np.uint8)
        return rgb
    if array.ndim == 3:
        named = [series.axes.index(axis) for axis in "SC" if axis in series.axes]
        array = np.moveaxis(array, named[0] if named else int(np.argmin(array.shape)), 2)
    return array
