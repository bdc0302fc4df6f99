"""Read one image or mask file: Pillow for PNG, JPEG and the like, tifffile for TIFF, numpy for npy."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError, WebPImagePlugin

from segfocal.data.tiff import Page, TiffPicture, check_holds, several, tiff_shape
from segfocal.errors import SegfocalError, check_choice, reading

Array = npt.NDArray[Any]
Palette = Literal["indices", "colors"]
Orientation = Literal["upright", "stored"]

PILLOW = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".pbm", ".pgm", ".ppm")
TIFF = (".tif", ".tiff")
SUFFIXES = (*PILLOW, *TIFF, ".npy")

_VOLUME = "convert volumes to .nii.gz, as SimpleITK.WriteImage(SimpleITK.ReadImage(a), b) does"
_NIBABEL = "convert volumes to .nii.gz, as nibabel.save(nibabel.load(a), b) does"
_ARRAYS = "save each array as .npy, or as PNG or TIFF"
_PICTURE = "save it as PNG or TIFF"
_SLIDE = "save regions of the slide as TIFF (openslide, bioformats)"
# files that hold what could be trained on, and how it becomes readable
UNREAD = {
    **dict.fromkeys((".nrrd", ".nhdr", ".mha", ".mhd", ".seg"), _VOLUME),
    **dict.fromkeys((".mgz", ".mgh", ".img", ".hdr", ".mnc"), _NIBABEL),
    **dict.fromkeys((".npz", ".mat", ".h5", ".hdf5", ".zarr", ".pkl", ".pt", ".tfrecord"), _ARRAYS),
    **dict.fromkeys((".jp2", ".j2k", ".jxl", ".avif", ".heic", ".psd", ".exr", ".tga", ".dng"), _PICTURE),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".lif", ".nd2", ".vsi"), _SLIDE),
}

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", WebPImagePlugin.WebPImageFile.format)
# bytes of pixels for a byte of the file: deflate gives 1032 of four pixels each, a plain WebP any number
_RATIO, _WEBP_RATIO = 4200, 2**24
_REMEDY = "Replace or remove the file."
_EXIF_ORIENTATION = 0x0112
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_LIMIT = threading.Lock()


@dataclass(frozen=True)
class ReadRules:
    """Choices that files leave open; those of training are those of prediction.

    Args:
        page: Which page of files that hold several; ``"channels"``: each is a channel; None: such files are
            refused. Files of one page are read as they are.
        orientation: ``"upright"`` turns a file as its own EXIF (or TIFF) orientation says, as every viewer
            does; ``"stored"`` leaves the pixels as they lie.
        channels: Of the network, where a fourth band must not be taken for alpha; None: not known.
    """

    page: Page = None
    orientation: Orientation = "upright"
    channels: int | None = None

    def __post_init__(self) -> None:
        check_choice("orientation", self.orientation, ("upright", "stored"))
        wrong = isinstance(self.page, str) and self.page != "channels"
        if wrong or (isinstance(self.page, int) and self.page < 0):
            raise SegfocalError(f"page must be a number from 0, channels or null, got {self.page!r}.")


PLAIN = ReadRules()


@dataclass(frozen=True, eq=False)
class Picture:
    """The pixels of a file, and what was made of it.

    Args:
        array: As `read_array` returns it.
        alpha: Whether the file says that its last channel is transparency.
        orientation: 1 to 8 as EXIF counts, 1: as it lies.
        palette: ``(N, 3)`` colours of a palette file.
        lossy: Whether its compression changes values (JPEG, WebP).
        notes: How it was interpreted where that was a choice.
    """

    array: Array
    alpha: bool = False
    orientation: int = 1
    palette: Array | None = None
    lossy: bool = False
    notes: tuple[str, ...] = ()

    def bands(self) -> int:
        """Return the channels without transparency."""
        return (1 if self.array.ndim == 2 else self.array.shape[2]) - self.alpha


def unread_hint(paths: Iterable[Path]) -> str:
    """Return a sentence with a leading space that names files of kinds that are not read, and the way.

    Args:
        paths: Files of any kind.

    Example:
        >>> unread_hint([Path("a/ct.nrrd"), Path("a/ct.txt")])[:30]
        ' .nrrd is not read (1, ct.nrrd'
    """
    found: dict[str, list[Path]] = {}
    for path in paths:
        if path.suffix.lower() in UNREAD:
            found.setdefault(path.suffix.lower(), []).append(path)
    return "".join(
        f" {suffix} is not read ({len(own)}, {own[0].name}{', ...' if len(own) > 1 else ''}): "
        f"{UNREAD[suffix]}."
        for suffix, own in sorted(found.items())
    )


def read_array(path: Path, *, palette: Palette, rules: ReadRules = PLAIN) -> Array:
    """Return the pixels of a file.

    EXIF orientation is applied to images and masks alike, each by its own (see `ReadRules`): a mask without
    one belongs to the upright picture, which is what annotation tools show. Masks keep their numbers as they
    are stored, whatever their bit depth; as pictures, 2- and 4-bit grey fills the scale. Colours of CMYK,
    YCbCr and Lab come as RGB. A palette of black and white alone means these colours, in either order.

    Args:
        path: A file with one of ``SUFFIXES``.
        palette: What a palette file means: ``"indices"`` (class numbers of a mask) or its ``"colors"``.
        rules: Page and orientation.

    Returns:
        ``(H, W)`` or ``(H, W, C)``: bool for 1-bit files, uint8, uint16, other integers or floating. npy
        files must hold one of these shapes.

    Raises:
        SegfocalError: Naming the file, when it is missing, truncated, not an image, of several pages without
            a choice, or of no readable form.
    """
    return read_picture(path, palette=palette, rules=rules).array


def read_image(path: Path, *, rules: ReadRules) -> Array:
    """Return the pixels of a picture for a network, none of its bands taken for transparency.

    Args:
        path: A file with one of ``SUFFIXES``.
        rules: Page, orientation and the network's channels.

    Raises:
        SegfocalError: As `read_array`, and where the last of 2 or 4 bands is no transparency and the network
            takes fewer.
    """
    picture = read_picture(path, palette="colors", rules=rules)
    bands, wanted = picture.bands(), rules.channels
    if bands in (2, 4) and wanted in (1, 3) and not picture.alpha:
        raise SegfocalError(
            f"{path}: expected an image of {wanted} channels, got {bands}, and the file does not say that "
            "the last is transparency (alpha). Set preprocess.in_channels and the network's in_channels to "
            f"{bands}."
        )
    return picture.array


def read_picture(path: Path, *, palette: Palette, rules: ReadRules = PLAIN) -> Picture:
    """Return the pixels of a file and how it was interpreted; arguments and errors as `read_array`."""
    with reading(path, remedy=_REMEDY), _unknown(path):
        picture = _read(path, palette, rules.page)
    array = picture.array
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise SegfocalError(f"{path}: expected shape (H, W) or (H, W, C), got {array.shape}.")
    if array.dtype.kind not in "buif":
        raise SegfocalError(f"{path}: expected numbers, got {array.dtype}. Save real values.")
    if array.dtype.kind == "f" and array.dtype.itemsize > 4 and (beyond := _beyond(array)):
        raise SegfocalError(f"{path}: {beyond} values are beyond the range of float32. Rescale or repair it.")
    if picture.orientation == 1 or rules.orientation == "stored":
        return picture
    return replace(picture, array=_turned(array, picture.orientation))


def _beyond(array: Array) -> int:
    """Return how many finite values no 32-bit number holds."""
    large = np.abs(array) > np.finfo(np.float32).max
    return int(np.count_nonzero(large & np.isfinite(array))) if large.any() else 0


@contextmanager
def _unknown(path: Path) -> Iterator[None]:
    try:
        yield
    except UnidentifiedImageError as error:
        raise SegfocalError(f"{path}: expected an image, got something else. {_REMEDY}") from error


def _read(path: Path, palette: Palette, page: Page) -> Picture:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SegfocalError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}.")
    if suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            array.close()
            raise SegfocalError(
                f"{path}: expected one array, got an archive (.npz). Save each array as .npy."
            )
        return Picture(array)
    return _tiff(path, palette, page) if _is_tiff(path) else _pillow(path, palette, page)


def _is_tiff(path: Path) -> bool:
    """Names may lie: a picture in TIFF with another ending is read as one."""
    if path.suffix.lower() in TIFF:
        return True
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def image_size(path: Path, *, rules: ReadRules = PLAIN) -> tuple[int, int]:
    """Return height and width of a file as it is read; pixels of PNG, JPEG and TIFF are not decoded.

    Args:
        path: A file with one of ``SUFFIXES``.
        rules: Page and orientation.

    Raises:
        SegfocalError: As `read_array`.
    """
    suffix = path.suffix.lower()
    if suffix not in (*PILLOW, *TIFF):
        height, width = read_array(path, palette="colors", rules=rules).shape[:2]
        return height, width
    with reading(path, remedy=_REMEDY), _unknown(path):
        if _is_tiff(path):
            size, orientation = tiff_shape(path)
        else:
            with opened(path) as image:
                size, orientation = (image.height, image.width), _orientation(image)
    return size[::-1] if orientation >= 5 and rules.orientation == "upright" else size


def picture_array(image: Image.Image, *, palette: Palette) -> Array:
    """Return the pixels of a picture of Pillow, upright.

    Args:
        image: The picture.
        palette: As in `read_array`.

    Returns:
        As `read_array`.
    """
    array = _pixels(image, palette)
    return _turned(array, _orientation(image))


def _turned(array: Array, orientation: int) -> Array:
    """The pixels upright; EXIF 2.32, tag 0x0112, says what each number means."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(_EXIF_ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def opened(path: Path) -> Image.Image:
    """Open a picture in one of the formats that data sets have, its pixels not decoded yet.

    Pillow knows others, of which some run programs (EPS) or read other files. Its limit against decompression
    bombs is for strangers' uploads; scans and aerials exceed it. Here the file must be able to hold them.

    Args:
        path: The file.

    Raises:
        SegfocalError: Where the header promises more pixels than the file can hold.
    """
    with _LIMIT:
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            image = Image.open(path, formats=_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    wide = 2 if image.mode.startswith("I;16") else 4 if image.mode in ("I", "F") else 1
    packed = 4 if image.format == "PPM" else _WEBP_RATIO if image.format == "WEBP" else _RATIO
    needed = image.width * image.height * wide * len(image.getbands()) // (8 if image.mode == "1" else 1)
    try:
        check_holds(path, (image.height, image.width), needed, ratio=packed)
    except SegfocalError:
        image.close()
        raise
    return image


def _pixels(image: Image.Image, palette: Palette) -> Array:
    if image.mode == "P" and palette == "colors":
        array = np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    elif image.mode == "P":
        array = np.asarray(image)
        white = white_indices(array, _palette(image))
        array = array if white is None else white
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "PA", "La", "RGBa", "RGBX"):
        array = np.asarray(image.convert("RGB"))
    else:
        array = np.asarray(image)
    if array.dtype == np.int32 and array.min() >= 0 and array.max() < 2**16:
        return array.astype(np.uint16)
    return array


