"""Discs: the one building block of every generated structure, and the distance field of many of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

REACH_PX = 3.0  # the field is known this far outside a disc; beyond, it is infinite
_STEPS_PER_PX = 1024
_INDEX_BITS = 20


@dataclass(frozen=True, eq=False)
class Discs:
    """Parallel arrays ``(P,)``, one entry per disc.

    Args:
        y: Row of the centre, px.
        x: Column of the centre, px.
        radius: Radius, px.
        certainty: Probability in (0, 1] that an annotator marks the middle of the disc.
        polarity: +1 brighter than the surroundings, -1 darker.
    """

    y: Array
    x: Array
    radius: Array
    certainty: Array
    polarity: Array

    def __len__(self) -> int:
        return len(self.y)

    def take(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Discs:
        """Return the discs at the given positions or where the mask is true."""
        return Discs(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def inside(self, shape: tuple[int, int]) -> Discs:
        """Return the discs whose centre lies inside a picture of this shape."""
        y, x = np.floor(self.y), np.floor(self.x)
        return self.take((y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1]))


def join(parts: list[Discs]) -> Discs:
    """Return all discs of several groups as one group; an empty list gives an empty group."""
    if not parts:
        return Discs(*(np.empty(0) for _ in fields(Discs)))
    return Discs(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Discs)))


def distance_field(discs: Discs, shape: tuple[int, int]) -> tuple[Array, npt.NDArray[np.int64]]:
    """Compute the signed distance to the nearest disc, negative inside, and which disc that is.

    Args:
        discs: Any number of discs, fewer than 2**20.
        shape: Height and width of the picture.

    Returns:
        Distance ``(H, W)`` in px, to 1/1024 px, infinite beyond `REACH_PX`; and the index ``(H, W)`` of the
        nearest disc, 0 where the distance is infinite.

    Example:
        >>> one = Discs(*(np.array([value]) for value in (2.0, 2.0, 1.0, 1.0, 1.0)))
        >>> distance_field(one, (5, 5))[0][2].tolist()
        [1.0, 0.0, -1.0, 0.0, 1.0]
    """
    height, width = shape
    far = np.iinfo(np.int64).max
    keys = np.full(height * width, far)
    half = np.ceil((discs.radius + REACH_PX) / 4).astype(np.int64) * 4
    for size in np.unique(half):
        index = np.flatnonzero(half == size)
        offset = np.arange(-size, size + 1)
        y = np.floor(discs.y[index]).astype(np.int64)[:, None] + offset
        x = np.floor(discs.x[index]).astype(np.int64)[:, None] + offset
        # outside the picture: too far, whatever the radius
        dy2 = np.where((y >= 0) & (y < height), (y - discs.y[index, None]) ** 2, np.inf)
        dx2 = np.where((x >= 0) & (x < width), (x - discs.x[index, None]) ** 2, np.inf)
        square = dy2[:, :, None] + dx2[:, None, :]
        near = np.flatnonzero(square <= (discs.radius[index, None, None] + REACH_PX) ** 2)
        which = near // offset.size**2
        pixel = (y[:, :, None] * width + x[:, None, :]).ravel()[near]
        distance = np.sqrt(square.ravel()[near]) - discs.radius[index][which]
        # distance above, index below: one integer minimum finds both, and ties do not depend on the order
        key = (np.rint(distance * _STEPS_PER_PX).astype(np.int64) << _INDEX_BITS) + index[which]
        np.minimum.at(keys, pixel, key)
    found = keys < far
    nearest = np.where(found, keys & ((1 << _INDEX_BITS) - 1), 0)
    distance = np.where(found, (keys >> _INDEX_BITS) / _STEPS_PER_PX, np.inf)
    return distance.reshape(shape), nearest.reshape(shape)
