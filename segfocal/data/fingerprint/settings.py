"""The settings of ``FolderData`` that read a folder exactly as it was understood, where there are any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segfocal.data.division import FolderLayout
from segfocal.data.fingerprint.listing import Picture
from segfocal.data.fingerprint.names import part_split
from segfocal.data.fingerprint.pairing import CaseFiles
from segfocal.data.splits import Split
from segfocal.errors import SegfocalError


@dataclass(frozen=True)
class FolderSettings:
    """Arguments of ``FolderData``.

    Args:
        images: Its folder of images.
        masks: Its folder or pattern of masks.
        region: Likewise, or None.
        folders: Split to the word that its folders hold; empty where no folder says it.
    """

    images: str
    masks: str
    region: str | None = None
    folders: Mapping[str, str] = field(default_factory=dict)


def folder_settings(
    root: Path, cases: Sequence[CaseFiles], classes: Sequence[str], *, by_folder: bool
) -> FolderSettings | None:
    """Return settings that give exactly these cases; None where a table must list them.

    Args:
        root: Folder of the data set.
        cases: All that are used.
        classes: Names, where each has masks of its own.
        by_folder: Whether folders say the splits.
    """
    found = _settings(cases, classes, by_folder=by_folder)
    if found is None:
        return None
    layout = FolderLayout(root, found.images, found.masks, list(classes) or None, region=found.region)
    split = Split(**found.folders) if found.folders else Split(train=1.0)  # type: ignore[arg-type]
    try:
        parts = layout.divide(split)
    except SegfocalError:
        return None
    read = {(p.image, p.masks, p.region, s if by_folder else "") for s, pairs in parts.items() for p in pairs}
    wanted = {
        (
            case.image.path,
            tuple(own[0].path if own else None for own in case.masks),
            case.region.path if case.region else None,
            case.split,
        )
        for case in cases
    }
    return found if read == wanted else None


def _settings(
    cases: Sequence[CaseFiles], classes: Sequence[str], *, by_folder: bool
) -> FolderSettings | None:
    if any(len(own) > 1 for case in cases for own in case.masks):
        return None
    images = _only({_folder(case.image, by_folder=by_folder) for case in cases})
    words = {(case.split, case.image.word) for case in cases if by_folder}
    if images is None or len(words) != len({split for split, _ in words}):
        return None
    forms = [
        _form(cases, lambda case, place=place: case.masks[place], by_folder=by_folder)  # type: ignore[misc]
        for place in range(len(cases[0].masks))
    ]
    if classes:
        named = zip(forms, classes, strict=True)
        forms = [form.replace(name, "{class}") if form and name in form else None for form, name in named]
    masks = _only(set(forms))
    region = None
    if any(case.region for case in cases):
        region = _form(cases, lambda case: (case.region,) if case.region else (), by_folder=by_folder)
        if region is None:
            return None
    if masks is None or _parent(masks) == images:
        return None
    return FolderSettings(images, masks, region, dict(sorted(words)))


def _form(
    cases: Sequence[CaseFiles], files: Callable[[CaseFiles], tuple[Picture, ...]], *, by_folder: bool
) -> str | None:
    """Return folder and name of some files with ``{stem}`` for the image's, where all are built alike."""
    found = set()
    for case in cases:
        for picture in files(case)[:1]:
            before, stem, after = picture.stem.partition(case.image.stem)
            if not stem:
                return None
            name = f"{before}{{stem}}{after}"
            if by_folder and picture.word != case.image.word:
                return None
            if by_folder and case.image.word in before + after:
                return None
            folder = _folder(picture, by_folder=by_folder)
            found.add(folder if name == "{stem}" else f"{folder}/{name}")
    return _only(found)


def _folder(picture: Picture, *, by_folder: bool) -> str:
    parts = list(picture.parts)
    if by_folder:
        place = next((n for n, part in enumerate(parts) if part_split(part)[0] == picture.split), None)
        if place is not None:
            parts[place] = part_split(parts[place])[2]
    return "/".join(parts) or "."


def _parent(masks: str) -> str:
    return masks.rpartition("/")[0] if "{stem}" in masks else masks


def _only(found: set[str] | set[str | None]) -> str | None:
    return next(iter(found)) if len(found) == 1 else None
