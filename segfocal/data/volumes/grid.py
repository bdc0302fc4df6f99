"""Where the voxels of a file lie: affines that can be used, and files that belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel import orientations

from segfocal.errors import SegfocalError

Affine = npt.NDArray[np.float64]

# of the cosine between two axes, and of a corner's place in voxels
SHEAR = 1e-3
SHIFT = 0.1


def check_same_grid(
    path: Path,
    shape: tuple[int, ...],
    affine: Affine,
    other: Path,
    other_shape: tuple[int, ...],
    other_affine: Affine,
) -> None:
    """Raise unless two files have the same voxels in the same places, to a tenth of a voxel.

    Args:
        path: One file.
        shape: Its voxels along the three axes.
        affine: Its affine.
        other: The other file.
        other_shape: Its voxels.
        other_affine: Its affine.

    Raises:
        SegfocalError: Naming both and what differs.
    """
    if tuple(shape) != tuple(other_shape):
        raise SegfocalError(
            f"{path} and {other} must have the same shape, got {tuple(shape)} and {tuple(other_shape)}."
        )
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * np.array([*shape, 1])
    away_mm = np.linalg.norm((corners @ affine.T - corners @ other_affine.T)[:, :3], axis=1).max()
    if away_mm > SHIFT * np.linalg.norm(affine[:3, :3], axis=0).min():
        raise SegfocalError(
            f"{path} and {other} must have the same affine, but their corners lie up to {away_mm:.3g} mm "
            f"apart: {np.round(affine, 4).tolist()} and {np.round(other_affine, 4).tolist()}. Resample "
            "one to the other."
        )


def turned(values: npt.NDArray[Any], affine: Affine, *, like: Affine) -> tuple[npt.NDArray[Any], Affine]:
    """Return a volume with its axes in the order and direction of another, every voxel where it was.

    Args:
        values: ``(K, X, Y, Z)``.
        affine: Its affine.
        like: Affine of the other.

    Returns:
        Array and affine.
    """
    steps = orientations.ornt_transform(
        orientations.io_orientation(affine), orientations.io_orientation(like)
    )
    planes = np.stack([orientations.apply_orientation(plane, steps) for plane in values])
    return planes, affine @ orientations.inv_ornt_aff(steps, values.shape[1:])


def check_affine(affine: Affine, path: Path) -> None:
    """Raise unless an affine has axes at right angles and edges of some length.

    Args:
        affine: ``(4, 4)``.
        path: Of its file.

    Raises:
        SegfocalError: Naming the file and the angle.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() <= 0:
        raise SegfocalError(f"{path}: the affine gives no spacing: {affine.tolist()}. Repair the header.")
    directions = affine[:3, :3] / lengths
    shear = np.abs(directions.T @ directions - np.eye(3)).max()
    if shear > SHEAR:
        raise SegfocalError(
            f"{path}: the axes of the affine must be at right angles, got a cosine of {shear:.3g} between "
            f"two: {np.round(affine, 4).tolist()}. Resample the volume to a straight grid."
        )
