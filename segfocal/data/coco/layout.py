"""Which annotated images belong to train, val and test; without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segfocal.data.coco.reading import CocoImage, read_annotations
from segfocal.data.parts import divide_parts, names_below
from segfocal.data.splits import SPLITS, Split
from segfocal.data.strata import Presence
from segfocal.errors import SegfocalError, check_choice

Places = str | Mapping[str, str]
NamedImage = tuple[str, CocoImage]


@dataclass(frozen=True)
class CocoLayout:
    """Where annotations and images of a data set lie; the arguments are those of `CocoData`.

    Args:
        root: Folder of the data set, expanded.
        annotations: One file, or split to file.
        images: One folder, or split to folder.
        classes: Class to its categories; None: all are one class.
        split: How the images are divided; None: by the files.
        drop_empty: Whether images without shapes of the classes are left out.
        allowed: Names and groups that may lie in two splits.

    Raises:
        SegfocalError: For settings that contradict each other.
    """

    root: Path
    annotations: Places
    images: Places
    classes: Mapping[str, Sequence[str]] | None
    split: Split | None = None
    drop_empty: bool = False
    allowed: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.annotations, str):
            if self.split is None:
                raise SegfocalError("one file of annotations needs split, to divide its images. Set split.")
            if not isinstance(self.images, str):
                raise SegfocalError("one file of annotations needs one folder of images, got several.")
            return
        for part in self.annotations:
            check_choice("annotations", part, SPLITS)
        if not isinstance(self.images, str) and set(self.images) != set(self.annotations):
            raise SegfocalError(
                f"images must have the splits of annotations, {', '.join(self.annotations)}, got "
                f"{', '.join(self.images)}."
            )

    def files(self) -> dict[str, Path]:
        """Return split to annotation file; a single one is that of train, which ``split`` divides."""
        given = {"train": self.annotations} if isinstance(self.annotations, str) else self.annotations
        return {part: self.root / file for part, file in given.items()}

    def divide(self, *, notes: list[str] | None = None) -> dict[str, list[NamedImage]]:
        """Return names and images of train, val and test.

        Args:
            notes: Gathers sentences for the user about classes that are in too few images.

        Raises:
            SegfocalError: For damaged annotations, images that are missing, and rules that ask for too much.
        """
        found: dict[str, list[CocoImage]] = {}
        for part, file in self.files().items():
            folder = self.root / (self.images if isinstance(self.images, str) else self.images[part])
            every = read_annotations(file, folder=folder, classes=self.classes)
            found[part] = [image for image in every if image.shapes or not self.drop_empty]
        names = iter(names_below([image.file for images in found.values() for image in images]))
        pool = {part: {next(names): image for image in images} for part, images in found.items()}
        divided = divide_parts(
            {part: list(named) for part, named in pool.items()},
            self.split,
            root=self.root,
            allowed=self.allowed,
            presence=self._presence(pool.get("train", {}), [] if notes is None else notes),
        )
        return {
            part: [(name, _image(pool, part, name)) for name in chosen] for part, chosen in divided.items()
        }

    def _presence(self, images: Mapping[str, CocoImage], notes: list[str]) -> Presence:
        """Return which classes the shapes of images belong to; crowds may be ignored, and count for none."""

        def read(name: str) -> set[int]:
            return {label for shape in images[name].shapes if not shape.crowd for label in shape.labels}

        names = ["foreground"] if self.classes is None else list(self.classes)
        return Presence(read, names, notes, most=len(images))


def _image(pool: Mapping[str, Mapping[str, CocoImage]], part: str, name: str) -> CocoImage:
    """Return an image of the split's own file, or of that of train, which ``split`` divides."""
    own = pool.get(part, {})
    return own[name] if name in own else pool["train"][name]


def named_classes(
    classes: Sequence[str] | Mapping[str, list[str]] | None, *, task: str
) -> Mapping[str, list[str]] | None:
    """Return class name to categories; None: all categories are the foreground.

    Args:
        classes: As in `CocoData`.
        task: ``"binary"`` makes one class of all that are listed.

    Raises:
        SegfocalError: Where classes are missing or empty.
    """
    if classes is None and task == "binary":
        return None
    if not classes or (isinstance(classes, Mapping) and not all(classes.values())):
        raise SegfocalError(
            f"classes must name categories of the annotations for task {task!r}, got {classes}."
        )
    named = classes if isinstance(classes, Mapping) else {name: [name] for name in classes}
    if task == "binary" and len(named) > 1:
        return {"foreground": [name for listed in named.values() for name in listed]}
    if task == "multiclass":
        every = [name for listed in named.values() for name in listed]
        if twice := [name for name in every if every.count(name) > 1]:
            raise SegfocalError(
                f"the category {twice[0]!r} belongs to two classes, which needs task 'multilabel'. "
                "Leave one out."
            )
    return named
