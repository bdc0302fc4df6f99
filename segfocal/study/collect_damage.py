"""Which finished cells hold files that cannot be read: asked only after reading all together has failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from segfocal.runs.layout import RunPaths
from segfocal.runs.read import scan_calibration, scan_cases, scan_curves, scan_metrics
from segfocal.study.collect import Cell, Collection

UNREADABLE = (pl.exceptions.PolarsError, OSError)
_SCANS: dict[str, Callable[[Sequence[Path]], pl.LazyFrame]] = {
    "cases": scan_cases,
    "curves": scan_curves,
    "calibration": scan_calibration,
    "metrics": scan_metrics,
}


def without_damaged(found: Collection) -> Collection:
    """Return the study with those finished cells unusable that hold a damaged table.

    Args:
        found: The study.

    Returns:
        The same where every table can be read.
    """
    cells = tuple(_read(cell) if cell.status == "done" else cell for cell in found.cells)
    return replace(found, cells=cells)


def _read(cell: Cell) -> Cell:
    for name, scan in _SCANS.items():
        try:
            scan([cell.run]).collect()
        except UNREADABLE as error:
            file = getattr(RunPaths(cell.run), name).name
            reason = f"{file} is damaged ({str(error).splitlines()[0]})"
            return replace(cell, status="unusable", reason=reason)
    return cell
