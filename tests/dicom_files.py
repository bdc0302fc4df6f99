"""Tiny DICOM series on disk."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def slices_of(array, affine, *, slope=1.0, intercept=0.0, uid=None):
    """The slices of a volume ``(X, Y, Z)`` whose affine is NIfTI's (right, anterior, superior)."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    edges = np.linalg.norm(lps[:3, :3], axis=0)
    uid = uid or generate_uid()
    return [
        _slice(
            np.rint((array[:, :, z].T - intercept) / slope).astype(np.int16),
            SeriesInstanceUID=uid,
            ImagePositionPatient=[f"{x:.8g}" for x in lps[:3, 3] + z * lps[:3, 2]],
            ImageOrientationPatient=[f"{x:.8g}" for x in (lps[:3, :2] / edges[:2]).T.ravel()],
            PixelSpacing=[f"{x:.8g}" for x in (edges[1], edges[0])],
            RescaleSlope=slope,
            RescaleIntercept=intercept,
            InstanceNumber=z + 1,
        )
        for z in range(array.shape[2])
    ]


def save_slices(slices, folder, names=None):
    """Write slices under names that say nothing about their order."""
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [f"{(7 * number) % 101:03d}.dcm" for number in range(len(slices))]
    for slice_, name in zip(slices, names, strict=True):
        slice_.save_as(folder / name, enforce_file_format=True)
    return folder


def write_series(array, folder: Path, affine, **settings):
    return save_slices(slices_of(array, affine, **settings), folder)


def _slice(pixels, **tags):
    slice_ = Dataset()
    slice_.file_meta = FileMetaDataset()
    slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, generate_uid()
    slice_.Modality = "CT"
    slice_.Rows, slice_.Columns = pixels.shape
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
    slice_.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(slice_, name, value)
    return slice_
