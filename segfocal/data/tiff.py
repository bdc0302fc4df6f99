"""TIFF pictures: which page is read, and what its samples mean (grey, colours of many spaces, bands)."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tifffile

from segfocal.errors import SegfocalError

Array = npt.NDArray[Any]
Page = int | Literal["channels"] | None

PHOTOMETRIC = tifffile.PHOTOMETRIC
_PLAIN = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 50000: "zstd"}
_JPEG = (6, 7, 34892)  # tifffile turns their YCbCr into RGB while it decodes them
_COLOR_MAP, _ORIENTATION, _INK_SET, _PHOTOMETRIC = 320, 274, 332, 262
_COEFFICIENTS, _SUBSAMPLING, _WHITE_POINT, _LEVELS = 529, 530, 318, 532
# in what tifffile logs
_DAMAGE = (
    *("StripByteCounts", "StripOffsets", "TileByteCounts", "TileOffsets"),
    *("circular", "invalid offset", "corrupt"),
)
_SMALL = 2**28  # bytes that any machine has
_RATIO = {1: 9, **dict.fromkeys((5, 8, 32946, 32773), 36_000)}  # bytes of pixels for a byte of deflate, LZW
_ANY = 2**24  # fax, zstd and others pack plain pages into next to nothing
_D65_X = 0.3127
# CIE XYZ to linear sRGB: for the white D50 that Lab has by default (adapted by Bradford), and for D65
_FROM_XYZ = {
    "D50": [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ],
    "D65": [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ],
}
_WHITE = {"D50": (0.96422, 1.0, 0.82521), "D65": (0.95047, 1.0, 1.08883)}


class TiffPicture:
    """The samples of one picture in a TIFF file.

    Args:
        path: The file.
        page: Which of several pages; ``"channels"`` takes each as a channel; None: there must be one.
        colors: Whether a palette file means its colours, and fewer than 8 bits the whole grey scale.

    Raises:
        SegfocalError: For several pages without a choice, and for colour spaces that are not known.
    """

    def __init__(self, path: Path, *, page: Page, colors: bool) -> None:
        self.notes: list[str] = []
        self.alpha = False
        self.palette: Array | None = None
        with _strict(path), tifffile.TiffFile(path) as file:
            pages = _pages(file)
            tags = pages[0]
            named = _named_channels(file) if len(pages) > 1 or file.is_imagej else None
            count = _frames(file, pages)
            if named is not None and page in (None, "channels"):
                self.array, self.lossy = named, False
                self.notes.append("channels as the file itself describes its pages")
            elif page == "channels" and count > 1:
                self.array, self.lossy = _stacked(path, file, pages), False
                self.notes.append("pages read as channels (page: channels)")
            else:
                tags = self._choose(path, pages, page, count)
                self.array, self.lossy = self._page(path, tags, colors), int(tags.compression) in _JPEG
            orientation = tags.tags.get(_ORIENTATION)
        self.orientation = int(orientation.value) if orientation is not None else 1

    def _choose(self, path: Path, pages: list[Any], page: Page, count: int) -> Any:
        if count == 1:
            return pages[0]
        if not isinstance(page, int):
            raise several(path, count)
        if page >= count or len(pages) != count:
            raise SegfocalError(f"{path}: page must be 0 to {len(pages) - 1}, got {page}.")
        self.notes.append(f"page {page} of several (page: {page})")
        return pages[page]

    def _page(self, path: Path, page: Any, colors: bool) -> Array:
        check_holds(
            path,
            (page.imagelength, page.imagewidth),
            int(page.nbytes),
            ratio=_RATIO.get(int(page.compression), _ANY),
        )
        space = page.photometric if _PHOTOMETRIC in page.tags else None
        if space == PHOTOMETRIC.YCBCR and int(page.compression) not in _JPEG:
            self.notes.append("YCbCr read as RGB")
            return _ycbcr(path, page)
        array = _channels_last(path, page)
        extra = tuple(int(kind) for kind in page.extrasamples)
        base = 1 if array.ndim == 2 else array.shape[2] - len(extra)
        self.alpha = len(extra) == 1 and extra[0] in (1, 2) and base in (1, 3, 4)
        if space == PHOTOMETRIC.MINISWHITE:
            return self._small(_inverted(path, page, array), page, colors)
        if space == PHOTOMETRIC.PALETTE and _COLOR_MAP in page.tags:
            table = np.asarray(page.tags[_COLOR_MAP].value).reshape(3, -1).T
            self.palette = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
            return self.palette[array] if colors else array
        if space == PHOTOMETRIC.SEPARATED:
            return self._inks(page, array, base)
        if space in (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB) and base == 3:
            self.notes.append("Lab read as RGB")
            return _with_extra(_lab(path, page, array[:, :, :3]), array, base)
        known = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE, PHOTOMETRIC.YCBCR, None)
        if space not in known:
            raise SegfocalError(
                f"{path}: the colour space {getattr(space, 'name', space)} is not read. Save RGB or grey."
            )
        return self._small(array, page, colors)

    def _small(self, array: Array, page: Any, colors: bool) -> Array:
        """Grey of 2 or 4 bits fills the scale where it is a picture, and stays a number in a mask."""
        bits = page.bitspersample
        if not colors or not isinstance(bits, int) or not 1 < bits < 8:
            return array
        self.notes.append(f"{bits}-bit grey spread over 0 to 255")
        spread: Array = (array.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
        return spread

    def _inks(self, page: Any, array: Array, base: int) -> Array:
        ink_set = page.tags.get(_INK_SET)
        if base != 4 or (ink_set is not None and int(ink_set.value) != 1):
            return array  # inks that are no CMYK are bands
        self.notes.append("CMYK read as RGB")
        return _with_extra(cmyk_to_rgb(array[:, :, :4]), array, base)


class _Said(logging.Handler):
    """What tifffile only logs: of this thread, in the order of the files that it reads."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.by_thread: dict[int, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.by_thread.setdefault(record.thread or 0, []).append(record.getMessage())


