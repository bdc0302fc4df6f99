"""Which volumes a folder holds and what their labels mean: dataset.json, or a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segfocal.data.json_files import exists, is_file, read_json
from segfocal.data.rows import Row, placed, read_rows
from segfocal.data.splits import SPLITS, Split
from segfocal.errors import SegfocalError

ENDINGS = (".nii.gz", ".nii")
FIFTH = Split(test_folds=5, test_fold=0, stratify=False)  # where nothing says the test volumes


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
    """What dataset.json or a table says.

    Args:
        root: Folder that paths start from.
        cases: Those with labels, sorted by name.
        channels: Names of the image channels.
        labels: Class name to the values that stand for it, the background first; several values where
            classes are regions that overlap.
        ignored: Values without a class.
        groups: Case to its group (patient), where it is known.
        splits: Case to train, val or test, for all of them or for none.
    """

    root: Path
    cases: tuple[VolumeFiles, ...]
    channels: tuple[str, ...]
    labels: dict[str, tuple[int, ...]]
    ignored: tuple[int, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)

    @property
    def regions(self) -> bool:
        """Whether classes are regions that overlap."""
        return any(len(values) > 1 for values in self.labels.values())

    def parts(self) -> dict[str, list[str]]:
        """Return split to the names of its cases; all are of train where nothing divides them."""
        found: dict[str, list[str]] = {}
        for case in self.cases:
            found.setdefault(self.splits.get(case.name, "train"), []).append(case.name)
        return {part: found[part] for part in SPLITS if part in found}


def read_volume_set(root: Path) -> VolumeSet:
    """Read dataset.json in the form of the Medical Segmentation Decathlon or of nnU-Net's raw data (v1, v2).

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
    if not is_file(path):
        raise SegfocalError(f"expected {path}, found no such file. Give the folder that holds it.")
    content = read_json(path)
    if not isinstance(content, dict):
        raise SegfocalError(
            f"{path} must hold an object with names and values, got {type(content).__name__}."
        )
    if "channel_names" in content or "file_ending" in content or "dataset" in content:
        return _nnunet(root, path, content)
    return _decathlon(root, path, content)


def _decathlon(root: Path, path: Path, content: Mapping[str, Any]) -> VolumeSet:
    channels = tuple(map(str, _needed(content, "modality", path, kind=dict).values()))
    labels, ignored = _classes(content, path)
    cases = []
    for entry in _needed(content, "training", path, kind=list):
        if not (isinstance(entry, dict) and all(isinstance(entry.get(k), str) for k in ("image", "label"))):
            raise SegfocalError(f"{path}: every entry of training must name image and label, got {entry}.")
        images = _images(root / entry["image"], len(channels), path)
        name = without_ending(Path(entry["image"]).name)
        cases.append(VolumeFiles(name, images, _file(root / entry["label"], path)))
    return _checked(path, VolumeSet(root, tuple(cases), channels, labels, ignored))


def _nnunet(root: Path, path: Path, content: Mapping[str, Any]) -> VolumeSet:
    given = "modality" if "channel_names" not in content and "modality" in content else "channel_names"
    channels = tuple(map(str, _needed(content, given, path, kind=dict).values()))
    labels, ignored = _classes(content, path)
    if "dataset" in content:
        cases = _mapped(root, path, _needed(content, "dataset", path, kind=dict), len(channels))
    else:
        ending = _needed(content, "file_ending", path, kind=str)
        if ending not in ENDINGS:
            raise SegfocalError(f"{path}: file_ending must be one of {', '.join(ENDINGS)}, got {ending!r}.")
        cases = _foldered(root, path, ending, len(channels))
    return _checked(path, VolumeSet(root, cases, channels, labels, ignored))


def _foldered(root: Path, path: Path, ending: str, channels: int) -> tuple[VolumeFiles, ...]:
    """Return a case for each file of labelsTr; hidden ones (._case.nii.gz) are passed over."""
    masks = [p for p in sorted((root / "labelsTr").glob(f"*{ending}")) if not p.name.startswith(".")]
    return tuple(
        VolumeFiles(
            mask.name.removesuffix(ending), _images(root / "imagesTr" / mask.name, channels, path), mask
        )
        for mask in masks
    )


