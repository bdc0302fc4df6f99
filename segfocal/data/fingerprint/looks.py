"""What pictures look like: photos or maps of few values, and masks that are a field of view."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from segfocal.data.fingerprint.listing import Picture
from segfocal.data.fingerprint.matching import Masks
from segfocal.data.reading import read_array
from segfocal.errors import SegfocalError

_SAMPLE = 6
_FEW = 64  # values or colours of a map of classes
_SIZE_PX = 64
_ALIKE = 0.95  # overlap of two fields of view
_LEAST = 0.25  # of an image that a field of view covers


class Looks:
    """Reads a few pictures of each kind, each once."""

    def __init__(self) -> None:
        self._seen: dict[Picture, int] = {}
        self._regions: dict[tuple[Any, ...], bool] = {}

    def of_image(self, picture: Picture) -> int:
        """Return 1 for what looks like a photo, -1 for a map of few values, 0 where it cannot be read."""
        return self._look(picture)

    def of_masks(self, masks: Masks) -> int:
        """Return 1 for masks that look like maps of few values, -2 for photos."""
        first = [own[0] for own in list(masks.of.values())[:2]]
        looks = [self._look(picture) for picture in first]
        return 1 if min(looks, default=0) < 0 else (-2 if max(looks, default=0) > 0 else 0)

    def is_region(self, masks: Masks) -> bool:
        """Return whether masks are one large piece, alike in all images."""
        key = (masks.family.folder, masks.family.tags, masks.words)
        if key not in self._regions:
            every = [own[0] for own in masks.of.values()]
            step = max(1, len(every) // _SAMPLE)
            self._regions[key] = _alike([_plane(picture) for picture in every[::step][:_SAMPLE]])
        return self._regions[key]

    def equal(self, one: Masks, other: Masks) -> bool:
        """Return whether two kinds of masks hold the same values, for what a few images show."""
        shared = [image for image in one.of if image in other.of]
        step = max(1, len(shared) // _SAMPLE)
        pairs = [(one.of[image][0], other.of[image][0]) for image in shared[::step][:_SAMPLE]]
        return len(pairs) > 1 and all(_equal(*pair) for pair in pairs)

    def _look(self, picture: Picture) -> int:
        if picture not in self._seen:
            self._seen[picture] = _look(picture)
        return self._seen[picture]


def _look(picture: Picture) -> int:
    try:
        array = read_array(picture.path, palette="indices")
    except SegfocalError:
        return 0
    if array.dtype.kind == "b":
        return -1
    flat = array.reshape(*array.shape[:2], -1)[:, :, :3].astype(np.float64)
    if array.dtype.kind != "f":
        values = np.unique(flat.reshape(-1, flat.shape[2]), axis=0) if flat.size < 2**21 else _sampled(flat)
        if len(values) <= _FEW:
            return -1
    return -1 if _black_and_white(flat) else 1


def _equal(one: Picture, other: Picture) -> bool:
    try:
        a, b = (np.squeeze(read_array(picture.path, palette="indices")) for picture in (one, other))
    except SegfocalError:
        return False
    return a.shape == b.shape and bool((a.astype(np.int64) % 256 == b.astype(np.int64) % 256).all())


def _sampled(flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rows = flat[:: max(1, flat.shape[0] // 256)]
    return np.unique(rows.reshape(-1, flat.shape[2]), axis=0)


def _black_and_white(flat: npt.NDArray[Any]) -> bool:
    """Return whether nearly all pixels lie at the two ends, as in a mask stored as JPEG."""
    low, high = flat.min(), flat.max()
    ends = (flat < low + 0.1 * (high - low)) | (flat > high - 0.1 * (high - low))
    return bool(high > low and ends.mean() > 0.9 and (flat > high - 0.1 * (high - low)).mean() > 0.002)


def _plane(picture: Picture) -> npt.NDArray[np.uint8] | None:
    try:
        array = read_array(picture.path, palette="indices")
    except SegfocalError:
        return None
    plane = array.reshape(*array.shape[:2], -1)[:, :, :3].max(axis=2).astype(np.float32)
    most = float(plane.max())
    small = (plane > most / 2).astype(np.uint8)
    return np.asarray(
        cv2.resize(small, (_SIZE_PX, _SIZE_PX), interpolation=cv2.INTER_NEAREST), dtype=np.uint8
    )


def _alike(planes: list[npt.NDArray[np.uint8] | None]) -> bool:
    found = [plane for plane in planes if plane is not None]
    if len(found) < 2:
        return False
    for plane in found:
        share = float(plane.mean())
        _, _, stats, _ = cv2.connectedComponentsWithStats(plane, connectivity=8)
        largest = stats[1:, cv2.CC_STAT_AREA].max(initial=0)
        if not _LEAST < share <= 1 or largest < 0.98 * plane.sum():
            return False
    first = found[0].astype(bool)
    return all((first & (other > 0)).sum() >= _ALIKE * (first | (other > 0)).sum() for other in found[1:])
