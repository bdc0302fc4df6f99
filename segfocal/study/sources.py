"""The data of a study: their fingerprint and the groups of their test images, from names and files alone."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from segfocal.data.division import expand
from segfocal.data.leaks import check_leaks
from segfocal.errors import SegfocalError
from segfocal.study.divisions import divide, knows
from segfocal.study.merge import digest
from segfocal.study.signatures import find_class, signature

HASHED_KIB = 64
GENERATED = "segfocal.data.synthetic.data.SyntheticData"


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
    if arguments.get("root") is None:
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
        place = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        whole.update(f"{place}\0{length}\0{part}\n".encode())
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
    if not knows(kind, arguments):
        return None
    cases = [case for fold in range(folds or 1) for case in divide(kind, arguments, folds=folds, fold=fold)]
    return len({case.member.group for case in cases if case.member.split == "test"})


def check_leaking(section: Mapping[str, Any] | None, *, folds: int | None, name: str) -> None:
    """Raise where training would refuse the data, because an image lies in two splits.

    Args:
        section: The section ``data``.
        folds: Test folds, or None; each is checked.
        name: Of the data set, for messages.

    Raises:
        SegfocalError: Naming the data set and the images.
    """
    kind, arguments = _kind(section), _arguments(section)
    for fold in range(folds or 1) if knows(kind, arguments) else ():
        members = [case.member for case in divide(kind, arguments, folds=folds, fold=fold)]
        try:
            check_leaks(members, allowed=arguments.get("allow_leaks") or ())
        except SegfocalError as error:
            raise SegfocalError(f"data set {name!r}: {error}") from error


def _files(section: Mapping[str, Any], root: Path, *, folds: int | None) -> list[Path]:
    kind, arguments = _kind(section), _arguments(section)
    if knows(kind, arguments):
        cases = divide(kind, arguments, folds=folds, fold=0)
        found = {path for case in cases for path in (*case.member.files, *case.labels)}
        return sorted(found | ({root / str(arguments["table"])} if "table" in arguments else set()))
    if not root.is_dir():
        raise SegfocalError(f"there is no folder {root}. Set root, or the variable SEGFOCAL_DATA in it.")
    every = (path for path in root.rglob("*") if path.is_file())
    return sorted(path for path in every if not _hidden(path.relative_to(root).parts))


def _hidden(parts: Iterable[str]) -> bool:
    return any(part.startswith(".") for part in parts)


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
