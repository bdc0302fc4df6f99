"""Run the missing cells of a study: needs first, each by one process, none twice."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

from segfocal.runs.write import write_json
from segfocal.study.cell import BUSY
from segfocal.study.engines import PROGRAM, Engine, Job
from segfocal.study.folder import StudyFolder
from segfocal.study.locks import acquire, release
from segfocal.study.progress import Progress
from segfocal.study.schedule import Schedule

POLL_S, LOOK_S = 0.05, 1.0


@dataclass(frozen=True)
class Settings:
    """How a study is run.

    Args:
        jobs: Cells at a time.
        threads: Of each process.
        max_failures: After so many failed cells no further one is started; None: all go on.
        retry_failed: Whether cells that failed before are run again.
        retries: How often a cell is run again whose process was killed from outside.
        program: Command that runs a cell; folder, cell and the parent's id follow.
    """

    jobs: int = 1
    threads: int = 1
    max_failures: int | None = None
    retry_failed: bool = False
    retries: int = 2
    program: tuple[str, ...] = PROGRAM


@dataclass
class Runner:
    """One pass over a study.

    Args:
        folder: The study.
        engine: Where cells run.
        settings: How.
        out: Where progress is written.
        asked: Says whether a signal asked to stop.
    """

    folder: StudyFolder
    engine: Engine
    settings: Settings
    out: TextIO = sys.stdout
    asked: Callable[[], bool] = lambda: False
    running: set[str] = field(default_factory=set)
    elsewhere: dict[str, int] = field(default_factory=dict)
    kills: dict[str, int] = field(default_factory=dict)
    failures: int = 0

    def run(self) -> int:
        """Run every missing cell.

        Returns:
            0 where all cells are done, 1 where some failed or could not start, 130 after a signal.
        """
        self.schedule = Schedule(self.folder.plan["cells"])
        self.progress = Progress(self.folder, self.schedule, jobs=self.settings.jobs, out=self.out)
        looked = time.monotonic()
        try:
            while not self.schedule.is_over():
                if self.asked():
                    return 130
                self._fill()
                if self._is_stopped() and not self.running:
                    break
                for cell, code in self.engine.ended():
                    self._ended(cell, code)
                if time.monotonic() - looked > LOOK_S:
                    self._look_elsewhere()
                    looked = time.monotonic()
                if not self.schedule.ready or len(self.running) >= self.settings.jobs:
                    time.sleep(POLL_S)
        finally:
            self.engine.stop()
        self.progress.summary()
        return 0 if self.schedule.count("done") == len(self.schedule.cells) else 1

    def _is_stopped(self) -> bool:
        limit = self.settings.max_failures
        return limit is not None and self.failures >= limit

    def _fill(self) -> None:
        while len(self.running) < self.settings.jobs and not self._is_stopped():
            cell = self.schedule.next()
            if cell is None:
                return
            state = self.folder.paths(cell).state()
            if state == "failed" and self.settings.retry_failed and self._forget(cell):
                state = "waiting"
            if state == "running":
                self.elsewhere[cell] = BUSY
            elif state == "waiting":
                self._start(cell)
            else:
                self.schedule.end(cell, "done" if state == "done" else "failed")

    def _start(self, cell: str) -> None:
        self.engine.start(
            Job(
                str(self.folder.root.resolve()),
                cell,
                threads=self.settings.threads,
                program=self.settings.program,
            )
        )
        self.running.add(cell)

    def _ended(self, cell: str, code: int) -> None:
        self.running.discard(cell)
        state = self.folder.paths(cell).state()
        if state in ("done", "failed"):
            self._settle(cell, state)
        elif code == BUSY or state == "running":  # of a killed process a loader may live a little longer
            self.elsewhere[cell] = code
        else:
            self._killed(cell, code)

    def _settle(self, cell: str, state: str) -> None:
        self.failures += state == "failed"
        self.schedule.end(cell, "done" if state == "done" else "failed")
        self.progress.ended(cell, state, running=len(self.running))

    def _killed(self, cell: str, code: int) -> None:
        """A process that wrote no outcome was killed, or could not even start: try again, not for ever."""
        self.kills[cell] = self.kills.get(cell, 0) + 1
        if self.kills[cell] <= self.settings.retries:
            self.schedule.again(cell)
            return
        paths = self.folder.paths(cell)
        handle = acquire(paths.lock)
        if handle is None or paths.read_outcome() is not None:
            self.schedule.again(cell)
            return
        why = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        reason = f"{why}, {self.kills[cell]} times\n{paths.last_lines()}"
        write_json(paths.outcome, _failure(reason, attempts=self.kills[cell]))
        release(handle)
        self._settle(cell, "failed")

    def _look_elsewhere(self) -> None:
        for cell in sorted(self.elsewhere):
            state = self.folder.paths(cell).state()
            if state == "running":
                continue
            code = self.elsewhere.pop(cell)
            if state != "waiting":
                self._settle(cell, state)
            elif code == BUSY:  # the other runner was killed, and its process with it
                self.schedule.again(cell)
            else:
                self._killed(cell, code)

    def _forget(self, cell: str) -> bool:
        """Remove the outcome of a failed cell, unless another runner did so and runs it by now."""
        paths = self.folder.paths(cell)
        handle = acquire(paths.lock)
        if handle is None:
            return False
        outcome = paths.read_outcome()
        if outcome is not None and outcome["status"] == "failed":
            paths.outcome.unlink()
        release(handle)
        return True


def _failure(reason: str, *, attempts: int) -> dict[str, Any]:
    return {"status": "failed", "reason": reason, "seconds": None, "attempts": attempts, "overrides": None}
