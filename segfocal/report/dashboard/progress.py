"""How far a training is, from the end of its metrics.csv and the limits in its config.yaml."""

from __future__ import annotations

import csv
import functools
import math
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from segfocal.report.tables.configs import flat_config
from segfocal.runs.layout import RunPaths
from segfocal.runs.log import whole_lines

_TAIL_BYTES = 65_536  # some hundred lines: several epochs


@dataclass(frozen=True)
class Progress:
    """The last values of a log.

    Args:
        step: Optimizer steps taken; None where nothing was logged.
        epoch: Epochs finished.
        goal: Steps or epochs that the configuration asks for; None where it does not say.
        in_epochs: Whether ``goal`` counts epochs.
        values: Name to the last finite value.
        written: When the log was written last, UTC; "" where there is none.
    """

    step: int | None = None
    epoch: int | None = None
    goal: int | None = None
    in_epochs: bool = False
    values: dict[str, float] = field(default_factory=dict)
    written: str = ""

    @property
    def share(self) -> float | None:
        """Return how much is done, 0 to 1."""
        done = self.epoch if self.in_epochs else self.step
        return None if self.goal is None or done is None else min(1.0, done / self.goal)


def read_progress(run: Path) -> Progress:
    """Return how far a run is.

    Args:
        run: A run directory, in any state.

    Returns:
        What its files tell; damaged lines tell nothing.

    Example:
        >>> read_progress(Path("/no/such/run")).step is None
        True
    """
    path = RunPaths(run).metrics
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL_BYTES))
            data = whole_lines(file.read())
            written = os.fstat(file.fileno()).st_mtime
    except OSError:
        return Progress()
    lines = data.decode("utf-8", "replace").split("\n")[1:]  # the header, or half a line
    step, epoch, values = _last(lines)
    goal, in_epochs = _goal(run)
    moment = datetime.fromtimestamp(written, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Progress(step, epoch, goal, in_epochs, values, moment)


def _last(lines: list[str]) -> tuple[int | None, int | None, dict[str, float]]:
    step = epoch = None
    values: dict[str, float] = {}
    for row in csv.reader(lines):
        try:
            at, passed, name, text = row
            value = float(text)
            step, epoch = int(at), int(passed)
        except ValueError:
            continue
        if math.isfinite(value):
            values[name] = value
    return step, epoch, values


def _goal(run: Path) -> tuple[int | None, bool]:
    try:
        state = RunPaths(run).config.stat()
    except OSError:
        return None, False
    return _limits(run, state.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _limits(run: Path, stamp: int) -> tuple[int | None, bool]:
    """Read the limits once per version of the file."""
    config = flat_config(run)
    for name, in_epochs in (("trainer.max_steps", False), ("trainer.max_epochs", True)):
        text = config.get(name, "")
        if text.isdigit() and int(text) > 0:
            return int(text), in_epochs
    return None, False
