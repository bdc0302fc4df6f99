"""One row per run: what it is, which arm it belongs to, and why it cannot be used where it cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from segfocal.report.names import distinct
from segfocal.report.tables.arms import group_arms
from segfocal.report.tables.find import lacks
from segfocal.runs.read import read_infos

RUNS_SCHEMA = pl.Schema(
    {
        "run": pl.String(),  # the folder as given, POSIX
        "name": pl.String(),  # what is shown: clean, short, unlike any other
        "arm": pl.String(),  # runs that differ only in their seed
        "seed": pl.Int64(),
        "status": pl.String(),  # of run.json, "died", "running on HOST, ...", or "unreadable"
        "problem": pl.String(),  # why run.json cannot be used, else null
        "created": pl.String(),
        "task": pl.String(),
        "class_names": pl.List(pl.String()),
        "checkpoint": pl.String(),  # first 12 digits of the best one's sha256
        "best_step": pl.Int64(),  # optimizer steps behind it
        "trainable": pl.Int64(),  # parameters
        "parameters": pl.Int64(),
        "fit_s": pl.Float64(),
        "data": pl.String(),  # sha256 of the data set's fingerprint
        "scored": pl.String(),  # of the split that is shown, where the run says it (see `with_stage`)
        "json": pl.String(),  # the whole run.json
    }
)


def runs_table(run_dirs: Sequence[Path], *, arms: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Read ``run.json`` of every run.

    Args:
        run_dirs: Run directories, half-written ones too; their number is the table's height.
        arms: Run (as POSIX path) to arm, where a study says it.

    Returns:
        Columns of ``RUNS_SCHEMA``. What a run does not say is null.

    Example:
        >>> runs_table([]).height
        0
    """
    infos = read_infos(run_dirs).collect()
    groups = group_arms(run_dirs, names=arms)
    names = _names(run_dirs)
    rows = [
        _row(info, arm=groups[info["run"]], name=name)
        for info, name in zip(infos.iter_rows(named=True), names, strict=True)
    ]
    return pl.DataFrame(rows, schema=RUNS_SCHEMA)


def with_stage(runs: pl.DataFrame, *, stage: str) -> pl.DataFrame:
    """Return the table with ``scored``, the hash of the data that scores of a split were computed on.

    Runs that train on other images can be scored on the same. Runs of earlier versions say the hash of all
    their data alone.

    Args:
        runs: From `runs_table`.
        stage: The split.

    Example:
        >>> with_stage(runs_table([]), stage="test").height
        0
    """
    found = [
        _mapping(_mapping(json.loads(text or "{}").get("data")).get("splits")).get(stage) or whole
        for text, whole in runs.select("json", "data").iter_rows()
    ]
    return runs.with_columns(pl.Series("scored", [None if f is None else str(f) for f in found], pl.String()))


def _names(run_dirs: Sequence[Path]) -> list[str]:
    """Folder names; with the parent's where two are alike."""
    plain = [run.name or run.resolve().name for run in run_dirs]
    if len(set(plain)) < len(plain):
        plain = [f"{run.parent.name}/{name}" for run, name in zip(run_dirs, plain, strict=True)]
    return distinct(plain)


def _row(found: Mapping[str, Any], *, arm: str, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"run": found["run"], "name": name, "arm": arm, "problem": found["problem"]}
    row["problem"] = lacks(Path(found["run"])) or found["problem"]
    if row["problem"] is not None or not found["json"]:
        return row | {"status": "unreadable"}
    info = json.loads(found["json"])
    parameters = _mapping(info.get("parameters"))
    best = _mapping(_mapping(info.get("checkpoints")).get("best"))
    return row | {
        "seed": _mapping(info.get("seeds")).get("process"),
        "status": found["status"],
        "created": found["created"],
        "task": found["task"],
        "class_names": info.get("class_names"),
        "checkpoint": str(best.get("sha256", ""))[:12] or None,
        "best_step": best.get("step"),
        "trainable": parameters.get("trainable"),
        "parameters": parameters.get("total"),
        "fit_s": _mapping(info.get("timings")).get("fit_s"),
        "data": _mapping(info.get("data")).get("sha256"),
        "scored": _mapping(info.get("data")).get("sha256"),
        "json": found["json"],
    }


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
