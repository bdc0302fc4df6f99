"""Read the slices of a DICOM series as one volume, and refuse what would silently become another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.data.volumes.grid import SHIFT, Affine, check_affine
from segfocal.data.volumes.series import ENDINGS, series_files
from segfocal.errors import SegfocalError, reading, said

# name to how many numbers it has
NEEDED = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
# directions and lengths are written with six digits or so
DIGITS = 1e-4


def read_series(folder: Path) -> tuple[npt.NDArray[np.float32], Affine]:
    """Read a series through MONAI's reader for pydicom.

    Slices are ordered by where they lie, whatever their names and numbers; rescale slope and intercept of
    each are applied. Files without an image (structures, reports) are passed over.

    Args:
        folder: Holds the slices of one series.

    Returns:
        ``(1, X, Y, Z)``, X along a row, Y down the rows, Z along the slices; and the affine, voxel numbers to
        millimetres, right, anterior and superior positive.

    Raises:
        SegfocalError: Naming folder and file: several series, missing slices, mixed sizes, damaged files,
            several frames or colours in a file, no position; and where pydicom is not installed.
    """
    with reading(folder, kind="a DICOM series", remedy="Restore or convert its files."):
        slices = _open(folder)
        _check_one_series(slices, folder)
        _check_alike(slices, folder)
        ordered = _ordered(slices, folder)
    for number, (_, slice_) in enumerate(ordered, start=1):
        slice_.InstanceNumber = number  # what MONAI sorts by; files often number them otherwise
    from monai.data import PydicomReader  # brings torch, which lists of files do not need

    reader = PydicomReader()
    # its own way to find the files fails on names with brackets and does not name a damaged one
    reader.has_series, reader.filenames = True, [[str(path) for path, _ in ordered]]
    try:
        array, meta = reader.get_data([slice_ for _, slice_ in ordered])
    except Exception as error:  # decoders raise whatever they stumble over
        raise SegfocalError(
            f"{folder}: the pixels cannot be read ({said(error, folder)}). Restore the files; compressed "
            "ones need plugins of pydicom (pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg), or "
            "convert the series to NIfTI."
        ) from error
    affine = np.asarray(meta["affine"], dtype=np.float64)
    check_affine(affine, folder)
    return np.asarray(array, dtype=np.float32)[None], affine


def _open(folder: Path) -> list[tuple[Path, Any]]:
    """Read the files that hold an image."""
    try:
        import pydicom
    except ImportError as error:
        raise SegfocalError(f"{folder}: DICOM files need pydicom: pip install 'segfocal[dicom]'.") from error
    files = series_files(folder)
    if not files:
        raise SegfocalError(
            f"{folder} holds no DICOM files ({', '.join(ENDINGS)}). Name the folder that does."
        )
    found, without = [], []
    for path in files:
        try:
            content = pydicom.dcmread(path)
        except Exception as error:  # as above
            reason = str(error).partition(". Use force")[0].rstrip(".")
            raise SegfocalError(f"{path} cannot be read as DICOM: {reason}. Restore or remove it.") from error
        if "Rows" not in content:
            without.append((path, content))
            continue
        if "PixelData" not in content and "FloatPixelData" not in content:
            raise SegfocalError(f"{path} is cut off: it has a size and no pixels. Restore the file.")
        found.append((path, content))
    _check_whole(found, without)
    if len(found) < 2:
        raise SegfocalError(
            f"{folder}: a volume needs at least two slices, got {len(found)} in {len(files)} DICOM files. "
            "Files with all slices in one (enhanced DICOM) must be converted to NIfTI."
        )
    return found


def _check_whole(slices: Sequence[tuple[Path, Any]], without: Sequence[tuple[Path, Any]]) -> None:
    """Raise for a file that calls itself what the slices are and ends before its image."""
    kinds = {_kind(slice_) for _, slice_ in slices} - {""}
    for path, content in without:
        if _kind(content) in kinds:
            raise SegfocalError(f"{path} is cut off: it is a slice without an image. Restore the file.")


def _kind(content: Any) -> str:
    return str(content.file_meta.get("MediaStorageSOPClassUID", "") if "file_meta" in vars(content) else "")


def _check_one_series(slices: Sequence[tuple[Path, Any]], folder: Path) -> None:
    members: dict[str, list[tuple[Path, Any]]] = {}
    for path, slice_ in slices:
        members.setdefault(str(slice_.get("SeriesInstanceUID", "")), []).append((path, slice_))
    if len(members) > 1:
        listed = "; ".join(
            f"{len(part)} slices such as {part[0][0].name} ({part[0][1].get('SeriesDescription', 'no name')})"
            for part in list(members.values())[:5]
        )
        raise SegfocalError(
            f"{folder} must hold one series, got {len(members)}: {listed}. Move each to a folder of its own."
        )


def _check_alike(slices: Sequence[tuple[Path, Any]], folder: Path) -> None:
    """See that slices have a place, one image each, and the same size and direction."""
    for path, slice_ in slices:
        missing = [name for name in NEEDED if not slice_.get(name)]
        frames, colors = int(slice_.get("NumberOfFrames", 1) or 1), int(slice_.get("SamplesPerPixel", 1))
        if frames > 1 or colors > 1:
            raise SegfocalError(
                f"{path}: expected one grey slice per file, got {frames} frame(s) of {colors} value(s) per "
                "pixel. Convert the series to NIfTI."
            )
        if missing:
            raise SegfocalError(f"{path}: {', '.join(missing)} is missing, so the slice has no place.")
        for name, count in NEEDED.items():
            if np.size(slice_[name].value) != count:
                raise SegfocalError(
                    f"{path}: {name} must be {count} numbers, got {slice_[name].value}. Repair the file."
                )
    first_path, first = slices[0]
    for path, slice_ in slices[1:]:
        for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
            values = np.atleast_1d(np.array(first[name].value, dtype=float))
            others = np.atleast_1d(np.array(slice_[name].value, dtype=float))
            if not np.allclose(values, others, rtol=0, atol=DIGITS):
                raise SegfocalError(
                    f"{folder}: all slices must have the same {name}, got {values.tolist()} in "
                    f"{first_path.name} and {others.tolist()} in {path.name}. Move the odd ones (localizers, "
                    "other series) to another folder."
                )


def _ordered(slices: Sequence[tuple[Path, Any]], folder: Path) -> list[tuple[Path, Any]]:
    """Return the slices by their place along the normal of their plane, which must be evenly spaced."""
    row, column = np.array(slices[0][1].ImageOrientationPatient, dtype=float).reshape(2, 3)
    places = np.array([slice_.ImagePositionPatient for _, slice_ in slices], dtype=float)
    order = np.argsort(places @ np.cross(row, column), kind="stable")
    found, places = [slices[index] for index in order], places[order]
    gaps = np.diff(places @ np.cross(row, column))
    usual = float(np.median(gaps))
    odd = int(np.abs(gaps - usual).argmax())
    names = f"{found[odd][0].name} and {found[odd + 1][0].name}"
    if gaps.min() < DIGITS:
        same = int(gaps.argmin())
        raise SegfocalError(
            f"{folder}: {found[same][0].name} and {found[same + 1][0].name} lie at the same place. Several "
            "times, echoes or copies in one series must be moved to folders of their own."
        )
    if abs(gaps[odd] - usual) > SHIFT * usual:
        raise SegfocalError(
            f"{folder}: slices must be evenly spaced, got {usual:.4g} mm and, between {names}, "
            f"{gaps[odd]:.4g} mm. Slices are missing, or were not taken evenly: restore or resample them."
        )
    straight = np.linspace(places[0], places[-1], len(places))
    away_mm = np.linalg.norm(places - straight, axis=1)
    if away_mm.max() > SHIFT * min(map(float, slices[0][1].PixelSpacing)):
        name = found[int(away_mm.argmax())][0].name
        raise SegfocalError(
            f"{folder}: the corners of the slices must lie on a line, got {name} {away_mm.max():.3g} mm "
            "beside it. Resample the series to a straight grid."
        )
    return found
