"""Connected components of masks, and which predicted ones find which of the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

Array = NDArray[np.int64]

LEAST_IOU = 0.1


@dataclass(frozen=True, eq=False)
class Components:
    """The components of a mask, numbered from 0 by their first pixel.

    Args:
        numbers: ``(*S)`` int32: one more than the number of the component, 0 outside of all.
        pixels: Flat places of all pixels of components, rising.
        sizes: Pixels of each component.
        centres: Flat place of the mean of each component's pixels, halves rounded up; it may lie outside.
    """

    numbers: NDArray[np.int32]
    pixels: Array
    sizes: Array
    centres: Array

    def __len__(self) -> int:
        return len(self.sizes)

    def at(self, places: Array) -> Array:
        """Return the component at each flat place, -1 where there is none."""
        return np.asarray(self.numbers.reshape(-1)[places], dtype=np.int64) - 1


def find_components(mask: NDArray[np.bool_], *, full: bool = True, min_size: int = 1) -> Components:
    """Split a mask into connected components.

    Args:
        mask: ``(*S)``, two or three axes.
        full: Whether pixels that share a corner are neighbours (8 in 2D, 26 in 3D), else only those that
            share a side (4 and 6).
        min_size: Smaller components, in pixels, are left out as if the mask did not hold them.

    Returns:
        Its components.

    Example:
        >>> find_components(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]], dtype=bool)).sizes.tolist()
        [2, 2]
    """
    structure = ndimage.generate_binary_structure(mask.ndim, mask.ndim if full else 1)
    numbers, count = ndimage.label(mask, structure)
    pixels = np.flatnonzero(mask)
    own = numbers.reshape(-1)[pixels]
    sizes = np.bincount(own, minlength=count + 1)[1:]
    if min_size > 1 and (sizes < min_size).any():
        large = sizes >= min_size
        renamed = np.concatenate([[0], np.where(large, np.cumsum(large), 0)]).astype(np.int32)
        own = renamed[own]
        numbers.reshape(-1)[pixels] = own
        pixels, own, sizes = pixels[own > 0], own[own > 0], sizes[large]
    return Components(numbers, pixels, sizes, _centres(pixels, own, sizes, mask.shape))


def hits(predicted: Components, reference: Components) -> csr_array:
    """Return which predicted components are good enough for which of the reference.

    A prediction is good enough for a lesion when their IoU exceeds .1, or when its centre lies inside the
    lesion. The latter saves a small prediction within a large lesion. The lesion's centre inside the
    prediction is not enough: one prediction over the whole image would then find a lesion.

    Args:
        predicted: Components of one image.
        reference: Components of the same image.

    Returns:
        ``(predicted, reference)``, nonzero where good enough.
    """
    ours, theirs = predicted.at(reference.pixels), reference.at(reference.pixels)
    both = ours >= 0
    width = max(1, len(reference))
    keys, shared = np.unique(ours[both] * width + theirs[both], return_counts=True)
    ours, theirs = np.divmod(keys, width)
    near = shared > LEAST_IOU * (predicted.sizes[ours] + reference.sizes[theirs] - shared)
    around = reference.at(predicted.centres)
    inside = np.flatnonzero(around >= 0)
    rows, columns = np.concatenate([ours[near], inside]), np.concatenate([theirs[near], around[inside]])
    allowed = csr_array(
        (np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=(len(predicted), len(reference))
    )
    allowed.sum_duplicates()
    return allowed


def count_matches(allowed: csr_array) -> int:
    """Return how many pairs of one prediction and one lesion there can be at most, each in one pair only.

    Args:
        allowed: Of ``hits``.
    """
    if not allowed.nnz:
        return 0
    return int(np.count_nonzero(maximum_bipartite_matching(allowed, perm_type="column") >= 0))


def _centres(pixels: Array, own: NDArray[np.int32], sizes: Array, shape: tuple[int, ...]) -> Array:
    centre = np.zeros(len(sizes), dtype=np.int64)
    for axis, along in enumerate(np.unravel_index(pixels, shape)):
        # sums of coordinates stay far below 2^53, so that float64 holds them exactly
        total = np.bincount(own, weights=along, minlength=len(sizes) + 1)[1:].astype(np.int64)
        centre += (2 * total + sizes) // (2 * sizes) * math.prod(shape[axis + 1 :])
    return centre
