"""The runs of a study, under the names of its arms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from segfocal.errors import SegfocalError
from segfocal.report.section import Section, Table

_COMPARISON = (
    *("arm", "baseline", "dataset", "fraction", "role", "class", "threshold", "difference"),
    *("low", "high", "p", "p_holm", "clusters", "seeds", "verdict"),
)
_RANKING = ("arm", "dataset", "fraction", "first", "rank", "clusters")


def study_runs(folder: str | Path) -> dict[Path, str]:
    """Return the finished cells that a study compares.

    Args:
        folder: What `segfocal study plan --out` made.

    Returns:
        Run directory to arm. Where a study has several data sets or fractions, they are part of the name.

    Raises:
        SegfocalError: Where the folder holds no readable plan.
    """
    root = Path(folder)
    cells = _plan(root).get("cells", [])
    arms = [cell for cell in cells if cell.get("kind") == "arm"]
    several = {key: len({str(cell.get(key)) for cell in arms}) > 1 for key in ("dataset", "fraction")}
    found: dict[Path, str] = {}
    for cell in arms:
        home = root / "cells" / Path(str(cell["id"])).name
        if _read(home / "cell.json").get("status") == "done":
            extra = [str(cell[key]) for key, more in several.items() if more]
            found[home / "run"] = ", ".join([str(cell["arm"]), *extra])
    return found


def study_baseline(folder: str | Path) -> str | None:
    """Return the arm that the study compares others with, where its name is the name of an arm here."""
    baseline = _plan(Path(folder)).get("baseline")
    return str(baseline) if baseline in study_runs(folder).values() else None


def study_tuned(folder: str | Path) -> bool:
    """Return whether the study's report judges its contrasts at the thresholds chosen on validation."""
    rows = _report(Path(folder)).get("tables", {}).get("comparisons", [])
    thresholds = {row.get("threshold") for row in rows if row.get("role") == "primary"}
    return thresholds == {"tuned"}


def study_sections(folder: str | Path) -> list[Section]:
    """Return what `segfocal study report` concluded, where its report.json lies in the study's folder.

    Args:
        folder: The study; the report may lie in it or in a folder below.

    Returns:
        One section with the conclusions, comparisons of the study's metric and the ranking; none where there
        is no report.
    """
    report = _report(Path(folder))
    if not report:
        return []
    metric = report.get("metric")
    rows = [row for row in report["tables"].get("comparisons", []) if row.get("metric") == metric]
    shown = [{key: row.get(key) for key in _COMPARISON} for row in rows]
    ranks = [{key: row.get(key) for key in _RANKING} for row in report["tables"].get("ranking", [])]
    parts = (("contrasts", "Comparisons", shown), ("ranking", "Stability of the order", ranks))
    tables = [
        Table(key, title, pl.DataFrame(rows, infer_schema_length=None)) for key, title, rows in parts if rows
    ]
    words = " ".join(map(str, report.get("conclusions", []))) or "No contrast was named in advance."
    return [Section("study", f"Study: {report.get('name')}", words, [], tables)]


def _report(root: Path) -> dict[str, Any]:
    places = sorted([*root.glob("report.json"), *root.glob("*/report.json")])
    found = [report for report in map(_read, places) if isinstance(report.get("tables"), dict)]
    return found[0] if found else {}


def _plan(root: Path) -> dict[str, Any]:
    plan = _read(root / "plan.json")
    if not plan:
        raise SegfocalError(
            f"--study must name a planned study, got {root}, which holds no readable plan.json. "
            "`segfocal study plan STUDY.yaml --out DIR` makes one."
        )
    return plan


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
