"""What the files of a run may hold: each is checked once when read, so that one odd run breaks no view."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import msgspec

LARGEST_MIB = 64
LONGEST = 200_000  # characters of one text
_DEEPEST = 100  # levels of nesting
MOST_CLASSES = 100_000

Count = Annotated[int, msgspec.Meta(ge=0)]
Number = float | None  # one that is not finite is stored as null


class CheckpointRecord(TypedDict, total=False):
    """One entry of ``checkpoints``."""

    file: str
    sha256: str
    epoch: Count
    step: Count
    score: Number
    monitor: str | None
    next: dict[str, Any]


class DataRecord(TypedDict, total=False):
    """``data``: the fingerprint; its further keys belong to the data module."""

    sha256: str | None


class RunRecord(TypedDict, total=False):
    """The types of run.json; ``RunInfo`` says what the keys mean. Further keys may hold anything."""

    schema_version: int
    status: Literal["running", "finished", "interrupted", "failed"]
    created: str
    updated: str
    reason: str | None
    command: list[str]
    versions: dict[str, str]
    git_commit: str | None
    git_dirty: bool | None
    host: str
    seeds: dict[str, int | None]
    task: Literal["binary", "multiclass", "multilabel"]
    num_classes: Annotated[int, msgspec.Meta(ge=1, le=MOST_CLASSES)]
    class_names: list[str]
    in_channels: Annotated[int, msgspec.Meta(ge=1)]
    parameters: dict[str, Count]
    ignore_index: int | None
    data: DataRecord
    class_counts: list[Count | list[Count]]
    alpha: float | list[Number] | None
    thresholds: list[Number] | None
    temperatures: dict[str, Number]
    preprocess: dict[str, Any]
    background: int | None
    absent: dict[str, str | None]
    checkpoints: dict[str, CheckpointRecord]
    timings: dict[str, Number]
    extra: dict[str, Any]


class ChangeRecord(TypedDict):
    """One change of config_history.json."""

    key: str
    old: Any
    new: Any


class EntryRecord(TypedDict):
    """One start or resume of config_history.json."""

    step: Count
    time: str
    command: list[str]
    changes: list[ChangeRecord]


class HistoryRecord(TypedDict):
    """The types of config_history.json."""

    settings: dict[str, Any]
    entries: list[EntryRecord]


class OutcomeRecord(TypedDict, total=False):
    """The types of a study's cell.json."""

    status: Literal["done", "failed"]
    reason: str | None
    seconds: Number


class PlannedCell(TypedDict, total=False):
    """The types of a cell of a study's plan.json."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[^/\\\x00]+$", max_length=200)]
    kind: str
    stage: str
    arm: str | None
    dataset: str | None
    fraction: float | None
    seed: int | None
    fold: int | None
    trial: int | None
    needs: list[str]
    source: str | None
    base: str
    overrides: dict[str, Any]


class PlanRecord(TypedDict, total=False):
    """The types of a study's plan.json."""

    schema_version: int
    name: str
    metric: str
    baseline: str
    arms: dict[str, Any]
    contrasts: list[dict[str, Any]]
    stages: dict[str, Any]
    datasets: dict[str, Any]
    bases: dict[str, Any]
    cells: list[PlannedCell]


def read_json(path: Path) -> Any:
    """Return what a JSON file holds, where no value in it can break a table or a page.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: Where it is not there.
        ValueError: With one line that says why it cannot be used: no JSON, larger than 64 MiB, nested deeper
            than 100 levels, an integer beyond 64 bits, a text that is no Unicode or is extremely long.
    """
    try:
        if (size := path.stat().st_size) > LARGEST_MIB * 2**20:
            raise ValueError(f"it has {size / 2**20:.0f} MiB, more than {LARGEST_MIB}")
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except RecursionError as error:
        raise ValueError(f"more than {_DEEPEST} levels of nesting") from error
    for value in _values(content):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("it holds an integer beyond 64 bits")
        if isinstance(value, str):
            _check_text(value)
    return content


def read_record(path: Path, schema: Any) -> Any:
    """Return what a JSON file holds, where it fits its types; keys that the types do not name stay.

    Args:
        path: The file.
        schema: One of the types of this module.

    Raises:
        FileNotFoundError: Where it is not there.
        ValueError: As ``read_json``, or with the place that does not fit.

    Example:
        >>> read_record(Path("/no/such/run.json"), RunRecord)
        Traceback (most recent call last):
        FileNotFoundError: [Errno 2] No such file or directory: '/no/such/run.json'
    """
    content = read_json(path)
    check_record(content, schema)
    return content


def read_plan(path: Path) -> dict[str, Any]:
    """Return a study's plan.json, where its cells say what every reader of them needs.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: Where it is not there.
        ValueError: As ``read_record``, or with the cell that lacks something.
    """
    content: dict[str, Any] = read_record(path, PlanRecord)
    cells = content.get("cells", [])
    known = {cell.get("id") for cell in cells}
    for number, cell in enumerate(cells):
        compared = ("arm", "dataset", "fraction", "seed") if cell.get("kind") == "arm" else ()
        lacking = [key for key in ("id", "kind", *compared) if cell.get(key) is None]
        if lacking:
            raise ValueError(f"cells[{number}] lacks {lacking[0]}")
        if unknown := sorted(set(cell.get("needs", [])) - known):
            raise ValueError(f"cells[{number}] needs {unknown[0][:40]}, which is no cell")
    return content


def check_record(content: Any, schema: Any) -> None:
    """Raise unless values fit their types.

    Args:
        content: What a JSON file holds.
        schema: One of the types of this module.

    Raises:
        ValueError: With the place that does not fit.

    Example:
        >>> check_record({"status": ["failed"]}, RunRecord)
        Traceback (most recent call last):
        ValueError: Expected str, got array - at status
    """
    try:
        msgspec.convert(content, schema)
    except msgspec.ValidationError as error:
        said = str(error).replace("`", "").replace("$.", "")
        raise ValueError(" ".join(said.split())[:300]) from error


def _values(content: Any) -> Iterator[Any]:
    """Yield every key and value, with a bound on the depth."""
    waiting = [(content, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} levels of nesting")
        yield value
        if isinstance(value, dict):
            yield from value
            waiting += [(part, depth + 1) for part in value.values()]
        elif isinstance(value, list):
            waiting += [(part, depth + 1) for part in value]


def _check_text(text: str) -> None:
    if len(text) > LONGEST:
        raise ValueError(f"it holds a text of {len(text)} characters, more than {LONGEST}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("it holds a text that is no Unicode (half of a surrogate pair)") from error
