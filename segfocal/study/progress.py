"""What a runner says, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, TextIO

from segfocal.study.folder import StudyFolder
from segfocal.study.schedule import Schedule


class Progress:
    """One line per cell that ended.

    Args:
        folder: The study.
        schedule: Of its cells.
        jobs: Cells at a time.
        out: Where to write.
    """

    def __init__(self, folder: StudyFolder, schedule: Schedule, *, jobs: int, out: TextIO) -> None:
        self.folder, self.schedule, self.jobs, self.out = folder, schedule, jobs, out
        self.seconds: dict[tuple[str, str], list[float]] = {}
        self.start = time.monotonic()

    def ended(self, cell: str, state: str, *, running: int) -> None:
        """Say that a cell ended.

        Args:
            cell: Its name.
            state: How.
            running: How many cells run.
        """
        entry = self.schedule.cells[cell]
        outcome = self.folder.paths(cell).read_outcome() or {}
        if outcome.get("seconds") is not None:
            self.seconds.setdefault(_kind(entry), []).append(float(outcome["seconds"]))
        took = f", {outcome['seconds']:.0f} s" if outcome.get("seconds") is not None else ""
        self._say(f"{state} {describe(entry)}{took}")
        if state == "failed":
            for line in str(outcome.get("reason") or "").splitlines()[-3:]:
                self._say(f"    {line}")
        left = [entry for name, entry in self.schedule.cells.items() if name not in self.schedule.endings]
        time_left = estimate_s(left, self.seconds, jobs=self.jobs)
        self._say(
            f"  {self.schedule.count('done')} done, {self.schedule.count('failed')} failed, "
            f"{running} running, {len(left) - running} waiting of {len(self.schedule.cells)}"
            + (f", {duration(time_left)} left" if time_left else "")
        )

    def summary(self) -> None:
        """Say how the pass ended."""
        done, failed = self.schedule.count("done"), self.schedule.count("failed")
        left = len(self.schedule.cells) - done - failed
        self._say(
            f"{done} of {len(self.schedule.cells)} cells done, {failed} failed, {left} not run, "
            f"{duration(time.monotonic() - self.start)}"
        )
        if failed:
            self._say(f"run the failed ones again: segfocal study run {self.folder.root} --retry-failed")

    def _say(self, text: str) -> None:
        self.out.write(text + "\n")
        self.out.flush()


def describe(cell: dict[str, Any]) -> str:
    """Return the words for a cell.

    Args:
        cell: As plan.json holds it.
    """
    parts = [cell["id"][:8], cell["stage"], cell["arm"], cell["dataset"]]
    parts += [f"{key} {cell[key]}" for key in ("seed", "fold", "trial") if cell[key] is not None]
    if cell["fraction"] not in (None, 1.0):
        parts.append(f"fraction {cell['fraction']:g}")
    return " ".join(part for part in parts if part is not None)


def estimate_s(
    left: Iterable[dict[str, Any]], seconds: dict[tuple[str, str], list[float]], *, jobs: int
) -> float | None:
    """Return how long cells will take, from those of the same stage and kind that ended.

    Args:
        left: The cells.
        seconds: By `_kind`.
        jobs: Cells at a time.

    Returns:
        Seconds; None before the first cell ended.
    """
    known = {kind: sum(times) / len(times) for kind, times in seconds.items()}
    if not known:
        return None
    usual = sum(known.values()) / len(known)
    return sum(known.get(_kind(cell), usual) for cell in left) / max(jobs, 1)


def duration(seconds: float) -> str:
    """Return a time for people.

    Args:
        seconds: Its length.

    Example:
        >>> duration(42), duration(300), duration(90000)
        ('42 s', '5.0 min', '25.0 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _kind(cell: dict[str, Any]) -> tuple[str, str]:
    return cell["stage"], cell["kind"]
