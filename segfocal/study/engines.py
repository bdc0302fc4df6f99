"""Where cells run: an engine starts them, says which have ended, and stops the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM = (sys.executable, "-m", "segfocal.study.cell")
GRACE_S = 30.0
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """What an engine must know to run a cell.

    Args:
        folder: Of the study, absolute.
        cell: Its name.
        threads: Of the process.
        program: Command that runs a cell; folder, cell and parent's id follow.
        workdir: Folder to run in; roots of data may be seen from there.
        environment: Variables for the process.
    """

    folder: str
    cell: str
    threads: int
    program: tuple[str, ...] = PROGRAM
    workdir: str = field(default_factory=os.getcwd)
    environment: dict[str, str] = field(default_factory=dict)


class Engine(ABC):
    """Runs jobs."""

    @abstractmethod
    def start(self, job: Job) -> None:
        """Start a job.

        Args:
            job: What to run.
        """

    @abstractmethod
    def ended(self) -> list[tuple[str, int]]:
        """Return the cells that ended since the last call, with exit codes; negative where killed."""

    @abstractmethod
    def stop(self) -> None:
        """Stop everything that still runs."""


class LocalEngine(Engine):
    """Processes of this computer."""

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, job: Job) -> None:
        """Start a process."""
        self.running[job.cell] = spawn(job)

    def ended(self) -> list[tuple[str, int]]:
        """Return the processes that ended."""
        codes = [(cell, process.poll()) for cell, process in self.running.items()]
        done = [(cell, code) for cell, code in codes if code is not None]
        for cell, _ in done:
            del self.running[cell]
        return done

    def stop(self) -> None:
        """Let the processes save, and kill those that take longer than 30 seconds."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + GRACE_S
        for process in self.running.values():
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()


def spawn(job: Job) -> subprocess.Popen[bytes]:
    """Start the process of a cell, its output appended to the cell's log.

    Args:
        job: What to run.
    """
    log = Path(job.folder) / "cells" / job.cell / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | dict.fromkeys(_THREADS, str(job.threads)) | job.environment
    words: Sequence[str] = [*job.program, job.folder, job.cell, str(os.getpid())]
    with log.open("ab") as file:
        return subprocess.Popen(
            words,
            cwd=job.workdir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the runner alone, which asks each process once
        )


def execute(job: Job) -> int:
    """Run a cell to its end; what remote engines call on the computer they chose.

    Args:
        job: What to run.

    Returns:
        Its exit code.
    """
    return spawn(job).wait()
