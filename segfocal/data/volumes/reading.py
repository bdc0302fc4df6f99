"""Read volumes from NIfTI files and DICOM series, and refuse what would silently become something else."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from segfocal.data.volumes.dicom import read_series
from segfocal.data.volumes.grid import Affine, check_affine, check_same_grid
from segfocal.errors import SegfocalError, reading

Values = npt.NDArray[Any]
FLOAT32 = float(np.finfo(np.float32).max)
_GZIP_RATIO, _MOST_AXES = 1100, 7
FEW = 32  # values of a label map whose labels nobody names
NEAR = 0.005  # of a whole number: what 1 becomes in 8 bits that reach to 2 is .0039 away


@dataclass(frozen=True, eq=False)
class Volume:
    """An image and where its voxels lie.

    Args:
        array: ``(C, X, Y, Z)`` float32, the axes as stored.
        affine: ``(4, 4)``, voxel numbers to millimetres, right, anterior and superior positive.
        path: Its first file, or the folder of its DICOM series.
    """

    array: npt.NDArray[np.float32]
    affine: Affine
    path: Path


def read_volume(paths: Sequence[Path], *, channels: int) -> Volume:
    """Read an image.

    Args:
        paths: One file per channel, or one for all of them; a folder is a DICOM series of one channel.
        channels: How many there must be.

    Returns:
        The image with finite values.

    Raises:
        SegfocalError: Naming the file: damaged, of another number of axes or channels, with a skewed affine,
            or with NaN; and where the channels do not lie on one grid.
    """
    if len(paths) not in (1, channels):
        listed = ", ".join(path.name for path in paths)
        raise SegfocalError(f"{paths[0]}: expected {channels} channels, got {len(paths)} files: {listed}.")
    own = channels if len(paths) == 1 else 1
    read = [_channels(path, own) for path in paths]
    for path, (array, affine) in zip(paths[1:], read[1:], strict=True):
        check_same_grid(paths[0], read[0][0].shape[1:], read[0][1], path, array.shape[1:], affine)
    array = read[0][0] if len(read) == 1 else np.concatenate([each for each, _ in read])
    return Volume(array, read[0][1], paths[0])


def read_labels(path: Path, *, known: Sequence[int] | None) -> tuple[Values, Affine, str]:
    """Read a label map.

    Programs that store labels with a factor make .9961 of 1; such values are read as the whole numbers that
    they stand for.

    Args:
        path: The file.
        known: The values that may occur; None: any.

    Returns:
        Whole numbers ``(X, Y, Z)`` as stored, the affine, and what was rounded ("" where nothing was).

    Raises:
        SegfocalError: Naming the file: as `read_volume`, or with fractions, or other values.
    """
    image = open_nifti(path)
    values = _three_axes(_values(image, path), path)
    note = ""
    if values.dtype.kind == "f" or _factor(image) is not None:
        values, note = _whole(values, image, path, known)
    if known is not None:
        _check_known(values, known, path)
    return values, np.asarray(image.affine, dtype=np.float64), note


def _whole(
    values: Values, image: Any, path: Path, known: Sequence[int] | None
) -> tuple[npt.NDArray[np.int32], str]:
    """Return labels without the traces of a factor: rounded, or as the file stores them."""
    factor = _factor(image)
    finite = np.isfinite(values)
    rounded = np.where(finite, np.round(np.where(finite, values, 0)), 0).astype(np.int32)
    whole = finite & (np.abs(values - rounded) <= _tolerance(factor))
    scale = f" with slope {factor[0]:.4g} and intercept {factor[1]:.4g}" if factor else ""
    if whole.all() and (factor is None or known is None or np.isin(rounded, known).all()):
        odd = np.unique(values[values != rounded])
        shown = ", ".join(f"{value:.8g}" for value in odd[:3].tolist())
        return rounded, f"stored{scale}, values such as {shown} are rounded" if odd.size else ""
    stored = _stored(image)
    # a factor that makes fractions, or other numbers than the labels, was never meant for them
    if factor is not None and stored is not None and _could_be_labels(stored, known):
        return stored, f"stored{scale}, which is left out: the stored whole numbers are the labels"
    if whole.all():
        return rounded, ""
    odd = np.unique(values[~whole])[:5]
    raise SegfocalError(
        f"{path}: labels must be whole numbers, got {np.count_nonzero(~whole)} voxels such as {odd.tolist()}"
        f"{f' (stored{scale})' if scale else ''}. Resample label maps with nearest neighbours."
    )


def _tolerance(factor: tuple[float, float] | None) -> float:
    """Return how far a label may lie from a whole number: half a step of what the file can store."""
    step = abs(factor[0]) if factor else 0.0
    return max(NEAR, step / 2 if step <= 0.5 else 0.0)


def _could_be_labels(stored: Values, known: Sequence[int] | None) -> bool:
    if known is not None:
        return bool(np.isin(stored, known).all())
    return int(stored.min()) >= 0 and len(np.unique(stored)) <= FEW


def _factor(image: Any) -> tuple[float, float] | None:
    """Return slope and intercept of a file, None where they change nothing."""
    slope, intercept = getattr(image.dataobj, "slope", 1.0), getattr(image.dataobj, "inter", 0.0)
    return None if (slope, intercept) == (1.0, 0.0) else (float(slope), float(intercept))


def _stored(image: Any) -> npt.NDArray[np.int32] | None:
    stored = np.asanyarray(image.dataobj.get_unscaled())
    if stored.dtype.kind not in "iu":
        return None
    plain: npt.NDArray[np.int32] = (stored[..., 0] if stored.ndim == 4 else stored).astype(np.int32)
    return plain


def _check_known(values: Values, known: Sequence[int], path: Path) -> None:
    found, counts = np.unique(values, return_counts=True)
    wrong = ~np.isin(found, known)
    if wrong.any():
        listed = ", ".join(
            f"{v} ({n} voxels)" for v, n in zip(found[wrong][:10], counts[wrong][:10], strict=True)
        )
        raise SegfocalError(
            f"{path}: the labels are said to be {', '.join(map(str, known))}, the file holds {listed}. Name "
            "them in dataset.json (or in labels, where a table lists the volumes), or repair the file."
        )


def open_nifti(path: Path) -> Any:
    """Open a file, checking its header.

    Args:
        path: ``.nii`` or ``.nii.gz``.

    Returns:
        nibabel's image, its voxels not read yet.

    Raises:
        SegfocalError: Where it is no such file, or its axes are not at right angles.
    """
    if not path.is_file():
        raise SegfocalError(f"expected a NIfTI file at {path}, found none.")
    with reading(path, kind="NIfTI"), _quiet():
        image: Any = nibabel.load(path)
        affine, shape = np.asarray(image.affine, dtype=np.float64), tuple(map(int, image.shape))
        if not 0 <= len(shape) <= _MOST_AXES or min(shape, default=1) < 1:
            raise SegfocalError(f"{path}: the header gives the shape {shape}. Repair the header.")
        _check_size(path, shape, image.get_data_dtype())
    check_affine(affine, path)
    return image


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what nibabel prints of the headers that it repairs, in the middle of a page."""
    log = logging.getLogger("nibabel.global")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _check_size(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise where a header promises more voxels than the file can hold, before memory is taken for them.

    gzip packs zeros about a thousand times smaller, and no byte more.
    """
    needed = math.prod(shape) * dtype.itemsize
    size = path.stat().st_size
    most = size * _GZIP_RATIO if path.name.lower().endswith(".gz") else size
    if needed > most:
        raise SegfocalError(
            f"{path} is damaged or cut off: its header gives {' x '.join(map(str, shape))} voxels of "
            f"{dtype}, {needed} bytes, the file holds {size}. Restore the file."
        )


def _channels(path: Path, channels: int) -> tuple[npt.NDArray[np.float32], Affine]:
    if path.is_dir():
        if channels != 1:
            raise SegfocalError(f"{path}: a DICOM series holds one channel, expected {channels}.")
        values, affine = read_series(path)
    else:
        image = open_nifti(path)
        values, affine = _image_array(image, path, channels), np.asarray(image.affine, dtype=np.float64)
    broken = np.count_nonzero(~np.isfinite(values))
    if broken:
        raise SegfocalError(f"{path}: {broken} voxels are NaN or infinite. Repair or remove the volume.")
    beyond = np.abs(values) > FLOAT32 if values.dtype == np.float64 else np.zeros(1, bool)
    if beyond.any():
        raise SegfocalError(
            f"{path}: {np.count_nonzero(beyond)} voxels are beyond the range of float32, such as "
            f"{values[beyond][0]:.4g}. Repair or rescale the volume."
        )
    return np.ascontiguousarray(values, dtype=np.float32), affine


def _image_array(image: Any, path: Path, channels: int) -> Values:
    values = _values(image, path)
    if channels == 1:
        return _three_axes(values, path)[None]
    if values.ndim != 4 or values.shape[3] != channels:
        raise SegfocalError(f"{path}: expected {channels} channels on a fourth axis, got {values.shape}.")
    return np.moveaxis(values, 3, 0)


def _three_axes(values: Values, path: Path) -> Values:
    if values.ndim == 4 and values.shape[3] == 1:
        first: Values = values[..., 0]
        return first
    if values.ndim != 3 or 0 in values.shape:
        raise SegfocalError(
            f"{path}: expected a volume of 3 axes, got shape {values.shape}. Where the fourth axis holds "
            "channels, dataset.json must name each of them; choose one volume of a time series."
        )
    return values


def _values(image: Any, path: Path) -> Values:
    with reading(path, kind="NIfTI, damaged or cut off"):
        values: Values = np.asanyarray(image.dataobj)
    if values.dtype.kind not in "buif":
        raise SegfocalError(f"{path}: expected one number per voxel, got {values.dtype}.")
    return values
