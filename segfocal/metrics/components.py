"""Connected components of masks, and which predicted ones find which of the reference."""

from __future__ import annotations

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
        pixels: Flat places of all pixels of components, rising.
        labels: The component of each of them.
        sizes: Pixels of each component.
        centres: Flat place of the mean of each component's pixels, halves rounded up; it may lie outside.
        shape: Of the mask.
    """

    pixels: Array
    labels: Array
    sizes: Array
    centres: Array
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.sizes)


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
    numbered, count = ndimage.label(mask, structure)
    pixels = np.flatnonzero(mask)
    labels = numbered.reshape(-1)[pixels].astype(np.int64) - 1
    sizes = np.bincount(labels, minlength=count).astype(np.int64)
    if min_size > 1 and (sizes < min_size).any():
        large = sizes >= min_size
        numbers = np.cumsum(large) - 1
        kept = large[labels]
        pixels, labels, sizes = pixels[kept], numbers[labels[kept]], sizes[large]
    return Components(pixels, labels, sizes, _centres(pixels, labels, sizes, mask.shape), mask.shape)


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
    shape = (len(predicted), len(reference))
    place = np.searchsorted(reference.pixels, predicted.pixels)
    place[place == len(reference.pixels)] = 0
    both = _matches(reference.pixels, place, predicted.pixels)
    ours, theirs = predicted.labels[both], reference.labels[place[both]]
    keys, shared = np.unique(ours * max(1, shape[1]) + theirs, return_counts=True)
    ours, theirs = np.divmod(keys, max(1, shape[1]))
    union = predicted.sizes[ours] + reference.sizes[theirs] - shared
    near = shared > LEAST_IOU * union
    at = np.searchsorted(reference.pixels, predicted.centres)
    at[at == len(reference.pixels)] = 0
    inside = _matches(reference.pixels, at, predicted.centres)
    rows = np.concatenate([ours[near], np.flatnonzero(inside)])
    columns = np.concatenate([theirs[near], reference.labels[at[inside]]])
    return csr_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape)


def count_matches(allowed: csr_array) -> int:
    """Return how many pairs of one prediction and one lesion there can be at most, each in one pair only.

    Args:
        allowed: Of ``hits``.
    """
    if not allowed.nnz:
        return 0
    return int(np.count_nonzero(maximum_bipartite_matching(allowed, perm_type="column") >= 0))


def _matches(values: Array, place: Array, wanted: Array) -> NDArray[np.bool_]:
    if not len(values):
        return np.zeros(len(wanted), dtype=bool)
    return np.asarray(values[place] == wanted)


def _centres(pixels: Array, labels: Array, sizes: Array, shape: tuple[int, ...]) -> Array:
    centre = np.zeros(len(sizes), dtype=np.int64)
    for axis, stride in enumerate(_strides(shape)):
        along = pixels // stride % shape[axis]
        # sums of coordinates stay far below 2^53, so that float64 holds them exactly
        total = np.bincount(labels, weights=along, minlength=len(sizes)).astype(np.int64)
        centre += (2 * total + sizes) // (2 * sizes) * stride
    return centre


def _strides(shape: tuple[int, ...]) -> list[int]:
    return [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
