"""What a stand-in is, and what it writes: tiny pictures and masks, and the truth about them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (64, 64)
DRAWN = ""  # the split of cases that no folder or list divides


@dataclass
class Truth:
    """What a look at a stand-in must find; all paths are relative to its root, with "/".

    Args:
        pairs: Split ("train", "val", "test", or DRAWN) to image to its masks. One entry per class of
            multilabel masks (None: absent), else one; each is a path or a tuple of paths joined by OR.
        task: "binary", "multiclass" or "multilabel".
        class_names: In their order, where the layout names them; empty: not compared.
        groups: Image to group, compared as a partition; None: each image for itself.
        region: Image to its field-of-view mask.
        unused: Path to a word that the reason must hold.
        choose: Words of the command line that a choice between equals needs, such as ``--masks X``.
        predict: A folder of images to predict on.
        channels: Of volumes whose channels are files: the image in ``pairs`` to all of its files, in order.
    """

    pairs: dict[str, dict[str, tuple]] = field(default_factory=dict)
    task: str = "binary"
    class_names: tuple[str, ...] = ()
    groups: dict[str, str] | None = None
    region: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    choose: tuple[str, ...] = ()
    predict: str = ""
    channels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def pair(self, split: str, image: str, *masks: str | tuple | None) -> None:
        """Add a case."""
        self.pairs.setdefault(split, {})[image] = masks

    def leave(self, reason: str, *paths: str) -> None:
        """Add files that are not used."""
        self.unused |= dict.fromkeys(paths, reason)

    def files(self) -> set[str]:
        """Return every path that is named."""
        found = set(self.unused) | set(self.region.values())
        found |= {path for paths in self.channels.values() for path in paths}
        for cases in self.pairs.values():
            for image, masks in cases.items():
                found.add(image)
                for entry in masks:
                    found |= set(entry) if isinstance(entry, tuple) else {entry} - {None}
        return found


@dataclass(frozen=True)
class Layout:
    """A published data set in small.

    Args:
        name: Of the data set.
        make: Writes it below a folder that does not exist yet, and returns the truth.
        kind: "pictures" or "volumes".
    """

    name: str
    make: Callable[[Path], Truth]
    kind: str = "pictures"


def seed_of(name: str) -> int:
    """Return a number that depends on a name alone."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big")


def save(array: np.ndarray, path: Path) -> None:
    """Write an array as a picture, of whatever kind the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def photo(path: Path, *, size: tuple[int, int] = SIZE, gray: bool = False) -> None:
    """Write blotches of colour, others for each name."""
    rng = np.random.default_rng(seed_of(path.as_posix()))
    coarse = rng.integers(0, 255, (8, 8) if gray else (8, 8, 3)).astype(np.uint8)
    fine = np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
    save(np.clip(fine + rng.integers(-8, 9, fine.shape), 0, 255).astype(np.uint8), path)


def blob(name: str, *, size: tuple[int, int] = SIZE, value: int = 255) -> np.ndarray:
    """Return a mask with a box of some size somewhere, others for each name."""
    rng = np.random.default_rng(seed_of(name))
    plane = np.zeros(size, np.uint8)
    top, left = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
    height, width = rng.integers(6, size[0] // 3, 2)
    plane[top : top + height, left : left + width] = value
    return plane


def labels(name: str, values: list[int], *, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a map that holds every value in a stripe, the first one everywhere else."""
    rng = np.random.default_rng(seed_of(name))
    plane = np.full(size, values[0], np.uint8)
    step = size[0] // len(values)
    for place, value in enumerate(rng.permutation(values[1:])):
        plane[place * step : (place + 1) * step, 8 : 8 + int(rng.integers(20, 40))] = value
    return plane


def text(path: Path, content: str = "words\n") -> None:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
