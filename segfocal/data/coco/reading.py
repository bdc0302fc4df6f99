"""Read COCO's annotation files: images, and the shapes of the categories that are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segfocal.data.coco.shapes import Shape, read_shape
from segfocal.data.json_files import file_below, is_file, read_json
from segfocal.errors import SegfocalError, nearest

Entry = Mapping[str, Any]
SHOWN = 5
_LARGEST_PX = 2**20


@dataclass(frozen=True, eq=False)
class CocoImage:
    """One image and what is annotated in it.

    Args:
        file: Of the image.
        size_px: Height and width, as the annotation file has them.
        shapes: In the order of the annotation file.
    """

    file: Path
    size_px: tuple[int, int]
    shapes: tuple[Shape, ...] = ()


def read_annotations(
    path: Path, *, folder: Path, classes: Mapping[str, Sequence[str]] | None
) -> list[CocoImage]:
    """Read an annotation file.

    Args:
        path: The file.
        folder: Its ``file_name`` are below this one.
        classes: Class to names of its categories; None: all categories are one class. Shapes get the number
            of their class, from 0; those of other categories are left out.

    Returns:
        The images in the order of the file, also those without shapes.

    Raises:
        SegfocalError: Naming file and entry: no JSON, keys missing, unknown categories, ids twice,
            annotations of no image, shapes that are none, images that are not there.
    """
    content = _load(path)
    entries = {key: _entries(content, key, path) for key in ("images", "annotations", "categories")}
    known = _by_id(entries["categories"], "category", path)
    wanted = _categories(entries["categories"], classes, path=path)
    images = {
        id_: _image(entry, folder=folder, where=f"{path}: image {id_!r}")
        for id_, entry in _by_id(entries["images"], "image", path).items()
    }
    shapes: dict[Any, list[Shape]] = {id_: [] for id_ in images}
    _by_id(entries["annotations"], "annotation", path)
    for entry in entries["annotations"]:
        where = f"{path}: annotation {entry['id']!r}"
        for key in ("image_id", "category_id"):
            if not isinstance(entry.get(key), int | float | str):
                raise SegfocalError(
                    f"{where} must have a {key}, a number or a string, got {entry.get(key)!r}."
                )
        if entry["image_id"] not in images:
            raise SegfocalError(f"{where} belongs to image {entry['image_id']!r}, which is not in images.")
        if entry["category_id"] not in known:
            raise SegfocalError(f"{where} has category {entry['category_id']!r}, which is not in categories.")
        labels = wanted.get(entry["category_id"], ())
        if labels:
            size = images[entry["image_id"]].size_px
            shapes[entry["image_id"]].append(read_shape(entry, labels, size_px=size, where=where))
    _check_files(list(images.values()), path)
    return [replace(image, shapes=tuple(shapes[id_])) for id_, image in images.items()]


def _load(path: Path) -> Any:
    if not is_file(path):
        raise SegfocalError(f"there is no annotation file {path}. Set root and annotations.")
    return read_json(path)


def _entries(content: Any, key: str, path: Path) -> list[Entry]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        keys = ", ".join(map(repr, content)) if isinstance(content, dict) else type(content).__name__
        raise SegfocalError(
            f"{path} must hold images, annotations and categories, a list of objects each, as COCO's "
            f"instances do; {key!r} is missing or none. It holds {keys or 'nothing'}."
        )
    return found


def _by_id(entries: Sequence[Entry], kind: str, path: Path) -> dict[Any, Entry]:
    found: dict[Any, Entry] = {}
    for number, entry in enumerate(entries):
        id_ = entry.get("id")
        if not isinstance(id_, int | str):
            raise SegfocalError(f"{path}: {kind} {number} (from 0) must have an id, got {id_!r}.")
        if id_ in found:
            raise SegfocalError(f"{path}: the id {id_!r} belongs to two entries of kind {kind}.")
        found[id_] = entry
    return found


def _categories(
    entries: Sequence[Entry], classes: Mapping[str, Sequence[str]] | None, *, path: Path
) -> dict[Any, tuple[int, ...]]:
    """Return the class numbers of a category's id."""
    if classes is None:
        return {entry.get("id"): (0,) for entry in entries}
    names = [str(entry.get("name")) for entry in entries]
    for name in (name for listed in classes.values() for name in listed):
        if name not in names:
            raise SegfocalError(
                f"{path} has no category {name!r}.{nearest(name, names)} It has {', '.join(names[:100])}."
            )
    return {
        entry.get("id"): tuple(label for label, listed in enumerate(classes.values()) if name in listed)
        for name, entry in zip(names, entries, strict=True)
    }


def _image(entry: Entry, *, folder: Path, where: str) -> CocoImage:
    name, size = entry.get("file_name"), (entry.get("height"), entry.get("width"))
    if not isinstance(name, str) or not name:
        raise SegfocalError(f"{where} must have a file_name, got {name!r}.")
    height, width = (_edge(number) for number in size)
    if height is None or width is None:
        raise SegfocalError(f"{where} ({name:.200}) must have height and width in px, got {size!s:.80}.")
    return CocoImage(file_below(folder, name), (height, width))


def _edge(number: Any) -> int | None:
    """Return height or width of an image; None for what is none. Some programs write 480.0."""
    whole = type(number) is int or (type(number) is float and number.is_integer())
    return int(number) if whole and 1 <= number <= _LARGEST_PX else None


def _check_files(images: Sequence[CocoImage], path: Path) -> None:
    if not images:
        raise SegfocalError(f"{path} lists no image.")
    seen: set[Path] = set()
    for image in images:
        if image.file in seen:
            raise SegfocalError(f"{path} lists the file {image.file} twice.")
        seen.add(image.file)
    missing = [str(image.file) for image in images if not is_file(image.file)]
    if missing:
        more = ", ..." if len(missing) > SHOWN else ""
        raise SegfocalError(
            f"{path}: {len(missing)} of {len(images)} images are not there: "
            f"{', '.join(missing[:SHOWN])}{more}. Set images to the folder that file_name is below, or take "
            "them out of the file."
        )