def white_indices(indices: Array, palette: Array) -> Array | None:
    """Return where a mask is white, if its palette holds black and white alone; else None.

    Other palettes name classes: their indices count. Grey that fills the unused rest of a palette is passed
    over where the picture uses the first two colours only.

    Args:
        indices: ``(H, W)``.
        palette: ``(N, 3)`` colours.
    """
    pair = {tuple(color) for color in palette[:2].tolist()}
    if pair != {_BLACK, _WHITE}:
        return None
    rest = palette[2:]
    plain = bool(((rest == 0).all(axis=1) | (rest == 255).all(axis=1)).all())
    ramp = bool((rest == np.arange(2, len(palette))[:, None]).all())
    if not plain and not (ramp and indices.max() < 2):
        return None
    white: Array = (palette[:, 0] == 255)[np.minimum(indices, len(palette) - 1)]
    return white


def _palette(image: Image.Image) -> Array:
    return np.array(image.getpalette() or [], dtype=np.uint8).reshape(-1, 3)


def _pillow(path: Path, palette: Palette, page: Page) -> Picture:
    # byte 24 of a PNG is the bit depth, byte 25 the colour type
    with path.open("rb") as file:
        head = file.read(26)
    png = head[:8] == b"\x89PNG\r\n\x1a\n"
    depth, kind = (head[24], head[25]) if png and len(head) == 26 else (8, 2)
    grey = kind == 0
    maxval = _maxval(path) if head[:2] in (b"P2", b"P5", b"P3", b"P6") else 0
    with opened(path) as image:
        notes = _chosen_frame(path, image, page)
        # Pillow cuts 16-bit colours to 8 bits
        deep = (depth == 16 and not grey) or (image.mode == "RGB" and maxval == 65535)
        array = _deep_png(path, image, grey=kind == 4) if deep else _pixels(image, palette)
        indexed = image.mode == "P"
        table = _palette(image) if indexed else None
        if indexed and array.dtype == bool:
            notes.append("black and white palette read as its colours")
        if image.mode == "CMYK":
            notes.append("CMYK read as RGB")
        alpha = image.mode in ("LA", "RGBA") or (array.ndim == 3 and array.shape[2] in (2, 4))
        orientation, lossy = _orientation(image), image.format in ("JPEG", "MPO") or _lossy_webp(path, head)
    if palette == "indices" and grey and depth in (2, 4):
        array = array // np.uint8(255 // (2**depth - 1))
    elif grey and depth in (2, 4):
        notes.append(f"{depth}-bit grey spread over 0 to 255")
    if maxval:
        array = _as_stored(array, maxval, palette, notes)
    return Picture(array, alpha, orientation, table, lossy, tuple(notes))


