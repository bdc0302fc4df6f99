"""The runs of a study, under the names of its arms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError


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
