"""The data of a study: their fingerprint and the groups of their test images, from names and files alone."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segfocal.data.content import content_hashes, readable
from segfocal.data.division import expand
from segfocal.data.leaks import check_leaks
from segfocal.errors import SegfocalError
from segfocal.study.divisions import divide, knows
from segfocal.study.merge import digest
from segfocal.study.signatures import find_class, signature

HASHED_KIB = 64  # of the beginning and the end of files, in the hashes of earlier versions
CONTENT = "xxh3_128"
GENERATED = "segfocal.data.synthetic.data.SyntheticData"


def fingerprint(section: Mapping[str, Any] | None, *, folds: int | None, name: str) -> dict[str, Any]:
    """Return what identifies the data of a configuration.

    Of every file: its path below the root and a hash of its content. Data without a root (generated) are
    identified by their arguments.

    Args:
        section: The section ``data``, before folds, fractions and seeds.
        folds: Test folds, or None.
        name: Of the data set, for messages.

    Returns:
        ``sha256``, ``files`` (their number), ``bytes`` (their size) and ``content`` (how they are hashed).

    Raises:
        SegfocalError: Where folders or files are missing.
    """
    if _arguments(section).get("root") is None:
        return {"sha256": digest(section), "files": 0, "bytes": 0, "content": CONTENT}
    whole, size, count = hashlib.sha256(), 0, 0
    for path, place, found in _hashed(section, folds=folds, name=name):
        size += path.stat().st_size
        whole.update(os.fsencode(place) + b"\0" + found + b"\n")
        count += 1
    return {"sha256": whole.hexdigest(), "files": count, "bytes": size, "content": CONTENT}


def former_sha256(section: Mapping[str, Any] | None, *, folds: int | None, name: str) -> str:
    """Return the hash of data as earlier versions made it: of the first and last 64 KiB of every file.

    Args:
        section: As for `fingerprint`.
        folds: Likewise.
        name: Likewise.
    """
    if _arguments(section).get("root") is None:
        return digest(section)
    whole = hashlib.sha256()
    for path, place in _placed(section, folds=folds, name=name):
        part, length = _part(path)
        whole.update(f"{place}\0{length}\0{part}\n".encode())
    return whole.hexdigest()


def file_hashes(section: Mapping[str, Any] | None, *, folds: int | None, name: str) -> dict[str, str]:
    """Return the hash of the content of every file, by its path below the root.

    Args:
        section: As for `fingerprint`.
        folds: Likewise.
        name: Likewise.
    """
    if _arguments(section).get("root") is None:
        return {}
    return {readable(place): found.hex() for _, place, found in _hashed(section, folds=folds, name=name)}


def _hashed(
    section: Mapping[str, Any] | None, *, folds: int | None, name: str
) -> list[tuple[Path, str, bytes]]:
    placed = _placed(section, folds=folds, name=name)
    found = content_hashes(path for path, _ in placed)
    return [(path, place, found[path]) for path, place in placed]


def _placed(section: Mapping[str, Any] | None, *, folds: int | None, name: str) -> list[tuple[Path, str]]:
    """Return the files of data, and their paths below the root."""
    root = Path(expand(str(_arguments(section)["root"])))
    try:
        files = _files(section or {}, root, folds=folds)
    except SegfocalError as error:
        raise SegfocalError(f"data set {name!r}: {error}") from error
    return [
        (path, path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name)
        for path in files
    ]


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


def training_images(
    section: Mapping[str, Any] | None, *, folds: int | None, fraction: float
) -> list[tuple[int, int]] | None:
    """Return how many images and groups train at a fraction, fold by fold.

    Args:
        section: The section ``data``.
        folds: Test folds, or None.
        fraction: Share of the training groups.

    Returns:
        Images and groups of each fold; None where the data module does not tell it from names.
    """
    kind, arguments = _kind(section), _arguments(section)
    if not knows(kind, arguments):
        return None
    if fraction < 1:
        arguments["split"] = {**(arguments.get("split") or {}), "train_fraction": fraction}
    found = []
    for fold in range(folds or 1):
        cases = divide(kind, arguments, folds=folds, fold=fold)
        groups = [case.member.group for case in cases if case.member.split == "train"]
        found.append((len(groups), len(set(groups))))
    return found


def fraction_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return what each fraction of each data set leaves for training, a line for each; none without any.

    Args:
        plan: Content of plan.json.
    """
    lines: dict[str, None] = {}
    fractions = [] if plan["fractions"] == [1.0] else plan["fractions"]
    for data in plan["data"]:
        for fraction in fractions if data["name"] in plan["datasets"] else ():
            found = training_images(data["section"], folds=data["folds"], fraction=fraction)
            if found:
                lines[f"{data['name']}, fraction {fraction:g}: trains on {_spanned(found)}"] = None
    return list(lines)


def _spanned(counts: list[tuple[int, int]]) -> str:
    """Images and, where they are others, groups; over folds from the least to the most."""
    images, groups = zip(*counts, strict=True)
    ends = [
        f"{min(part)}" + (f" to {max(part)}" if max(part) > min(part) else "") for part in (images, groups)
    ]
    text = f"{ends[0]} image{'' if ends[0] == '1' else 's'}"
    return text if images == groups else f"{text} of {ends[1]} group{'' if ends[1] == '1' else 's'}"


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


def _part(path: Path) -> tuple[str, int]:
    """Return a hash of the first and last 64 KiB, and the size."""
    length, limit = path.stat().st_size, HASHED_KIB * 1024
    with path.open("rb") as file:
        content = file.read(limit)
        if length > limit:
            file.seek(max(limit, length - limit))
            content += file.read(limit)
    return hashlib.sha256(content).hexdigest(), length
