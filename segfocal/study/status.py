"""How a study stands, from its files and locks alone."""

from __future__ import annotations

from typing import Any

from segfocal.study.folder import StudyFolder
from segfocal.study.progress import describe, duration, estimate_s
from segfocal.study.schedule import Schedule

SHOWN = 5


def study_status(folder: StudyFolder) -> dict[str, Any]:
    """Return the numbers of a study.

    Args:
        folder: The study.

    Returns:
        ``name``, ``cells``, ``done``, ``failed``, ``running``, ``waiting``, ``blocked`` (of the waiting
        ones, those that wait for a failed cell), ``eta_s`` and the ``failures``: cell to reason.
    """
    schedule = Schedule(folder.plan["cells"])
    counts = {"done": 0, "failed": 0, "running": 0, "waiting": 0}
    seconds: dict[tuple[str, str], list[float]] = {}
    failures: dict[str, str] = {}
    left = []
    for name, cell in folder.cells.items():
        paths = folder.paths(name)
        outcome = paths.read_outcome()
        state = paths.state() if outcome is None else outcome["status"]
        counts[state] += 1
        if outcome is None:
            left.append(cell)
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
        "eta_s": estimate_s(left, seconds, jobs=counts["running"]) if left else 0.0,
        "failures": failures,
    }


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
    if status["waiting"] + status["running"] and status["eta_s"] is not None:
        at_a_time = max(status["running"], 1)
        lines.append(f"{duration(status['eta_s'])} left with {at_a_time} at a time")
    for name, reason in list(status["failures"].items())[:SHOWN]:
        lines.append(f"failed {describe(folder.cells[name])}: {folder.paths(name).log}")
        lines += [f"    {line}" for line in reason.splitlines()[-3:]]
    return lines
