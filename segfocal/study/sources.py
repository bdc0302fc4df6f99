"""The data of a study: their fingerprint and the groups of their test images, from names and files alone."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from segfocal.data.division import STANDARD, FolderLayout, expand
from segfocal.data.splits import Split
from segfocal.data.volumes.layout import read_volume_set
from segfocal.errors import SegfocalError
from segfocal.study.merge import digest
from segfocal.study.signatures import find_class, signature

HASHED_KIB = 64
FOLDER, GENERATED = "segfocal.data.folder.FolderData", "segfocal.data.synthetic.data.SyntheticData"
VOLUMES = "segfocal.data.volumes.data.NiftiData"
# how a data module divides where the configuration does not say it; these tell their names without torch
USUAL_SPLIT: dict[str | None, Split] = {FOLDER: STANDARD, VOLUMES: Split(test_folds=5, test_fold=0)}


def fingerprint(section: Mapping[str, Any] | None, *, folds: int | None, name: str) -> dict[str, Any]:
    """Return what identifies the data of a configuration.

    Of every file: its path below the root, its size, and the sha256 of its first and last 64 KiB. Data
    without a root (generated) are identified by their arguments.

    Args:
        section: The section ``data``, before folds, fractions and seeds.
        folds: Test folds, or None.
        name: Of the data set, for messages.

    Returns:
        ``sha256``, ``files`` (their number) and ``bytes`` (their size).

    Raises:
        SegfocalError: Where folders or files are missing.
    """
    arguments = _arguments(section)
    if "root" not in arguments:
        return {"sha256": digest(section), "files": 0, "bytes": 0}
    root = Path(expand(str(arguments["root"])))
    try:
        files = _files(section or {}, root, folds=folds)
    except SegfocalError as error:
        raise SegfocalError(f"data set {name!r}: {error}") from error
    whole, size = hashlib.sha256(), 0
    for path in files:
        part, length = _part(path, path.stat().st_mtime_ns)
        size += length
        whole.update(f"{path.relative_to(root).as_posix()}\0{length}\0{part}\n".encode())
    return {"sha256": whole.hexdigest(), "files": len(files), "bytes": size}


def test_groups(section: Mapping[str, Any] | None, *, folds: int | None) -> int | None:
    """Return how many groups (patients, sequences, images where there are no groups) are tested.

    Args:
        section: The section ``data``.
        folds: Test folds, or None.

    Returns:
        Their number over all folds; None where the data module does not tell it from names.

    Raises:
        SegfocalError: Where folders or files are missing, or there are too few groups for the folds.
    """
    kind, arguments = _kind(section), _arguments(section)
    if kind == GENERATED:
        return int(arguments.get("test_images", _default(kind, "test_images")))
    if kind not in USUAL_SPLIT:
        return None
    groups: set[str] = set()
    for fold in range(folds or 1):
        split = _split(kind, arguments, folds=folds, fold=fold)
        groups |= {split.group_of(name) for name in _divided(kind, arguments, split)["test"]}
    return len(groups)


def _files(section: Mapping[str, Any], root: Path, *, folds: int | None) -> list[Path]:
    kind, arguments = _kind(section), _arguments(section)
    if kind in USUAL_SPLIT:
        parts = _divided(kind, arguments, _split(kind, arguments, folds=folds, fold=0))
        return sorted({path for part in parts.values() for files in part.values() for path in files})
    if not root.is_dir():
        raise SegfocalError(f"there is no folder {root}. Set root, or the variable SEGFOCAL_DATA in it.")
    every = (path for path in root.rglob("*") if path.is_file())
    return sorted(path for path in every if not _hidden(path.relative_to(root).parts))


def _divided(
    kind: str | None, arguments: Mapping[str, Any], split: Split
) -> dict[str, dict[str, list[Path]]]:
    """Split to name to files, as the data module will find them."""
    root = Path(expand(str(arguments["root"])))
    if kind == VOLUMES:
        every = {case.name: [*case.images, case.mask] for case in read_volume_set(root).cases}
        names = split.finish(split.divide(sorted(every), root=root))
        return {part: {name: every[name] for name in chosen} for part, chosen in names.items()}
    classes = arguments.get("class_names") if arguments.get("task") == "multilabel" else None
    folders = {key: str(arguments[key]) for key in ("images", "masks") if key in arguments}
    pairs = FolderLayout(root, **folders, classes=classes).divide(split)
    return {
        part: {pair.name: [path for path in (pair.image, *pair.masks) if path is not None] for pair in found}
        for part, found in pairs.items()
    }


def _hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _split(kind: str | None, arguments: Mapping[str, Any], *, folds: int | None, fold: int) -> Split:
    settings = dict(arguments.get("split") or {})
    if folds is not None:
        settings |= {"test_folds": folds, "test_fold": fold}
    return Split(**settings) if settings else USUAL_SPLIT[kind]


def _kind(section: Mapping[str, Any] | None) -> str | None:
    found = find_class(str((section or {}).get("class_path")))
    return None if found is None else found.path


def _arguments(section: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict((section or {}).get("init_args") or {})


def _default(class_path: str, argument: str) -> Any:
    found = find_class(class_path)
    assert found is not None
    default = signature(found).parameters[argument].default
    assert default is not None
    return ast.literal_eval(default)


@cache
def _part(path: Path, changed_ns: int) -> tuple[str, int]:
    """Hash of the first and last 64 KiB, and the size; remembered as long as the file does not change."""
    length, limit = path.stat().st_size, HASHED_KIB * 1024
    with path.open("rb") as file:
        content = file.read(limit)
        if length > limit:
            file.seek(max(limit, length - limit))
            content += file.read(limit)
    return hashlib.sha256(content).hexdigest(), length
