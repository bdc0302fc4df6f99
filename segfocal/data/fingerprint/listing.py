"""The picture files below a folder, by folder, with the part of the path that names a split taken out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from segfocal.data.reading import SUFFIXES
from segfocal.errors import SegfocalError

# what folders of splits are called, in lower case
SPLIT_NAMES = {
    "train": ("train", "training", "trainset", "tr"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "testset", "ts"),
}
_SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}


@dataclass
class Folder:
    """Folders that differ in the name of the split alone, or one folder.

    Args:
        pattern: Path below the root, ``{split}`` in place of the split's folder.
        files: Split to stem to path; the split is "" where the path names none.
        folders: Split to the name of its folder.
    """

    pattern: str
    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def stems(self) -> set[str]:
        """Return the stems of all splits."""
        return {stem for found in self.files.values() for stem in found}


def list_folders(root: Path) -> dict[str, Folder]:
    """Find the folders that hold pictures.

    Args:
        root: A folder; hidden files and folders are passed over, links are followed once.

    Returns:
        Pattern to folder, in the order of the patterns.

    Raises:
        SegfocalError: Where there is no such folder.
    """
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing of that name"
        raise SegfocalError(f"fingerprint needs a folder of images and masks, got {found}: {root}.")
    folders: dict[str, Folder] = {}
    for place, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        files = {
            Path(name).stem: Path(place) / name
            for name in sorted(names)
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        }
        if not files:
            continue
        pattern, split, folder = _without_split(Path(place).relative_to(root))
        group = folders.setdefault(pattern, Folder(pattern))
        group.files.setdefault(split, {}).update(files)
        if split:
            group.folders[split] = folder
    return dict(sorted(folders.items()))


def _without_split(path: Path) -> tuple[str, str, str]:
    """Return a path with ``{split}`` in it, the split, and what its folder is called."""
    for position, part in enumerate(path.parts):
        split = _SPLIT_OF.get(part.lower())
        if split is not None:
            parts = (*path.parts[:position], "{split}", *path.parts[position + 1 :])
            return "/".join(parts), split, part
    return path.as_posix(), "", ""
