"""Where the numbers come from: versions, commit, seeds, hashes; and how rare the classes are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from segfocal.errors import SegfocalError
from segfocal.runs.history import in_words, read_history
from segfocal.runs.layout import RunPaths

PROVENANCE_SCHEMA = pl.Schema(
    dict.fromkeys(
        (
            "name",
            "arm",
            "run",
            "status",
            "created",
            "commit",
            "seeds",
            "data",
            "checkpoint",
            "versions",
            "command",
            "changes",
        ),
        pl.String(),
    )
)
COUNTS_SCHEMA = pl.Schema(
    {
        "data": pl.String,
        "class_name": pl.String,
        "pixels": pl.Int64,
        "share": pl.Float64,
        "runs": pl.Int64,
    }
)


def provenance(runs: pl.DataFrame) -> pl.DataFrame:
    """Return where each readable run comes from.

    Args:
        runs: Of ``runs_table``.

    Returns:
        Texts in the columns of ``PROVENANCE_SCHEMA``; the commit ends in "+" where tracked files differed.
    """
    rows = [_origin(row, json.loads(row["json"])) for row in runs.iter_rows(named=True) if row["json"]]
    return pl.DataFrame(rows, schema=PROVENANCE_SCHEMA)


def class_counts(runs: pl.DataFrame) -> pl.DataFrame:
    """Return how many pixels of the training split belong to each class, once per data set.

    Args:
        runs: Of ``runs_table``.

    Returns:
        data (first 8 digits of the fingerprint), class_name, pixels, share of the labelled pixels, and how
        many runs used it. Binary: of the one class; the background is the rest.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in runs.iter_rows(named=True):
        info = json.loads(row["json"]) if row["json"] else {}
        data = str(row["data"] or "unknown")[:8]
        for name, pixels, share in _counted(info):
            key = (data, name)
            runs_before = found[key]["runs"] if key in found else 0
            found[key] = {
                "data": data, "class_name": name, "pixels": pixels, "share": share, "runs": runs_before + 1
            }  # fmt: skip
    return pl.DataFrame(list(found.values()), schema=COUNTS_SCHEMA)


def _counted(info: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    counts, names = info.get("class_counts"), info.get("class_names")
    if not isinstance(counts, list) or not isinstance(names, list):
        return []
    if counts and all(isinstance(pair, list) and len(pair) == 2 for pair in counts):
        rows = [(pair[1], sum(pair)) for pair in counts]
    elif all(isinstance(count, int) for count in counts):
        # binary counts may name background and class where there is one name
        counts = counts[-len(names) :] if len(counts) > len(names) else counts
        rows = [(count, sum(info["class_counts"])) for count in counts]
    else:
        return []
    return [
        (str(name), int(pixels), pixels / total if total else 0.0)
        for name, (pixels, total) in zip(names, rows, strict=False)
    ]


def _origin(row: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, str]:
    commit = str(info.get("git_commit") or "unknown")[:12] + ("+" if info.get("git_dirty") else "")
    known = {key: row[key] for key in ("name", "arm", "run", "status", "created", "checkpoint")}
    lists = {key: _pairs(info.get(key)) for key in ("seeds", "versions")}
    more = {"commit": commit, "data": row["data"], "command": " ".join(map(str, info.get("command") or []))}
    more["changes"] = _changes(row["run"])
    return {key: str(value or "unknown") for key, value in (known | lists | more).items()}


def _pairs(value: Any) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, Mapping) else ""


def _changes(run: str) -> str:
    """What was set otherwise at a resume, and at which step."""
    try:
        history = read_history(RunPaths(run))
    except SegfocalError as error:
        return str(error)
    entries = [entry for entry in history["entries"] if entry["changes"]] if history is not None else []
    return "; ".join(f"step {entry['step']}: {in_words(entry['changes'])}" for entry in entries) or "none"
