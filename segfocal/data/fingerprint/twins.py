"""Equal pictures, and copies that were turned, mirrored or compressed anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from segfocal.data.fingerprint.measure import THUMBNAIL_PX

Key = tuple[str, str]  # split and name
_COARSE_PX = 8
_MAYBE, _SAME = 0.93, 0.97  # correlation of what remains without the mean picture, coarse and fine
_LEAST_CONTRAST = 6.0  # grey levels; pictures flatter than this are alike by chance
_BLOCK = 1024
MOST = 30_000  # pictures that are compared, each with each
Floats = npt.NDArray[np.float32]


def equal_cases(cases: Iterable[tuple[bytes, Key]]) -> list[list[Key]]:
    """Return the cases of which there is more than one, by the digest of what they hold.

    Example:
        >>> equal_cases([(b"1", ("train", "a")), (b"2", ("train", "b")), (b"1", ("test", "c"))])
        [[('train', 'a'), ('test', 'c')]]
    """
    places: dict[bytes, list[Key]] = {}
    for digest, key in cases:
        places.setdefault(digest, []).append(key)
    return [found for found in places.values() if len(found) > 1]


def equal_positions(digests: Sequence[bytes]) -> list[list[int]]:
    """Return the positions of pictures that are there more than once.

    Example:
        >>> equal_positions([b"1", b"2", b"1", b""])
        [[0, 2]]
    """
    places: dict[bytes, list[int]] = {}
    for position, digest in enumerate(digests):
        if digest:
            places.setdefault(digest, []).append(position)
    return [found for found in places.values() if len(found) > 1]


def near_copies(thumbnails: Sequence[bytes]) -> list[list[int]]:
    """Return the positions of pictures that are copies of one another, in any of eight positions.

    Compared are small grey pictures without the mean of all, which takes away what the pictures of one device
    share (the dark border of a fundus, the ribs). A copy may be turned by right angles, mirrored, compressed
    or made smaller; cut or warped ones are not found.

    Args:
        thumbnails: From ``measure``; empty ones are passed over. More than ``MOST`` are not compared.
    """
    known = [place for place, bytes_ in enumerate(thumbnails) if bytes_]
    if not 1 < len(known) <= MOST:
        return []
    planes = np.stack([_plane(thumbnails[place]) for place in known])
    flat = planes.std(axis=(1, 2)) < _LEAST_CONTRAST
    if len(known) > 8:  # the mean of a few pictures is mostly themselves
        mean = np.mean([turned.mean(axis=0) for turned in _turned(planes)], axis=0)
        planes = planes - mean
    coarse = planes.reshape(len(known), _COARSE_PX, -1, _COARSE_PX, THUMBNAIL_PX // _COARSE_PX).mean((2, 4))
    pairs = _similar(_unit(coarse), [_unit(turned) for turned in _turned(coarse)], flat)
    joined = Joined(len(thumbnails))
    for one, other in pairs:
        first = _unit(planes[one : one + 1])[0]
        second = [_unit(turned)[0] for turned in _turned(planes[other : other + 1])]
        if max(float(first @ turned) for turned in second) >= _SAME:
            joined.join(known[one], known[other])
    return joined.groups()


class Joined:
    """Positions that belong together, directly or through others."""

    def __init__(self, count: int) -> None:
        self._first = list(range(count))

    def root(self, position: int) -> int:
        """Return the position that stands for all that belong to this one."""
        while self._first[position] != position:
            self._first[position] = self._first[self._first[position]]
            position = self._first[position]
        return position

    def join(self, one: int, other: int) -> None:
        """Put two positions together."""
        a, b = sorted((self.root(one), self.root(other)))
        self._first[b] = a

    def groups(self) -> list[list[int]]:
        """Return the positions that belong to others."""
        found: dict[int, list[int]] = {}
        for position in range(len(self._first)):
            found.setdefault(self.root(position), []).append(position)
        return [group for group in found.values() if len(group) > 1]


def _plane(thumbnail: bytes) -> Floats:
    return np.frombuffer(thumbnail, np.uint8).reshape(THUMBNAIL_PX, THUMBNAIL_PX).astype(np.float32)


def _turned(planes: Floats) -> list[Floats]:
    mirrored = planes[:, :, ::-1]
    return [np.rot90(each, turns, axes=(1, 2)) for each in (planes, mirrored) for turns in range(4)]


def _unit(planes: Floats) -> Floats:
    rows = planes.reshape(len(planes), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6), dtype=np.float32)


def _similar(rows: Floats, turned: Sequence[Floats], flat: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return pairs of positions that are alike at first sight."""
    found: set[tuple[int, int]] = set()
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        for others in turned:
            near = block @ others[start:].T
            if near.max() >= _MAYBE:
                ones, seconds = np.divmod(np.flatnonzero(near >= _MAYBE), near.shape[1])
                kept = (ones < seconds) & ~flat[start + ones] & ~flat[start + seconds]
                found |= set(
                    zip((start + ones[kept]).tolist(), (start + seconds[kept]).tolist(), strict=True)
                )
    return sorted(found)
