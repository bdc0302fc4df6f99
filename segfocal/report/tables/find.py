"""Find run directories below the paths that a user names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from segfocal.errors import SegfocalError
from segfocal.runs.layout import RunPaths

_TRACES = ("run.json", "config.yaml", "metrics.csv", "cases.parquet")


def find_runs(paths: Iterable[str | Path]) -> list[Path]:
    """Return the run directories among and below some paths, half-written ones too.

    A folder with a ``run.json`` is a run; so is one that holds a ``config.yaml``, ``metrics.csv`` or
    ``cases.parquet``: the tables then say what it lacks. Runs are not searched for further runs, links are
    not followed below the paths given.

    Args:
        paths: Run directories or folders that hold some, in any depth.

    Returns:
        Folders, each once, in the order of ``paths`` and by name below each.

    Raises:
        SegfocalError: For a path that does not exist or is a file.

    Example:
        >>> find_runs([])
        []
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            what = "a file" if path.exists() else "no such folder"
            raise SegfocalError(
                f"RUNS must name run directories or folders that hold some, got {path}: {what}. "
                "`segfocal fit --run DIR` makes one."
            )
        found.update(dict.fromkeys(_below(path)))
    return list(found)


def _below(root: Path) -> list[Path]:
    runs = []
    for folder, names, files in os.walk(root):
        if any(trace in files for trace in _TRACES):
            runs.append(Path(folder))
            names.clear()
        names.sort()
    return sorted(runs)


def lacks(run: Path) -> str:
    """Return what a folder lacks to be a run that can be shown, "" where it lacks nothing.

    Args:
        run: A run directory.

    Returns:
        One sentence or "".
    """
    paths = RunPaths(run)
    if not run.is_dir():
        return "the folder is gone"
    if not paths.info.is_file():
        return "it holds no run.json: the run stopped before it began"
    return ""
