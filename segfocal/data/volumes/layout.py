"""Which volumes a folder holds and what their labels mean: the dataset.json of two layouts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError

ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class VolumeFiles:
    """The files of one case.

    Args:
        name: Of the case, without channel number and ending.
        images: One file per channel, or one file with all of them; folders are DICOM series.
        mask: The label map.
    """

    name: str
    images: tuple[Path, ...]
    mask: Path


@dataclass(frozen=True)
class VolumeSet:
    """What dataset.json says.

    Args:
        root: Its folder.
        cases: Those with labels, sorted by name.
        channels: Names of the image channels.
        labels: Class name to the values that stand for it, the background first; several values where
            classes are regions that overlap.
        ignored: Values without a class.
    """

    root: Path
    cases: tuple[VolumeFiles, ...]
    channels: tuple[str, ...]
    labels: dict[str, tuple[int, ...]]
    ignored: tuple[int, ...] = ()

    @property
    def regions(self) -> bool:
        """Whether classes are regions that overlap."""
        return any(len(values) > 1 for values in self.labels.values())


def read_volume_set(root: Path) -> VolumeSet:
    """Read dataset.json in the form of the Medical Segmentation Decathlon or of nnU-Net's raw data (v2).

    Args:
        root: Folder with dataset.json, imagesTr and labelsTr.

    Returns:
        The cases that have labels, in order of their names.

    Raises:
        SegfocalError: Naming the file and the key that is missing or wrong.

    Source:
        Antonelli et al., "The Medical Segmentation Decathlon", 2022; nnU-Net's documentation of its dataset
        format.
    """
    path = root / "dataset.json"
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise SegfocalError(f"expected {path}, found no such file. Give the folder that holds it.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SegfocalError(f"{path} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise SegfocalError(
            f"{path} must hold an object with names and values, got {type(content).__name__}."
        )
    if "channel_names" in content or "file_ending" in content:
        return _nnunet(root, path, content)
    return _decathlon(root, path, content)


def _decathlon(root: Path, path: Path, content: Mapping[str, Any]) -> VolumeSet:
    modality = _needed(content, "modality", path, kind=dict)
    labels: dict[str, tuple[int, ...]]
    labels = {str(name): (_number(value, path),) for value, name in _labels(content, path).items()}
    cases = []
    for entry in _needed(content, "training", path, kind=list):
        if not (isinstance(entry, dict) and all(isinstance(entry.get(k), str) for k in ("image", "label"))):
            raise SegfocalError(f"{path}: every entry of training must name image and label, got {entry}.")
        image, mask = _image(root / entry["image"], path), _file(root / entry["label"], path)
        cases.append(VolumeFiles(without_ending(image.name), (image,), mask))
    return _checked(path, VolumeSet(root, tuple(cases), tuple(map(str, modality.values())), labels))


def _nnunet(root: Path, path: Path, content: Mapping[str, Any]) -> VolumeSet:
    channels = tuple(map(str, _needed(content, "channel_names", path, kind=dict).values()))
    ending = _needed(content, "file_ending", path, kind=str)
    if ending not in ENDINGS:
        raise SegfocalError(f"{path}: file_ending must be one of {', '.join(ENDINGS)}, got {ending!r}.")
    ignored: tuple[int, ...] = ()
    labels: dict[str, tuple[int, ...]] = {}
    for name, value in _labels(content, path).items():
        values = tuple(_number(v, path) for v in (value if isinstance(value, list) else [value]))
        if name == "ignore":
            ignored = values
        else:
            labels[str(name)] = values
    images = root / "imagesTr"
    names = sorted(p.name.removesuffix(ending) for p in (root / "labelsTr").glob(f"*{ending}"))
    cases = tuple(
        VolumeFiles(
            name,
            tuple(_image(images / f"{name}_{number:04d}{ending}", path) for number in range(len(channels))),
            root / "labelsTr" / f"{name}{ending}",
        )
        for name in names
    )
    return _checked(path, VolumeSet(root, cases, channels, labels, ignored))


def _checked(path: Path, found: VolumeSet) -> VolumeSet:
    if not found.cases:
        raise SegfocalError(f"{path}: expected cases with labels in {found.root / 'labelsTr'}, found none.")
    if not found.channels:
        raise SegfocalError(f"{path} names no image channel (modality, or channel_names).")
    first = next(iter(found.labels.items()), ("", ()))
    if first[1] != (0,) or len(found.labels) < 2:
        raise SegfocalError(
            f"{path}: labels must be the background with value 0 and at least one class, got {found.labels}."
        )
    names = [case.name for case in found.cases]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise SegfocalError(f"{path}: cases must have names of their own, got {', '.join(twice[:5])} twice.")
    cases = tuple(sorted(found.cases, key=lambda case: case.name))
    return VolumeSet(found.root, cases, found.channels, found.labels, found.ignored)


def _labels(content: Mapping[str, Any], path: Path) -> dict[Any, Any]:
    labels: dict[Any, Any] = _needed(content, "labels", path, kind=dict)

    def background_first(item: tuple[Any, Any]) -> bool:
        return 0 not in [_or_none(part) for part in item]

    return dict(sorted(labels.items(), key=background_first))


def _needed(content: Mapping[str, Any], key: str, path: Path, *, kind: type) -> Any:
    if key not in content:
        raise SegfocalError(
            f"{path} lacks {key!r}; it has {', '.join(map(repr, content)) or 'nothing'}. The Medical "
            "Segmentation Decathlon writes modality, labels and training; nnU-Net channel_names, labels and "
            "file_ending."
        )
    if not isinstance(content[key], kind):
        raise SegfocalError(f"{path}: {key!r} must be of type {kind.__name__}, got {content[key]!r}.")
    return content[key]


def _or_none(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _number(value: Any, path: Path) -> int:
    number = _or_none(value)
    if number is None:
        raise SegfocalError(f"{path}: the values of labels must be whole numbers, got {value!r}.")
    return number


def _file(path: Path, origin: Path) -> Path:
    if not path.is_file():
        raise SegfocalError(f"{origin} names {path}, and there is no such file.")
    return path


def _image(path: Path, origin: Path) -> Path:
    """Return a file, or the folder of its name without ending: a DICOM series."""
    folder = path.with_name(without_ending(path.name))
    return folder if folder.is_dir() else _file(path, origin)


def without_ending(name: str, endings: Sequence[str] = ENDINGS) -> str:
    """Return the name of a file without ``.nii`` or ``.nii.gz``.

    Example:
        >>> without_ending("case_01.nii.gz")
        'case_01'
    """
    return next((name.removesuffix(ending) for ending in endings if name.endswith(ending)), name)
