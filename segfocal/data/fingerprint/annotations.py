"""Which of the JSON files below a folder are COCO's annotations, and where their images lie."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from segfocal.data.splits import SPLITS

_MOST_FILES = 50  # a folder with more JSON files describes each picture in its own way
_MOST_CLASSES = 20


@dataclass(frozen=True)
class CocoFiles:
    """Annotation files that can be used.

    Args:
        root: Folder of the data set.
        annotations: Split ("": to be divided) to file below it.
        images: Split to folder of its images below it.
        categories: Names, the most annotated first, at most 20.
        left_out: Categories beyond those.
    """

    root: Path
    annotations: Mapping[str, str]
    images: Mapping[str, str]
    categories: tuple[str, ...]
    left_out: int


def find_coco(root: Path) -> CocoFiles | None:
    """Return the annotation files below a folder whose images are there; None where there are none.

    Args:
        root: The folder.
    """
    files = list(islice(root.rglob("*.json"), _MOST_FILES + 1))
    contents = {path: _content(path) for path in sorted(files)} if len(files) <= _MOST_FILES else {}
    found: dict[str, tuple[Path, str]] = {}
    counts: dict[str, int] = {}
    for path, content in contents.items():
        folder = _folder(root, content) if content else None
        if content is None or folder is None:
            continue
        split = next((part for part in SPLITS if part in path.stem.lower()), "")
        if split not in found:
            found[split] = path, folder
            names = {entry.get("id"): str(entry.get("name")) for entry in content["categories"]}
            for entry in content["annotations"]:
                name = names.get(entry.get("category_id"), "")
                counts[name] = counts.get(name, 0) + 1
    counts.pop("", None)
    if not counts:
        return None
    if "train" in found:
        found.pop("", None)
    else:
        found = {"": next(iter(found.values()))}
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    return CocoFiles(
        root,
        {split: path.relative_to(root).as_posix() for split, (path, _) in found.items()},
        {split: folder for split, (_, folder) in found.items()},
        tuple(ordered[:_MOST_CLASSES]),
        len(ordered) - len(ordered[:_MOST_CLASSES]),
    )


def _content(path: Path) -> Any:
    """Return annotations of instances, None for any other JSON."""
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, OSError):
        return None
    keys = ("images", "annotations", "categories")
    right = isinstance(content, dict) and all(
        isinstance(content.get(key), list) and content[key] and isinstance(content[key][0], dict)
        for key in keys
    )
    return content if right and "segmentation" in content["annotations"][0] else None


def _folder(root: Path, content: Any) -> str | None:
    """Return the folder below the root that holds the first image, and the last one."""
    names = [str(content["images"][place].get("file_name")) for place in (0, -1)]
    for place, inner, _ in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if all((Path(place) / name).is_file() for name in names):
            return Path(place).relative_to(root).as_posix()
    return None
