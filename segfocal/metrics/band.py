"""The band around a reference boundary, where segmentations err."""

from __future__ import annotations

import torch
from torch import Tensor


def boundary_band(positive: Tensor, negative: Tensor, *, radius_px: int = 5) -> Tensor:
    """Mark the pixels that lie within a distance of both sides of the boundary.

    The distance is the chessboard one (a square window), the boundary runs between pixels: a straight edge
    has ``radius_px`` pixels of the band on each side. The border of the image is no boundary, nor is that of
    an ignored area.

    Args:
        positive: bool, (*S): labelled with the class.
        negative: bool, same shape: labelled otherwise; ignored pixels are neither.
        radius_px: Pixels (voxels) on each side.

    Returns:
        bool, same shape; all False where the image shows one side only.

    Example:
        >>> line = torch.tensor([0, 0, 0, 1, 1, 1]).bool()
        >>> boundary_band(line, ~line, radius_px=1).int().tolist()
        [0, 0, 1, 1, 0, 0]
    """
    near = dilate(positive, radius_px=radius_px) & dilate(negative, radius_px=radius_px)
    return near & (positive | negative)


def dilate(mask: Tensor, *, radius_px: int) -> Tensor:
    """Grow a mask by a square window (cube in 3D) of ``2 radius_px + 1`` pixels; equals max pooling.

    Args:
        mask: bool, (*S).
        radius_px: Pixels on each side, at least 0.

    Returns:
        bool, same shape.

    Example:
        >>> dilate(torch.tensor([0, 0, 0, 1, 0]).bool(), radius_px=1).int().tolist()
        [0, 0, 1, 1, 1]
    """
    for axis in range(mask.ndim):
        mask = _grow(mask, axis=axis, radius_px=radius_px)
    return mask


def _grow(mask: Tensor, *, axis: int, radius_px: int) -> Tensor:
    """One axis by doubling: shifts of 1, 2, 4, ... cover a window of w pixels in log2(w) passes."""
    size = list(mask.shape)
    size[axis] = radius_px
    zeros = torch.zeros(size, dtype=torch.bool, device=mask.device)
    grown = torch.cat([zeros, mask, zeros], dim=axis)
    window, wanted = 1, 2 * radius_px + 1
    while window < wanted:
        shift = min(window, wanted - window)
        length = grown.shape[axis] - shift
        grown = grown.narrow(axis, 0, length) | grown.narrow(axis, shift, length)
        window += shift
    return grown
