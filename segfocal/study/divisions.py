"""The cases of a data module's splits, from its arguments alone: what training will find, without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.data.coco.layout import CocoLayout, named_classes
from segfocal.data.coding import MaskSettings
from segfocal.data.division import STANDARD, FolderLayout, Spreading, expand
from segfocal.data.file_source import file_spreading
from segfocal.data.lanes.frames import TENTH, LaneFrame, culane_frames, divide_frames, frame_group
from segfocal.data.lanes.frames import tusimple_frames as read_tusimple
from segfocal.data.lanes.lines import SUFFIX
from segfocal.data.leaks import Member
from segfocal.data.pairs import Pair
from segfocal.data.parts import AS_GIVEN, divide_parts
from segfocal.data.preprocess import Preprocess
from segfocal.data.rows import TableLayout
from segfocal.data.settings import from_dict
from segfocal.data.splits import Split
from segfocal.data.volumes.layout import FIFTH, read_volume_set, read_volume_table
from segfocal.data.volumes.series import image_files
from segfocal.imbalance.counts import Task

Arguments = Mapping[str, Any]
Usual = Split | None


@dataclass(frozen=True)
class Case:
    """One image of a split.

    Args:
        member: Its split, name, group and files.
        labels: Files of its masks or points.
    """

    member: Member
    labels: tuple[Path, ...]


def knows(kind: str | None, arguments: Arguments) -> bool:
    """Return whether the cases of a data module, given by class path and arguments, are told here."""
    return kind in _READERS and arguments.get("root") is not None


def divide(kind: str | None, arguments: Arguments, *, folds: int | None, fold: int) -> list[Case]:
    """Return the cases of all splits.

    Args:
        kind: Class path of a data module that `knows` names.
        arguments: Its arguments.
        folds: Test folds, or None.
        fold: Which of them is tested.

    Raises:
        SegfocalError: Where folders or files are missing, or there are too few groups for the folds.
    """
    assert kind is not None
    usual, read = _READERS[kind]
    settings = dict(arguments.get("split") or {})
    if folds is not None:
        settings |= {"test_folds": folds, "test_fold": fold}
    return read(Path(expand(str(arguments["root"]))), arguments, Split(**settings) if settings else usual)


def _folder(root: Path, arguments: Arguments, split: Usual) -> list[Case]:
    assert split is not None
    keys = [key for key in ("images", "masks", "region") if arguments.get(key) is not None]
    folders = {key: str(arguments[key]) for key in keys}
    layout = FolderLayout(root, **folders, classes=_classes(arguments), allowed=_allowed(arguments))
    return _cases(layout.divide(split, spreading=_spreading(root, arguments)), split.group_of)


def _table(root: Path, arguments: Arguments, split: Usual) -> list[Case]:
    table, classes = str(arguments["table"]), _classes(arguments)
    layout = TableLayout(root, table, classes=classes, split=split, allowed=_allowed(arguments))
    return _cases(layout.divide(spreading=_spreading(root, arguments)), layout.group_of)


def _volumes(root: Path, arguments: Arguments, split: Usual) -> list[Case]:
    from segfocal.data.volumes.source import volume_presence  # nibabel, and with it scipy, is slow to import

    table, labels, channels = (arguments.get(key) for key in ("table", "labels", "channels"))
    found = read_volume_set(root) if table is None else read_volume_table(root, table, labels, channels)
    if split is None and not found.splits:
        split = FIFTH
    every, rule = {case.name: case for case in found.cases}, split or AS_GIVEN

    def group_of(name: str) -> str:
        return found.groups.get(name) or rule.group_of(name)

    task: Task = arguments.get("task") or ("multilabel" if found.regions else "multiclass")
    names = divide_parts(
        found.parts(),
        split,
        root=root,
        allowed=_allowed(arguments),
        group_of=group_of,
        presence=volume_presence(found, task=task, notes=[]),
    )
    return [
        Case(Member(part, name, group_of(name), image_files(every[name])), (every[name].mask,))
        for part, chosen in names.items()
        for name in chosen
    ]


def _tusimple(root: Path, arguments: Arguments, split: Usual) -> list[Case]:
    files = [list(arguments.get(key) or ()) for key in ("labels", "test_labels")]
    labels = tuple(root / file for part in files for file in part)
    return _lanes(read_tusimple(root, *files), arguments, split, lambda frame: labels)


def _culane(root: Path, arguments: Arguments, split: Usual) -> list[Case]:
    frames = culane_frames(root, arguments.get("lists"))
    return _lanes(frames, arguments, split, lambda frame: (root / f"{frame.name}{SUFFIX}",))


def _coco(root: Path, arguments: Arguments, split: Usual) -> list[Case]:
    classes, task = arguments.get("classes"), str(arguments["task"])
    layout = CocoLayout(
        root,
        arguments["annotations"],
        arguments.get("images", "images"),
        named_classes(classes, task=task),
        split,
        bool(arguments.get("drop_empty", False)),
        _allowed(arguments),
    )
    files = tuple(layout.files().values())
    return [
        Case(Member(part, name, split.group_of(name) if split else name, (image.file,)), files)
        for part, found in layout.divide().items()
        for name, image in found
    ]


def _lanes(
    frames: Mapping[str, list[LaneFrame]],
    arguments: Arguments,
    split: Usual,
    labels: Callable[[LaneFrame], tuple[Path, ...]],
) -> list[Case]:
    return [
        Case(Member(part, frame.name, frame_group(frame.name, split), (frame.image,)), labels(frame))
        for part, found in divide_frames(frames, split, allowed=_allowed(arguments)).items()
        for frame in found
    ]


def _cases(parts: Mapping[str, list[Pair]], group_of: Callable[[str], str]) -> list[Case]:
    return [
        Case(
            Member(part, pair.name, group_of(pair.name), (pair.image,)),
            _labels(pair),
        )
        for part, pairs in parts.items()
        for pair in pairs
    ]


def _spreading(root: Path, arguments: Arguments) -> Spreading:
    """Return how training would see which classes a mask holds."""
    task, given = arguments["task"], arguments.get("preprocess") or {}
    coded = ("values", "ignore_values", "colors", "ignore_colors", "other", "threshold")
    masks = MaskSettings(root, *(arguments.get(key) for key in coded))
    names = masks.names(arguments.get("class_names"), task=task)
    ignore_index = arguments.get("ignore_index", 255)
    return file_spreading(
        masks.coding(names, task=task, ignore_index=ignore_index),
        names,
        task=task,
        ignore_index=ignore_index,
        rules=from_dict(Preprocess, given).rules(),
        notes=[],
    )


def _labels(pair: Pair) -> tuple[Path, ...]:
    masks = tuple(path for place in range(len(pair.masks)) for path in pair.mask_files(place))
    return masks if pair.region is None else (*masks, pair.region)


def _classes(arguments: Arguments) -> Any:
    return arguments.get("class_names") if arguments.get("task") == "multilabel" else None


def _allowed(arguments: Arguments) -> tuple[str, ...]:
    return tuple(arguments.get("allow_leaks") or ())


# class path to how the module divides where the configuration does not say it, and what reads its files
_READERS: dict[str, tuple[Usual, Callable[[Path, Arguments, Usual], list[Case]]]] = {
    "segfocal.data.coco.data.CocoData": (None, _coco),
    "segfocal.data.folder.FolderData": (STANDARD, _folder),
    "segfocal.data.table.TableData": (None, _table),
    "segfocal.data.volumes.data.NiftiData": (None, _volumes),
    "segfocal.data.lanes.tusimple.TuSimpleData": (TENTH, _tusimple),
    "segfocal.data.lanes.culane.CULaneData": (None, _culane),
}