def _mapped(root: Path, path: Path, dataset: Mapping[str, Any], channels: int) -> tuple[VolumeFiles, ...]:
    """Return the cases that the key ``dataset`` maps to their files."""
    cases = []
    for name, entry in dataset.items():
        images = entry.get("images") if isinstance(entry, dict) else None
        if not (isinstance(images, list) and images and isinstance(entry.get("label"), str)):
            raise SegfocalError(
                f"{path}: every case of dataset must map to images, a list of files, and label, got "
                f"{name!r}: {entry}."
            )
        if len(images) not in (1, channels):
            raise SegfocalError(
                f"{path}: {name!r} of dataset must have {channels} images, one per channel, got "
                f"{len(images)}."
            )
        files = tuple(_image(root / str(image), path) for image in images)
        cases.append(VolumeFiles(str(name), files, _file(root / entry["label"], path)))
    return tuple(cases)


def with_parts(found: VolumeSet) -> VolumeSet:
    """Return a set with the cases of imagesTs and labelsTs, or Va and Val, that dataset.json does not name.

    Args:
        found: From `read_volume_set`.

    Returns:
        The same where there are none; else cases of imagesTr are those of train.
    """
    more: dict[str, tuple[VolumeFiles, str]] = {}
    known, origin = {case.name for case in found.cases}, found.root / "dataset.json"
    for suffix, part in (("Ts", "test"), ("Va", "val"), ("Val", "val")):
        folder = found.root / f"labels{suffix}"
        for mask in sorted(folder.iterdir()) if folder.is_dir() else ():
            name = without_ending(mask.name)
            if mask.name.startswith(".") or not mask.name.endswith(ENDINGS) or name in known:
                continue
            images = _images(found.root / f"images{suffix}" / mask.name, len(found.channels), origin)
            more[name] = VolumeFiles(name, images, mask), part
    if not more:
        return found
    splits = {case.name: "train" for case in found.cases} | {name: part for name, (_, part) in more.items()}
    cases = sorted([*found.cases, *(case for case, _ in more.values())], key=lambda case: case.name)
    return replace(found, cases=tuple(cases), splits=splits)


def read_volume_table(
    root: Path, table: str, labels: Mapping[str, int | Sequence[int]] | None, channels: Sequence[str] | None
) -> VolumeSet:
    """Read a table of volumes.

    Args:
        root: Folder that its paths start from.
        table: The file, below ``root`` or anywhere. Columns: ``image``, or ``image_<channel>`` for each
            channel; ``mask``; and where wanted ``name``, ``group`` and ``split``.
        labels: As in `NiftiData`.
        channels: Names of the channels on the fourth axis of ``image``; None: it has three.

    Raises:
        SegfocalError: Naming the row or column that is wrong.
    """
    path = root / Path(table).expanduser()
    rows = read_rows(path)
    columns = [name for name in rows[0] if name == "image" or name.startswith("image_")]
    if not columns or "mask" not in rows[0] or (len(columns) > 1 and "image" in columns):
        raise SegfocalError(
            f"{path} must have the columns image (or image_<channel> for each channel) and mask, got "
            f"{', '.join(rows[0])}."
        )
    named, ignored = _classes({"labels": {"background": 0, **(labels or {})}}, path)
    if len(named) < 2:
        raise SegfocalError(
            f"{path}: labels must map each class to its values in the label maps, such as "
            "{background: 0, tumour: 1}, got none. Set data.init_args.labels."
        )
    cases, groups, splits = [], {}, {}
    for number, row in enumerate(rows, start=2):
        case = _row_case(row, columns, root, where=f"{path}, row {number}")
        cases.append(case)
        groups[case.name], splits[case.name] = row.get("group", ""), row.get("split", "")
    single = tuple(channels) if channels else ("image",)
    names = single if columns == ["image"] else tuple(name.removeprefix("image_") for name in columns)
    _check_parts(splits, path)
    return _checked(
        path,
        VolumeSet(
            root,
            tuple(cases),
            names,
            named,
            ignored,
            {name: group for name, group in groups.items() if group},
            splits if any(splits.values()) else {},
        ),
    )


