"""run.json: what a run is, what it was made from, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from segfocal.errors import SegfocalError, check_choice, nearest
from segfocal.imbalance.background import says_background
from segfocal.runs.layout import RunPaths, open_run
from segfocal.runs.lock import this_host
from segfocal.runs.provenance import file_sha256, git_state, package_versions
from segfocal.runs.records import RunRecord, check_record, read_json
from segfocal.runs.write import locked, write_json

SCHEMA_VERSION = 1

Status = Literal["running", "finished", "interrupted", "failed"]


class CheckpointInfo(TypedDict, total=False):
    """One entry of ``checkpoints``; the keys of the mapping are "best" and "last"."""

    file: str  # name inside checkpoints/
    sha256: str  # of the whole file; cases.parquet holds its first 12 digits
    next: dict[str, Any]  # the entry of the file that is about to take its place; only while that happens
    epoch: int
    step: int  # optimizer steps taken
    score: float | None  # of the monitored metric
    monitor: str  # that metric


class RunInfo(TypedDict, total=False):
    """The content of run.json; every key but the first four may be absent.

    ``update_info`` merges the mappings key by key and replaces everything else.
    """

    schema_version: int
    status: Status
    created: str  # UTC, ISO 8601
    updated: str  # UTC, ISO 8601: the last write to this file
    host: str  # machine that trains or trained it last
    reason: str | None  # why it failed or was interrupted
    command: list[str]
    versions: dict[str, str]  # package to version, and python, platform
    git_commit: str | None  # of the project in the working directory
    git_dirty: bool | None  # whether tracked files differed from that commit
    seeds: dict[str, int]
    task: str  # binary, multiclass or multilabel
    num_classes: int  # logit channels
    class_names: list[str]  # one per logit channel
    in_channels: int
    parameters: dict[str, int]  # of the network: trainable, total
    ignore_index: int | None
    data: dict[str, Any]  # the DataModule's fingerprint
    class_counts: list[Any]  # pixels of the training split: (C,), or (K, 2) negatives and positives
    alpha: float | list[float] | None  # as resolved from the counts
    thresholds: list[float] | None  # chosen on validation, one per class; None: argmax or .5
    temperatures: dict[str, float]  # fitted on validation, by the first 12 digits of the checkpoint's sha256
    preprocess: dict[str, Any]  # Preprocess.to_dict()
    background: int | None  # class that means over classes leave out
    absent: dict[str, str | None]  # table that no evaluation can write, and why
    checkpoints: dict[str, CheckpointInfo]
    timings: dict[str, float]  # seconds, by phase
    extra: dict[str, Any]  # anything else a caller wants to keep


def create_info(paths: RunPaths, **fields: Any) -> RunInfo:
    """Write a new run.json with status "running", versions and the git commit.

    Args:
        paths: The run directory's paths; the folder is made.
        **fields: Further keys of ``RunInfo``.

    Returns:
        What was written.

    Raises:
        SegfocalError: Where a run.json exists already, a key is unknown, or the file cannot be written.
    """
    if paths.info.exists():
        raise SegfocalError(
            f"{paths.root} already holds a run. Choose another folder with --run, "
            f"or go on with it by `segfocal fit --resume {paths.root}`."
        )
    commit, dirty = git_state()
    info: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "status": "running",
        "created": _now(),
        "updated": "",
        "host": this_host(),
    }
    info |= {"reason": None, "versions": package_versions(), "git_commit": commit, "git_dirty": dirty}
    return _write(paths, _merge(info, fields))


def read_info(run: RunPaths | str | Path) -> RunInfo:
    """Return the content of run.json.

    Args:
        run: A run directory or its paths.

    Returns:
        Its content, of the current schema version.

    Raises:
        SegfocalError: Where there is no such run, the JSON is damaged, or another version wrote it.
    """
    paths = open_run(run.root if isinstance(run, RunPaths) else run)
    try:
        info = read_json(paths.info)
    except ValueError as error:
        raise SegfocalError(
            f"{paths.info} must be JSON, got a damaged file ({error}). "
            "Restore it from a copy, or train again into another folder."
        ) from error
    if not isinstance(info, dict) or "schema_version" not in info:
        raise SegfocalError(f"{paths.info} has no schema_version: it was not written by segfocal.")
    _check_version(paths, info)
    try:
        check_record(info, RunRecord)
    except ValueError as error:
        raise SegfocalError(
            f"{paths.info} is not as segfocal writes it: {error}. "
            "Restore it from a copy, or train again into another folder."
        ) from error
    return info  # type: ignore[return-value]


def update_info(run: RunPaths | str | Path, **changes: Any) -> RunInfo:
    """Change keys of run.json, atomically and one writer at a time; under DDP call it on rank 0 only.

    Args:
        run: A run directory or its paths.
        **changes: Keys of ``RunInfo``. A mapping is merged into the old one key by key, all else replaces.

    Returns:
        The whole new content.

    Raises:
        SegfocalError: As ``read_info``; for unknown keys or status; where the file cannot be written.
    """
    paths = open_run(run.root if isinstance(run, RunPaths) else run)
    with locked(paths.root):
        return _write(paths, _merge(dict(read_info(paths)), changes))


def checkpoint_info(
    path: str | Path,
    *,
    epoch: int | None = None,
    step: int | None = None,
    score: float | None = None,
    monitor: str | None = None,
) -> CheckpointInfo:
    """Return the entry that describes a checkpoint file: name, sha256 and what is given.

    Args:
        path: An existing checkpoint.
        epoch: Epoch it was saved in.
        step: Optimizer steps taken by then.
        score: Its value of the monitored metric.
        monitor: That metric.

    Returns:
        A value for ``update_info(run, checkpoints={"best": ...})``.
    """
    known = {"epoch": epoch, "step": step, "score": score, "monitor": monitor}
    entry: Any = {"file": Path(path).name, "sha256": file_sha256(path)}
    return entry | {key: value for key, value in known.items() if value is not None}  # type: ignore[no-any-return]


def background_of_run(info: Mapping[str, Any]) -> int | None:
    """Return the class that means over classes leave out; None where all count.

    Args:
        info: Content of run.json; where it is from before the key, the class names decide.

    Example:
        >>> background_of_run({"task": "multiclass", "class_names": ["background", "a"]})
        0
    """
    if "background" in info:
        found: int | None = info["background"]
        return found
    names = info.get("class_names") or ["0"]
    return 0 if info.get("task") == "multiclass" and says_background(str(names[0])) else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _check_version(paths: RunPaths, info: Mapping[str, Any]) -> None:
    found = info["schema_version"]
    if found != SCHEMA_VERSION:
        versions = info.get("versions")
        writer = str(versions.get("segfocal", "unknown") if isinstance(versions, dict) else "unknown")[:40]
        raise SegfocalError(
            f"{paths.info} has schema version {found} (segfocal {writer} wrote it), this segfocal "
            f"{metadata.version('segfocal')} reads version {SCHEMA_VERSION}. "
            f"Install segfocal {writer} to use this run, or train it again."
        )


def _merge(info: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        if key not in RunInfo.__annotations__:
            raise SegfocalError(
                f"run.json has no key {key!r}.{nearest(key, RunInfo.__annotations__)} "
                f"Known: {', '.join(RunInfo.__annotations__)}."
            )
        old = info.get(key)
        info[key] = {**old, **value} if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    check_choice("status", info["status"], get_args(Status))
    return info


def _write(paths: RunPaths, info: dict[str, Any]) -> RunInfo:
    info["updated"] = _now()
    write_json(paths.info, info)
    return info  # type: ignore[return-value]
