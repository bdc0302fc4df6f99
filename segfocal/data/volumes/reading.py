"""Read volumes from NIfTI files and DICOM series, and refuse what would silently become something else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

from segfocal.data.volumes.dicom import read_series
from segfocal.data.volumes.grid import Affine, check_affine, check_same_grid
from segfocal.errors import SegfocalError

Values = npt.NDArray[Any]


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


def read_labels(path: Path, *, known: Sequence[int]) -> tuple[Values, Affine]:
    """Read a label map.

    Args:
        path: The file.
        known: The values that may occur.

    Returns:
        Whole numbers ``(X, Y, Z)`` as stored, and the affine.

    Raises:
        SegfocalError: Naming the file: as `read_volume`, or with fractions, or other values.
    """
    image = open_nifti(path)
    values = _three_axes(_values(image, path), path)
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.round(values))
        if not whole.all():
            odd = np.unique(values[~whole])[:5].tolist()
            raise SegfocalError(
                f"{path}: labels must be whole numbers, got {np.count_nonzero(~whole)} voxels such as {odd}. "
                "Resample label maps with nearest neighbours."
            )
        values = values.astype(np.int32)
    found, counts = np.unique(values, return_counts=True)
    wrong = ~np.isin(found, known)
    if wrong.any():
        listed = ", ".join(
            f"{v} ({n} voxels)" for v, n in zip(found[wrong][:10], counts[wrong][:10], strict=True)
        )
        raise SegfocalError(
            f"{path}: dataset.json knows the labels {', '.join(map(str, known))}, the file holds {listed}. "
            "Name them there or repair the file."
        )
    return values, np.asarray(image.affine, dtype=np.float64)


def open_nifti(path: Path) -> Any:
    """Open a file, checking its header.

    Args:
        path: ``.nii`` or ``.nii.gz``.

    Returns:
        nibabel's image, its voxels not read yet.

    Raises:
        SegfocalError: Where it is no such file, or its axes are not at right angles.
    """
    try:
        image: Any = nibabel.load(path)
    except FileNotFoundError as error:
        raise SegfocalError(f"expected a NIfTI file at {path}, found none.") from error
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, zlib.error, ValueError) as error:
        raise SegfocalError(f"{path} cannot be read as NIfTI: {error}. Restore the file.") from error
    check_affine(np.asarray(image.affine), path)
    return image


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
    try:
        values: Values = np.asanyarray(image.dataobj)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise SegfocalError(f"{path} is damaged or cut off: {error}. Restore the file.") from error
    if values.dtype.kind not in "buif":
        raise SegfocalError(f"{path}: expected one number per voxel, got {values.dtype}.")
    return values
