"""Which of the JSON files below a folder are COCO's annotations, and where their images lie."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

from segfocal.data.json_files import file_below, is_file, parse_json
from segfocal.data.splits import SPLITS
from segfocal.errors import SegfocalError

_MOST_FILES = 50  # a folder with more JSON files describes each picture in its own way
_MOST_CLASSES = 20
_SHOWN = 5


@dataclass(frozen=True)
class CocoFiles:
    """Annotation files that can be used.

    Args:
        root: Folder of the data set.
        annotations: Split ("": to be divided) to file below it.
        images: Split to folder of its images below it.
        categories: Names, the most annotated first, at most 20.
        left_out: Categories beyond those.
        unused: (JSON file below the root, why it is not used).
    """

    root: Path
    annotations: Mapping[str, str]
    images: Mapping[str, str]
    categories: tuple[str, ...]
    left_out: int
    unused: tuple[tuple[str, str], ...] = ()


def find_coco(root: Path, *, masks: str | None = None) -> CocoFiles | None:
    """Return the annotation files below a folder whose images are there; None where there are none.

    Args:
        root: The folder.
        masks: Pattern of the annotation files that are meant; None: all.

    Raises:
        SegfocalError: Where several files without the name of a split could be meant.
    """
    found: dict[str, tuple[Path, str]] = {}
    counts: dict[str, dict[str, int]] = {}
    rivals: list[str] = []
    contents, doubts = _annotations(root, masks)
    for path, (content, folder) in contents.items():
        split = next((part for part in SPLITS if part in path.stem.lower()), "")
        place = path.relative_to(root).as_posix()
        if split in found:
            other = found[split][0].relative_to(root).as_posix()
            doubts[place] = f"{other} is taken for {split or 'all images'} (--masks PATTERN chooses another)"
            rivals += [] if split else [other, place]
            continue
        found[split], counts[split] = (path, folder), _category_counts(content)
    if "train" in found:
        if "" in found:
            doubts[found.pop("")[0].relative_to(root).as_posix()] = "the files of train and others are taken"
    elif rivals:
        raise SegfocalError(
            f"{root} holds several annotation files: {', '.join(dict.fromkeys(rivals))}. Choose one with "
            f"--masks PATTERN, such as --masks {rivals[0]}, or name them for train, val and test."
        )
    elif found:
        kept = next(iter(found))
        aside = {found[part][0].relative_to(root).as_posix() for part in found if part != kept}
        doubts |= dict.fromkeys(aside, "no file is named for train")
        found = {"": found[kept]}
        counts = {"": counts[kept]}
    if not found:
        return None
    totals: Counter[str] = Counter()
    for split in found:
        totals.update(counts[split])
    ordered = sorted(totals, key=lambda name: (-totals[name], name))
    return CocoFiles(
        root,
        {split: path.relative_to(root).as_posix() for split, (path, _) in found.items()},
        {split: folder for split, (_, folder) in found.items()},
        tuple(ordered[:_MOST_CLASSES]),
        len(ordered) - len(ordered[:_MOST_CLASSES]),
        tuple(sorted(doubts.items())),
    )


def coco_doubts(root: Path, *, masks: str | None = None) -> dict[str, str]:
    """Return the files that look like COCO's annotations and cannot be used, with the reason.

    Args:
        root: The folder.
        masks: As in `find_coco`.
    """
    return _annotations(root, masks)[1]


def _annotations(root: Path, masks: str | None) -> tuple[dict[Path, tuple[Any, str]], dict[str, str]]:
    """Return annotation files to content and folder of images; and the others with what is wrong."""
    every = (path for path in root.rglob("*") if path.suffix.lower() == ".json")
    plain = (p for p in every if not any(part.startswith(".") for part in p.relative_to(root).parts))
    files = sorted(islice(plain, _MOST_FILES + 1))
    usable: dict[Path, tuple[Any, str]] = {}
    doubts: dict[str, str] = {}
    for path in files if len(files) <= _MOST_FILES else ():
        place = path.relative_to(root).as_posix()
        content, reason = _content(path)
        if masks is not None and not fnmatchcase(place, masks):
            reason, content = f"not named by --masks {masks}", None
        if content is not None:
            folder, reason = _folder(root, content)
            if folder is not None:
                usable[path] = content, folder
        if reason:
            doubts[place] = reason
    return usable, doubts


def _elsewhere(root: Path, name: str) -> Path | None:
    """Return a file of this name below a folder."""
    for place, _, names in os.walk(root):
        if name in names:
            return Path(place) / name
    return None


def _category_counts(content: Any) -> dict[str, int]:
    # an id may be anything here, a list too: what is wrong with it is said when the file is read
    names = {str(entry.get("id")): str(entry.get("name")) for entry in content["categories"]}
    named = (names.get(str(entry.get("category_id")), "") for entry in content["annotations"])
    counts = Counter(name for name in named if name)
    return dict(counts)


def _content(path: Path) -> tuple[Any, str]:
    """Return annotations of instances; or None, and where the file means to be some, what is missing."""
    text = path.read_text("utf-8-sig", errors="replace")
    try:
        content = parse_json(text, where="it")
    except SegfocalError as error:
        return None, str(error) if '"annotations"' in text else ""
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        return None, ""
    for key in ("images", "annotations", "categories"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            return None, f"has no list of {key}"
        if not entries:
            return None, f"its list of {key} is empty"
    shapes = [entry for entry in content["annotations"] if entry.get("segmentation")]
    if not shapes:
        boxes = any(entry.get("bbox") for entry in content["annotations"])
        kind = "boxes alone" if boxes else f"{', '.join(content['annotations'][0])} alone"
        return None, f"its {len(content['annotations'])} annotations have no segmentation ({kind})"
    return content, ""


def _folder(root: Path, content: Any) -> tuple[str | None, str]:
    """Return the folder below the root that holds all listed images; else None and which are missing."""
    names = [str(image.get("file_name")) for image in content["images"]]
    best, missing = "", names
    for place, inner, _ in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if is_file(file_below(Path(place), names[0])) or is_file(file_below(Path(place), names[-1])):
            absent = [name for name in names if not is_file(file_below(Path(place), name))]
            below = Path(place).relative_to(root).as_posix()
            if not absent:
                return below, ""
            if len(absent) < len(missing):
                best, missing = below, absent
    shown = ", ".join(f"{name:.200}" for name in missing[:_SHOWN]) + (
        ", ..." if len(missing) > _SHOWN else ""
    )
    if len(missing) == len(names):
        bare = {Path(name).name for name in names}
        elsewhere = _elsewhere(root, Path(names[0]).name)
        hint = (
            f"; {elsewhere.name} lies in {elsewhere.parent.relative_to(root).as_posix()}: make file_name fit"
            if elsewhere is not None
            else f"; put the folder that holds them below {root}"
        )
        return None, f"none of the {len(bare)} images that it lists is there: {shown}{hint}"
    return None, (
        f"{len(missing)} of the {len(names)} images that it lists are not in {best}: {shown}. Add them, or "
        "take them out of images and annotations"
    )