def _chosen_frame(path: Path, image: Image.Image, page: Page) -> list[str]:
    """Go to the page of an animation; the second picture of a phone's JPEG (MPO) is no page."""
    count = 1 if image.format in ("JPEG", "MPO") else int(getattr(image, "n_frames", 1))
    if count == 1:
        return []
    if not isinstance(page, int):
        raise several(path, count)
    if page >= count:
        raise SegfocalError(f"{path}: page must be 0 to {count - 1}, got {page}.")
    image.seek(page)
    return [f"page {page} of several (page: {page})"]


def _as_stored(array: Array, maxval: int, palette: Palette, notes: list[str]) -> Array:
    """PGM and PPM: Pillow spreads 0 to maxval over 8 or 16 bits, which a mask takes back."""
    top = 255 if maxval < 256 else 65535
    if maxval == top:
        return array
    if palette == "colors":
        notes.append("grey of another maxval spread over the scale")
        return array
    numbers: Array = np.rint(array * (maxval / top)).astype(np.uint8 if top == 255 else np.uint16)
    return numbers


def _maxval(path: Path) -> int:
    with path.open("rb") as file:
        words = re.sub(rb"#[^\n\r]*", b"", file.read(4096)).split(maxsplit=4)
    return int(words[3])


def _deep_png(path: Path, image: Image.Image, *, grey: bool) -> Array:
    """Return 16-bit colours, or grey with transparency, which OpenCV returns as colours."""
    image.load()  # OpenCV would return a truncated file as if it were whole
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise SegfocalError(f"{path}: cannot be read as 16-bit colours. Replace or remove the file.")
    order = [0, 3] if grey else [2, 1, 0, 3][: array.shape[2]]
    return np.ascontiguousarray(array[:, :, order])


def _lossy_webp(path: Path, head: bytes) -> bool:
    """Return whether a WebP file holds a picture compressed with loss (a chunk "VP8 ", else "VP8L")."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return False
    with path.open("rb") as file:
        place, size = 12, path.stat().st_size
        while place + 8 <= size:
            file.seek(place)
            chunk = file.read(8)
            if chunk[:4] in (b"VP8 ", b"VP8L"):
                return chunk[:4] == b"VP8 "
            if chunk[:4] == b"ANMF":  # a frame of an animation, in which the chunks of its picture lie
                place += 24
            else:
                place += 8 + (int.from_bytes(chunk[4:], "little") + 1) // 2 * 2
    return False


def _tiff(path: Path, palette: Palette, page: Page) -> Picture:
    found = TiffPicture(path, page=page, colors=palette == "colors")
    array, notes = found.array, found.notes
    if palette == "indices" and found.palette is not None:
        white = white_indices(array, found.palette)
        if white is not None:
            array = white
            notes.append("black and white palette read as its colours")
    orientation = found.orientation if 1 <= found.orientation <= 8 else 1
    return Picture(array, found.alpha, orientation, found.palette, found.lossy, tuple(notes))