_SAID = _Said()
_LOG = logging.getLogger("tifffile")
_LOG.addHandler(_SAID)
_LOG.propagate = False


@contextmanager
def _strict(path: Path) -> Iterator[None]:
    """Raise where tifffile logs that parts of a picture are missing, which it fills with zeros."""
    said = _SAID.by_thread[threading.get_ident()] = []
    try:
        yield
    finally:
        _SAID.by_thread.pop(threading.get_ident(), None)
    for message in said:
        if any(sign in message for sign in _DAMAGE):
            words = message.partition(">")[2].strip() or message
            raise SegfocalError(f"{path}: cannot be read ({words}). Replace or remove the file.")


def several(path: Path, count: int) -> SegfocalError:
    """Return the error for a file of several pages, of which nobody said which is meant."""
    return SegfocalError(
        f"{path}: holds {count} pages, expected one picture. Say which with preprocess.page (0 is the first; "
        "channels: each page is a channel), fingerprint with --page, or save them one by one."
    )


def check_holds(path: Path, size_px: tuple[int, int], needed: int, *, ratio: int) -> None:
    """Raise where a header promises more pixels than its file can hold, before memory is taken for them.

    Args:
        path: The file.
        size_px: Height and width in its header.
        needed: Bytes of the pixels.
        ratio: How many of them a byte of the file can stand for.

    Raises:
        SegfocalError: Naming the file and the size.
    """
    size = path.stat().st_size
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    pixels = size_px[0] * size_px[1]  # a byte each at least once they are decoded, whatever their depth
    if max(pixels, needed) > max(_SMALL, memory):
        raise SegfocalError(
            f"{path}: {size_px[0]} x {size_px[1]} px (height, width) need more memory than the {memory >> 30}"
            " GiB of this machine. Cut the picture into parts."
        )
    if needed > _SMALL and needed > ratio * size:
        raise SegfocalError(
            f"{path}: the header gives {size_px[0]} x {size_px[1]} px (height, width), more than a file of "
            f"{size} bytes can hold. Replace or remove the file."
        )


def tiff_shape(path: Path) -> tuple[tuple[int, int], int]:
    """Return height and width of a TIFF file's first page, and its orientation, without its pixels.

    Args:
        path: The file.
    """
    with _strict(path), tifffile.TiffFile(path) as file:
        page = file.pages[0]
        orientation = page.tags.get(_ORIENTATION)
        return (page.imagelength, page.imagewidth), 1 if orientation is None else int(orientation.value)


def cmyk_to_rgb(inks: Array) -> Array:
    """Return RGB of cyan, magenta, yellow and black ``(H, W, 4)``, each of full ink at the type's largest.

    Source: (1 - ink) * (1 - black), the conversion of Pillow for CMYK in JPEG.
    """
    top = float(np.iinfo(inks.dtype).max) if inks.dtype.kind in "iu" else 1.0
    light = 1.0 - inks.astype(np.float32) / np.float32(top)
    rgb = light[:, :, :3] * light[:, :, 3:] * np.float32(top)
    whole: Array = (np.rint(rgb) if inks.dtype.kind in "iu" else rgb).astype(inks.dtype)
    return whole


