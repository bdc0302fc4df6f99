"""What one volume and its label map hold, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import nibabel
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from segfocal.data.volumes.grid import Affine, check_same_grid, turned
from segfocal.data.volumes.layout import VolumeFiles
from segfocal.data.volumes.reading import open_nifti, read_labels, read_volume
from segfocal.errors import SegfocalError

_SAMPLE = 1000
_MOST_PIECES = 1000


@dataclass(frozen=True, eq=False)
class VolumeFacts:
    """One volume and its label map.

    Args:
        name: Of the case.
        problems: Sentences; where a file cannot be used, all else is empty.
        size_vx: Voxels to the right, anterior, superior.
        spacing_mm: Edges of a voxel, likewise.
        orientation: What the stored axes point to, such as "RAS".
        dtype: Of the stored image.
        label_dtype: Of the stored label map.
        percentiles: ``(channels, 3)``: .5, 50 and 99.5 %.
        foreground: At most 1000 values of the first channel over foreground.
        zero_share: Share of the voxels that are 0 in all channels.
        voxels: Label to voxels.
        component_vx: Sizes of the connected pieces of each label but 0, at most 1000.
        digest: Of the voxels: equal for equal volumes, however they are packed.
        note: What was rounded in the label map, or "".
    """

    name: str
    problems: list[str] = field(default_factory=list)
    size_vx: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] = ()
    orientation: str = ""
    dtype: str = ""
    label_dtype: str = ""
    percentiles: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    foreground: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    zero_share: float = 0.0
    voxels: dict[int, int] = field(default_factory=dict)
    component_vx: tuple[int, ...] = ()
    digest: bytes = b""
    note: str = ""


def measure_volume(case: VolumeFiles, *, channels: int, known: Sequence[int] | None) -> VolumeFacts:
    """Read a volume and its label map.

    Args:
        case: Their files.
        channels: Of the image.
        known: Labels that dataset.json names; None: any.

    Returns:
        Its facts; what training would refuse is named among the problems.
    """
    try:
        volume = read_volume(case.images, channels=channels)
        labels, affine, note = read_labels(case.mask, known=known)
        series = volume.path.is_dir()
        if series:  # as in training
            planes, affine = turned(labels[None], affine, like=volume.affine)
            labels = planes[0]
        sizes = volume.array.shape[1:], labels.shape
        check_same_grid(volume.path, sizes[0], volume.affine, case.mask, sizes[1], affine)
    except SegfocalError as error:
        return VolumeFacts(case.name, [str(error)])
    values, counts = np.unique(labels, return_counts=True)
    order, letters = _axes(volume.affine)
    edges = np.linalg.norm(volume.affine[:3, :3], axis=0)
    foreground = volume.array[0][labels != 0]
    return VolumeFacts(
        name=case.name,
        size_vx=tuple(labels.shape[axis] for axis in order),
        spacing_mm=tuple(float(edges[axis]) for axis in order),
        orientation=letters,
        dtype="DICOM" if series else str(open_nifti(case.images[0]).get_data_dtype()),
        label_dtype=str(open_nifti(case.mask).get_data_dtype()),
        percentiles=np.array([np.percentile(plane, [0.5, 50, 99.5]) for plane in volume.array]),
        foreground=foreground[:: max(1, len(foreground) // _SAMPLE)][:_SAMPLE],
        zero_share=float((volume.array == 0).all(axis=0).mean()),
        voxels=dict(zip(values.tolist(), counts.tolist(), strict=True)),
        component_vx=_pieces(labels),
        digest=hashlib.blake2b(volume.array.tobytes(), digest_size=16).digest(),
        note=note,
    )


def _axes(affine: Affine) -> tuple[list[int], str]:
    """Return which stored axis runs to the right, anterior and superior, and what the axes point to."""
    along = nibabel.io_orientation(affine)[:, 0].astype(int).tolist()
    return [along.index(axis) for axis in range(3)], "".join(nibabel.aff2axcodes(affine))


def _pieces(labels: npt.NDArray[np.integer]) -> tuple[int, ...]:
    """Return sizes of pieces of each label, looked for in the box around it."""
    sizes: list[int] = []
    for number, box in enumerate(ndimage.find_objects(labels.astype(np.int32, copy=False)), start=1):
        if box is not None:
            pieces, count = ndimage.label(labels[box] == number, structure=np.ones((3, 3, 3)))
            sizes += np.bincount(pieces.ravel(), minlength=count + 1)[1:].tolist()
    return tuple(sizes[:_MOST_PIECES])
