"""What lies below LOGDIR now: looked at often, read only where something changed."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.report.dashboard.confine import divide, inside
from segfocal.report.sources import Sources, read_sources
from segfocal.report.study import StudyNumbers, study_numbers, study_runs
from segfocal.report.tables.find import find_runs
from segfocal.report.tables.scores import Gathered
from segfocal.runs.lock import is_held

LOOK_EVERY_S = 1.0
_FILES = ("run.json", "config.yaml", "metrics.csv", "cases.parquet", "curves.parquet", "cases/live")


@dataclass(frozen=True)
class Found:
    """The runs below LOGDIR at one moment.

    Args:
        runs: Run directories that may be read.
        refused: Run directories to the file that leads out of LOGDIR.
        version: Changes whenever a file of a run does, and when a process lets go of a run.
    """

    runs: list[Path] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    version: str = ""


class Watcher:
    """Keeps the tables of all runs below a folder and reads what changed.

    Args:
        root: LOGDIR; it need not exist yet.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).resolve()
        self._lock = threading.RLock()
        self._found = Found()
        self._looked = float("-inf")
        self._gathered: Gathered | None = None
        self._study: tuple[str, StudyNumbers | None] | None = None
        self._sources: dict[tuple[str | None, bool], tuple[str, Sources]] = {}

    def found(self) -> Found:
        """Return the runs, looked for at most once a second however many readers ask."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOK_EVERY_S:
                self._found = _look(self.root)
                self._looked = time.monotonic()
            return self._found

    def sources(self, *, stage: str | None = None, tuned: bool = False) -> Sources:
        """Return the tables of all runs.

        Args:
            stage: The split to show; one that no run has counts as None, which takes test, else val.
            tuned: At the thresholds chosen on validation.

        Returns:
            As ``read_sources``, of the files as they are now.
        """
        with self._lock:
            found = self.found()
            key = (stage, tuned)
            kept = self._sources.get(key)
            if kept is not None and kept[0] == found.version:
                return kept[1]
            sources = self._read(found, stage=stage, tuned=tuned)
            self._gathered = sources.gathered
            self._sources = {name: old for name, old in self._sources.items() if old[0] == found.version}
            self._sources[key] = (found.version, sources)
            return sources

    def _read(self, found: Found, *, stage: str | None, tuned: bool) -> Sources:
        arms = study_arms(self.root, found.runs)
        same: Any = {"arms": arms, "tuned": tuned, "before": self._gathered, "study": self._numbers(found)}
        try:
            read = read_sources(found.runs, stage=stage, **same)
        except SegfocalError:  # the split of an old link is gone
            read = read_sources(found.runs, **same)
        out = [(run.name, f"{file} is a link out of LOGDIR") for run, file in found.refused.items()]
        return replace(read, left_out=[*read.left_out, *out])

    def _numbers(self, found: Found) -> StudyNumbers | None:
        """Return the numbers of the one study below LOGDIR; of several, their runs' means are shown."""
        homes = {run.parents[2] for run in found.runs if _is_cell(self.root, run)}
        if len(homes) != 1:
            return None
        if self._study is None or self._study[0] != found.version:
            try:
                home = homes.pop()
                inside(self.root, str(home / "plan.json"))
                numbers = study_numbers(home) if study_runs(home) else None
            except (SegfocalError, AttributeError, KeyError, TypeError, ValueError):
                numbers = None  # its cells are runs like others
            self._study = (found.version, numbers)
        return self._study[1]


def _look(root: Path) -> Found:
    try:
        runs, refused = divide(root, find_runs([root]))
    except (SegfocalError, OSError):  # LOGDIR is not there, or no longer
        return Found()
    stamps = hashlib.sha256()
    for run in [*runs, *refused]:
        stamps.update(run.as_posix().encode("utf-8", "replace"))
        for name in _FILES:
            stamps.update(_stamp(run / name))
        stamps.update(f"{is_held(run)};".encode())  # a killed training changes no file
        if _is_cell(root, run):
            stamps.update(_stamp(run.parent / "cell.json"))
    return Found(runs, refused, stamps.hexdigest())


def study_arms(root: Path, runs: Sequence[Path]) -> dict[str, str]:
    """Return the arms of runs that are cells of a study.

    Args:
        root: LOGDIR, resolved.
        runs: Run directories below it.

    Returns:
        Run (as POSIX path) to arm, for the finished cells of studies whose plan can be read.
    """
    cells = [run for run in runs if _is_cell(root, run)]
    found: dict[str, str] = {}
    for home in dict.fromkeys(run.parents[2] for run in cells):
        try:
            inside(root, str(home / "plan.json"))
            found |= {run.as_posix(): arm for run, arm in study_runs(home).items()}
        except (SegfocalError, AttributeError, KeyError, TypeError):
            continue  # its cells are grouped by their configuration
    return found


def _is_cell(root: Path, run: Path) -> bool:
    """Whether a run lies where a study keeps it: STUDY/cells/ID/run."""
    return run.name == "run" and run.parent.parent.name == "cells" and run.parents[2].is_relative_to(root)


def _stamp(path: Path) -> bytes:
    try:
        state = path.stat()
    except OSError:
        return b"-"
    return f"{state.st_mtime_ns},{state.st_size};".encode()