def _pages(file: Any) -> list[Any]:
    """Pictures of full size: no overviews, thumbnails or transparency masks."""
    if len(file.pages) == 1:
        return [file.pages[0]]
    pages = [page if isinstance(page, tifffile.TiffPage) else page.aspage() for page in file.pages]
    return [page for page in pages if not int(page.subfiletype) & 5] or pages[:1]


def _frames(file: Any, pages: list[Any]) -> int:
    """ImageJ keeps many frames behind one page; a page may also have a depth."""
    deep = max(int(pages[0].imagedepth), 1)
    frames = int((file.imagej_metadata or {}).get("images", 1)) if file.is_imagej else 1
    return max(len(pages) * deep, frames)


def _named_channels(file: Any) -> Array | None:
    """The only axis besides height and width, where the file calls it channels (ImageJ, OME).

    tifffile cuts an array (H, W, C) that nobody called a picture into H pages of (W, C) and notes its shape.
    """
    if not (file.is_imagej or file.is_ome or file.is_shaped) or len(file.series) != 1:
        return None
    series = file.series[0]
    if file.is_shaped and len(series.shape) == 3 and series.shape[2] <= min(16, min(series.shape[:2]) // 2):
        whole: Array = series.asarray()
        return whole
    if sorted(series.axes) != ["C", "X", "Y"]:
        return None
    planes: Array = series.asarray()
    return np.moveaxis(planes, series.axes.index("C"), 2)


def _stacked(path: Path, file: Any, pages: list[Any]) -> Array:
    if file.is_shaped and len(file.series) == 1 and len(file.series[0].shape) == 3:
        # tifffile cuts (H, W, C) into H pages of (W, C), and notes the shape that was meant
        whole = file.series[0].asarray()
        return np.moveaxis(whole, int(np.argmin(whole.shape)), 2)
    shapes = {page.shape for page in pages}
    if len(shapes) > 1 or len(pages[0].shape) != 2:
        raise SegfocalError(
            f"{path}: pages that are channels must be grey and of one size, got {sorted(shapes)}."
        )
    return np.stack([page.asarray() for page in pages], axis=2)


def _channels_last(path: Path, page: Any) -> Array:
    array: Array = page.asarray()
    if array.ndim == 3 and page.axes == "SYX":
        array = np.moveaxis(array, 0, 2)
    if array.ndim not in (2, 3) or (array.ndim == 3 and page.axes not in ("SYX", "YXS")):
        raise SegfocalError(f"{path}: expected a picture, got axes {page.axes} of shape {page.shape}.")
    return array


def _inverted(path: Path, page: Any, array: Array) -> Array:
    if array.dtype == bool or array.dtype.kind == "i":
        return ~array
    if array.dtype.kind != "u":
        raise SegfocalError(
            f"{path}: white is zero in a picture of {array.dtype}: where black is, is unknown."
        )
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 8 * array.dtype.itemsize
    turned: Array = array.dtype.type(2**bits - 1) - array
    return turned


def _with_extra(rgb: Array, array: Array, base: int) -> Array:
    return np.concatenate([rgb, array[:, :, base:]], axis=2) if array.shape[2] > base else rgb


def _lab(path: Path, page: Any, array: Array) -> Array:
    """Lab to sRGB in the depth of the file; a and b are signed in CIELAB and offset in ICCLAB."""
    if array.dtype not in (np.uint8, np.uint16, np.int8, np.int16):
        raise SegfocalError(f"{path}: Lab must be of 8 or 16 bits, got {array.dtype}. Save it as RGB.")
    size = array.dtype.itemsize
    unsigned, signed = (np.uint8, np.int8) if size == 1 else (np.uint16, np.int16)
    step = 1.0 if size == 1 else 256.0
    top = 255.0 if size == 1 else 65535.0
    light = np.ascontiguousarray(array[:, :, 0]).view(unsigned).astype(np.float64) * (100.0 / top)
    pair = np.ascontiguousarray(array[:, :, 1:])
    if page.photometric == PHOTOMETRIC.ICCLAB:
        ab = pair.view(unsigned).astype(np.float64) / step - 128.0
    else:
        ab = pair.view(signed).astype(np.float64) / step
    white = page.tags.get(_WHITE_POINT)
    x = 0.0 if white is None else white.value[0] / max(white.value[1], 1)
    name = "D65" if abs(x - _D65_X) < 0.005 else "D50"
    return (np.rint(lab_to_srgb(light, ab, white=name) * top)).astype(unsigned)


def lab_to_srgb(light: Array, ab: Array, *, white: str) -> npt.NDArray[np.float64]:
    """Return sRGB within [0, 1] of CIE Lab.

    Args:
        light: ``(H, W)``, 0 to 100.
        ab: ``(H, W, 2)``.
        white: ``"D50"`` or ``"D65"``.

    Source: CIE 15:2004, section 8.2.1; IEC 61966-2-1 for sRGB.
    """
    y = (light + 16.0) / 116.0
    roots = np.stack([y + ab[:, :, 0] / 500.0, y, y - ab[:, :, 1] / 200.0], axis=2)
    xyz = np.where(roots > 6.0 / 29.0, roots**3, (roots - 4.0 / 29.0) * (108.0 / 841.0))
    linear = (xyz * np.array(_WHITE[white])) @ np.array(_FROM_XYZ[white]).T
    linear = linear.clip(0.0, 1.0)
    curve: npt.NDArray[np.float64] = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055
    )
    return curve