def _row_case(row: Row, columns: Sequence[str], root: Path, *, where: str) -> VolumeFiles:
    paths = []
    for column in (*columns, "mask"):
        if not row[column]:
            raise SegfocalError(f"{where}: the column {column} is empty.")
        path = placed(root, row[column])
        if not exists(path):
            raise SegfocalError(
                f"{where}: there is no file {path!s:.300}. Set root to what paths start from."
            )
        paths.append(path)
    name = row.get("name") or without_ending(row[columns[0]].replace("\\", "/"))
    return VolumeFiles(name, tuple(paths[:-1]), paths[-1])


def _check_parts(splits: Mapping[str, str], path: Path) -> None:
    for name, part in splits.items():
        if part not in SPLITS and any(splits.values()):
            raise SegfocalError(f"{path}: split of {name!r} must be train, val or test, got {part!r}.")


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
    return replace(found, cases=tuple(sorted(found.cases, key=lambda case: case.name)))


def _classes(content: Mapping[str, Any], path: Path) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...]]:
    """Return class to values, the background first, and the values of the class "ignore"."""
    given: dict[Any, Any] = _needed(content, "labels", path, kind=dict)
    numbers = [_or_none(key) is not None for key in given]
    if all(numbers) and not all(_or_none(value) is not None for value in given.values()):
        given = {name: value for value, name in given.items()}  # Decathlon's and nnU-Net v1's way round
    labels: dict[str, tuple[int, ...]] = {}
    ignored: tuple[int, ...] = ()
    for name, value in given.items():
        values = tuple(_number(v, path) for v in (value if isinstance(value, list | tuple) else [value]))
        if name == "ignore":
            ignored = values
        else:
            labels[str(name)] = values
    return dict(sorted(labels.items(), key=lambda item: 0 not in item[1])), ignored


def _needed(content: Mapping[str, Any], key: str, path: Path, *, kind: type) -> Any:
    if key not in content:
        raise SegfocalError(
            f"{path} lacks {key!r}; it has {', '.join(map(repr, content)) or 'nothing'}. The Medical "
            "Segmentation Decathlon writes modality, labels and training; nnU-Net channel_names, labels and "
            "file_ending."
        )
    if not isinstance(content[key], kind):
        raise SegfocalError(f"{path}: {key!r} must be of type {kind.__name__}, got {content[key]!r:.80}.")
    return content[key]


def _or_none(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    whole = isinstance(value, str) or number == value
    return number if whole and abs(number) < 2**31 else None


def _number(value: Any, path: Path) -> int:
    number = _or_none(value)
    if number is None:
        raise SegfocalError(f"{path}: the values of labels must be whole numbers, got {value!r:.80}.")
    return number


def _file(path: Path, origin: Path) -> Path:
    if not path.is_file():
        raise SegfocalError(f"{origin} names {path}, and there is no such file.")
    return path


def _image(path: Path, origin: Path) -> Path:
    """Return a file, or the folder of its name without ending: a DICOM series."""
    folder = path.with_name(without_ending(path.name))
    return folder if folder.is_dir() else _file(path, origin)


def _images(path: Path, channels: int, origin: Path) -> tuple[Path, ...]:
    """Return the files of an image: nnU-Net's, numbered by channel, else the one that is named."""
    name = next((path.name.removesuffix(end) for end in ENDINGS if path.name.endswith(end)), path.name)
    ending = path.name.removeprefix(name)
    numbered = [path.with_name(f"{name}_{number:04d}{ending}") for number in range(channels)]
    if _is_there(numbered[0]):
        return tuple(_image(file, origin) for file in numbered)
    if not _is_there(path):
        raise SegfocalError(f"{origin} names {path}, and there is no such file, nor {numbered[0].name}.")
    return (_image(path, origin),)


def _is_there(path: Path) -> bool:
    return path.is_file() or path.with_name(without_ending(path.name)).is_dir()


def without_ending(name: str, endings: Sequence[str] = ENDINGS) -> str:
    """Return the name of a file without ``.nii`` or ``.nii.gz``.

    Example:
        >>> without_ending("case_01.nii.gz")
        'case_01'
    """
    return next((name.removesuffix(ending) for ending in endings if name.endswith(ending)), name)
