"""config_history.json: the settings that a run began with, and what was changed at every resume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

from segfocal.errors import SegfocalError
from segfocal.runs.layout import RunPaths
from segfocal.runs.records import HistoryRecord, read_record
from segfocal.runs.write import write_json

ABSENT = "(absent)"
# what is trained and on what: another value makes another experiment, not more of the same
_EXPERIMENT = (
    *("model.network", "model.changes", "model.loss", "model.loss_schedule", "model.penalties"),
    *("model.match_gradient", "model.task", "data"),
)
# settings of data that say how images are loaded, not which; whether another root holds others, files tell
_LOADING = {"num_workers", "batch_size", "val_batch_size", "cache_mib", "cache_dir", "allow_leaks", "root"}
# what a score of validation means
_SCORE = ("checkpoint.monitor", "checkpoint.mode", "model.empty")


class Change(TypedDict):
    """A setting by its dotted key, before and after; "(absent)" where one side lacks it."""

    key: str
    old: Any
    new: Any


class Entry(TypedDict):
    """A start (no changes) or a resume with other settings."""

    step: int  # optimizer steps taken by then
    time: str  # UTC, ISO 8601
    command: list[str]
    changes: list[Change]


class History(TypedDict):
    """What the file holds."""

    settings: dict[str, Any]  # those of the last start or resume
    entries: list[Entry]


def leaves(value: Any, key: str = "") -> dict[str, Any]:
    """Return a configuration as dotted keys; lists stay whole.

    Args:
        value: The configuration, or a part of it.
        key: Of that part.

    Example:
        >>> leaves({"model": {"loss": None, "rates": [1, 2]}, "seed": 0})
        {'model.loss': None, 'model.rates': [1, 2], 'seed': 0}
    """
    if not isinstance(value, Mapping) or not value:
        return {key: value}
    found: dict[str, Any] = {}
    for name, part in value.items():
        found |= leaves(part, f"{key}.{name}" if key else str(name))
    return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return the settings in which two configurations differ.

    Args:
        old: Nested mapping.
        new: Another.

    Returns:
        Changes in the order of the keys.

    Example:
        >>> differences({"a": {"b": 1}}, {"a": {"b": 2}})
        [{'key': 'a.b', 'old': 1, 'new': 2}]
    """
    before, after = leaves(old), leaves(new)
    keys = dict.fromkeys([*before, *after])
    pairs = [(key, before.get(key, ABSENT), after.get(key, ABSENT)) for key in keys]
    return [Change(key=key, old=first, new=second) for key, first, second in pairs if first != second]


def other_experiment(changes: Iterable[Change]) -> list[Change]:
    """Return the changes after which a run is no longer the experiment that it was.

    Args:
        changes: Of ``differences``.

    Returns:
        Those of network, loss, task and data; not how images are loaded.

    Example:
        >>> keys = ("model.loss.init_args.gamma", "data.init_args.num_workers", "trainer.max_steps")
        >>> [c["key"] for c in other_experiment(Change(key=key, old=1, new=2) for key in keys)]
        ['model.loss.init_args.gamma']
    """
    return [
        change
        for change in changes
        if _below(change["key"], _EXPERIMENT) and change["key"].rpartition(".")[2] not in _LOADING
    ]


def other_score(changes: Sequence[Change]) -> list[Change]:
    """Return the changes after which scores of validation cannot be compared with those before."""
    own = [change for change in changes if _below(change["key"], _SCORE)]
    return own + [change for change in other_experiment(changes) if _below(change["key"], ("data",))]


def in_words(changes: Sequence[Change], *, most: int = 12) -> str:
    """Return changes in one line.

    Args:
        changes: At least one.
        most: How many to name.

    Example:
        >>> in_words([Change(key="trainer.max_steps", old=40, new=80)])
        'trainer.max_steps 40 -> 80'
    """
    named = [
        f"{change['key']} {_value(change['old'])} -> {_value(change['new'])}" for change in changes[:most]
    ]
    more = len(changes) - most
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def read_history(run: RunPaths) -> History | None:
    """Return what config_history.json holds; None where a run has none, as older ones.

    Args:
        run: The run directory's paths.

    Raises:
        SegfocalError: Where the file is damaged.
    """
    try:
        found = read_record(run.history, HistoryRecord)
        return History(settings=found["settings"], entries=list(found["entries"]))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SegfocalError(
            f"{run.history} must hold settings and entries as JSON, got a damaged file ({error}). Restore it "
            "from a copy, or delete it: what was changed before is then unknown."
        ) from error


def write_history(
    run: RunPaths,
    settings: Mapping[str, Any],
    *,
    command: Sequence[str],
    step: int = 0,
    changes: Sequence[Change] = (),
) -> None:
    """Note a start, or a resume with other settings.

    Args:
        run: The run directory's paths.
        settings: The whole configuration from now on.
        command: The words that asked for it.
        step: Optimizer steps taken by then.
        changes: Of the settings since the entry before.

    Raises:
        SegfocalError: Where the file is damaged or cannot be written; the old one stays then.
    """
    known = read_history(run)
    entries = known["entries"] if known is not None else []
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entries.append(Entry(step=step, time=now, command=list(command), changes=list(changes)))
    write_json(run.history, History(settings=dict(settings), entries=entries))


def _below(key: str, parents: Iterable[str]) -> bool:
    return any(key == parent or key.startswith((parent + ".", parent + " ")) for parent in parents)


def _value(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