def _ycbcr(path: Path, page: Any) -> Array:
    """Baseline YCbCr of 8 bits, its colours at full or at reduced size, to RGB."""
    if int(page.compression) not in _PLAIN or page.dtype != np.uint8 or page.samplesperpixel != 3:
        raise SegfocalError(
            f"{path}: YCbCr of {page.dtype} with compression {int(page.compression)} is not read. "
            "Save it as RGB."
        )
    found = page.tags.get(_SUBSAMPLING)
    # the standard's default is 2 x 2; libtiff writes the tag always
    step = (2, 2) if found is None else (int(found.value[0]), int(found.value[1]))
    planes = _channels_last(path, page) if step == (1, 1) else _subsampled(path, page, step)
    luma = _numbers(page, _COEFFICIENTS, (0.299, 0.587, 0.114))
    levels = _numbers(page, _LEVELS, (0.0, 255.0, 128.0, 255.0, 128.0, 255.0))
    y, cb, cr = (planes[:, :, n].astype(np.float64) for n in range(3))
    y = (y - levels[0]) * (255.0 / (levels[1] - levels[0]))
    cb = (cb - levels[2]) * (127.0 / (levels[3] - levels[2]))
    cr = (cr - levels[4]) * (127.0 / (levels[5] - levels[4]))
    red = y + cr * (2.0 - 2.0 * luma[0])
    blue = y + cb * (2.0 - 2.0 * luma[2])
    green = (y - luma[0] * red - luma[2] * blue) / luma[1]
    rgb: Array = np.rint(np.stack([red, green, blue], axis=2)).clip(0, 255).astype(np.uint8)
    return rgb


def _numbers(page: Any, tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """The rational numbers of a tag."""
    found = page.tags.get(tag)
    if found is None:
        return default
    parts = np.asarray(found.value, dtype=np.float64).ravel()
    if len(parts) == len(default):
        return tuple(parts.tolist())
    return tuple((parts[0::2] / np.maximum(parts[1::2], 1)).tolist())


def _subsampled(path: Path, page: Any, step: tuple[int, int]) -> Array:
    """Strips or tiles of blocks: the luminances of a block row by row, then its Cb and its Cr."""
    if int(page.planarconfig) != 1:
        raise SegfocalError(f"{path}: reduced colours in separate planes are not read. Save it as RGB.")
    wide, high = step
    tiled = page.is_tiled
    height = page.tilelength if tiled else min(page.rowsperstrip, page.imagelength)
    width = page.tilewidth if tiled else page.imagewidth
    across = -(-page.imagewidth // width)
    whole = np.zeros((-(-page.imagelength // height) * height + high, across * width + wide, 3), np.uint8)
    with path.open("rb") as file:
        for place, (start, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
            file.seek(start)
            data = _decompressed(file.read(size), int(page.compression))
            top, left = place // across * height, place % across * width
            rows = height if tiled else min(height, page.imagelength - top)
            part = _blocks(np.frombuffer(data, np.uint8), (-(-rows // high), -(-width // wide)), step)
            part = part[:rows, :width]
            whole[top : top + len(part), left : left + part.shape[1]] = part
    return whole[: page.imagelength, : page.imagewidth]


def _blocks(data: Array, count: tuple[int, int], step: tuple[int, int]) -> Array:
    wide, high = step
    down, across = count
    units = data[: down * across * (wide * high + 2)].reshape(down, across, wide * high + 2)
    luma = units[:, :, :-2].reshape(down, across, high, wide).transpose(0, 2, 1, 3)
    found = np.empty((down * high, across * wide, 3), np.uint8)
    found[:, :, 0] = luma.reshape(down * high, across * wide)
    found[:, :, 1:] = units[:, :, -2:].repeat(high, axis=0).repeat(wide, axis=1)
    return found


def _decompressed(data: bytes, compression: int) -> bytes:
    if compression == 1:
        return data
    whole: bytes = bytes(tifffile.TIFF.DECOMPRESSORS[compression](data))
    return whole
