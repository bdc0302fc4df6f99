"""How a study stands, from its files and locks alone."""

from __future__ import annotations

from typing import Any

from segfocal.errors import SegfocalError
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths
from segfocal.runs.lock import run_state
from segfocal.study.folder import CellPaths, StudyFolder
from segfocal.study.progress import describe, duration, estimate_s
from segfocal.study.schedule import Schedule

SHOWN = 5


def study_status(folder: StudyFolder) -> dict[str, Any]:
    """Return the numbers of a study.

    Args:
        folder: The study.

    Returns:
        ``name``, ``cells``, ``done``, ``failed``, ``running``, ``waiting``, ``blocked`` (of the waiting
        ones, those that wait for a failed cell), ``died`` (those whose process was killed), ``eta_s`` and the
        ``failures``: cell to reason.
    """
    schedule = Schedule(folder.plan["cells"])
    counts = {"done": 0, "failed": 0, "running": 0, "waiting": 0}
    seconds: dict[tuple[str, str], list[float]] = {}
    failures: dict[str, str] = {}
    left, died = [], 0
    for name, cell in folder.cells.items():
        paths = folder.paths(name)
        outcome = paths.read_outcome()
        state = paths.state() if outcome is None else outcome["status"]
        counts[state] += 1
        if outcome is None:
            left.append(cell)
            died += state == "waiting" and _died(paths)
            continue
        schedule.end(name, "done" if state == "done" else "failed")
        if state == "failed":
            failures[name] = str(outcome.get("reason") or "")
        elif outcome.get("seconds") is not None:
            seconds.setdefault((cell["stage"], cell["kind"]), []).append(outcome["seconds"])
    return {
        "name": folder.plan["name"],
        "cells": len(folder.cells),
        **counts,
        "blocked": schedule.count("blocked"),
        "died": died,
        "eta_s": estimate_s(left, seconds, jobs=counts["running"]) if left else 0.0,
        "failures": failures,
    }


def _died(paths: CellPaths) -> bool:
    try:
        return run_state(RunPaths(paths.run), read_info(paths.run)).word == "died"
    except SegfocalError:  # no run yet, or a damaged one, which is told when it goes on
        return False


def status_lines(folder: StudyFolder, status: dict[str, Any]) -> list[str]:
    """Return the numbers as text.

    Args:
        folder: The study.
        status: Of `study_status`.
    """
    lines = [
        f"{status['name']}: {status['done']} of {status['cells']} cells done, {status['failed']} failed, "
        f"{status['running']} running, {status['waiting']} waiting"
    ]
    if status["blocked"]:
        lines.append(f"{status['blocked']} of them wait for a cell that failed")
    if status["died"]:
        lines.append(
            f"{status['died']} of the waiting cells died while they ran: "
            "the next `segfocal study run` goes on with them"
        )
    if status["waiting"] + status["running"] and status["eta_s"] is not None:
        at_a_time = max(status["running"], 1)
        lines.append(f"{duration(status['eta_s'])} left with {at_a_time} at a time")
    for name, reason in list(status["failures"].items())[:SHOWN]:
        lines.append(f"failed {describe(folder.cells[name])}: {folder.paths(name).log}")
        lines += [f"    {line}" for line in reason.splitlines()[-3:]]
    return lines
