"""Files of a run, beside run.json and cases.parquet, that cannot be read: each named with the reason."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import polars as pl

from segfocal.errors import SegfocalError
from segfocal.runs.history import read_history
from segfocal.runs.layout import RunPaths
from segfocal.runs.read import scan_calibration, scan_concentration, scan_curves, scan_metrics
from segfocal.yaml_text import read_mapping


def unreadable_tables(run: Path) -> list[str]:
    """Return a line for each damaged table of a run.

    Args:
        run: A run directory.

    Example:
        >>> unreadable_tables(Path("/no/such/run"))
        []
    """
    paths = RunPaths(run)
    return _problems(paths.curves, paths.calibration, paths.concentration, paths.metrics)


def unreadable_texts(run: Path) -> list[str]:
    """Return a line for a damaged configuration and one for its damaged history.

    Args:
        run: A run directory.

    Example:
        >>> unreadable_texts(Path("/no/such/run"))
        []
    """
    paths = RunPaths(run)
    return _problems(paths.config, paths.history)


def _problems(*files: Path) -> list[str]:
    found = [_problem(path, *stamp) for path in files if (stamp := _stamp(path)) is not None]
    return [text for text in found if text]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=8192)
def _problem(path: Path, stamp: int, size: int) -> str:
    """Look once per version of a file."""
    run = path.parent
    scans = {
        "curves.parquet": scan_curves,
        "calibration.parquet": scan_calibration,
        "concentration.parquet": scan_concentration,
        "metrics.csv": scan_metrics,
    }
    try:
        if path.name in scans:
            scans[path.name]([run]).select(pl.len()).collect()
        elif path == RunPaths(run).history:
            read_history(RunPaths(run))
        else:
            read_mapping(path, what="config.yaml")
    except (SegfocalError, pl.exceptions.PolarsError, OSError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        return f"{path.name} cannot be read: {said.removeprefix(f'{path.name} cannot be read: ')}"
    return ""
