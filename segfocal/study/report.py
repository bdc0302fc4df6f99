"""A study's report: every table, from the cells' run directories alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.study.collect import Collection, collect
from segfocal.study.collect_calibration import calibration_rows
from segfocal.study.collect_damage import UNREADABLE, without_damaged
from segfocal.study.collect_logs import time_rows, training_rows
from segfocal.study.collect_scores import Scores, collect_scores
from segfocal.study.report_comparisons import comparison_rows
from segfocal.study.report_schema import SCHEMA_VERSION, complete
from segfocal.study.report_scores import ranking_rows, score_rows
from segfocal.study.report_verdict import LEVEL


def build_report(folder: str | Path) -> dict[str, Any]:
    """Compare the finished cells of a study.

    Args:
        folder: A study folder.

    Returns:
        The content of report.json: ``schema_version``, ``name``, ``metric``, ``baseline``, ``level`` (0.05),
        ``arms`` in the order of the plan, ``counts`` (planned, done, failed, missing, unusable), ``classes``
        (by data set, which classes the means cover), ``conclusions`` (a sentence per primary contrast), and
        ``tables``: name to rows, with the columns of
        `segfocal.study.report_schema.TABLES`. The same folder gives the same report.

    Raises:
        SegfocalError: As ``collect``; where no finished cell holds test rows; for a metric that is no score.
    """
    planned = collect(folder)
    try:
        return _build(planned, folder)
    except UNREADABLE:
        found = without_damaged(planned)
        if len(found.done) == len(planned.done):
            raise
        return _build(found, folder)


def _build(planned: Collection, folder: str | Path) -> dict[str, Any]:
    found, places = collect_scores(planned)
    if not any(cell.arm == found.baseline for cell in found.done):
        reasons = sorted({cell.reason for cell in found.cells if cell.status == "unusable"})
        raise SegfocalError(
            f"no finished cell of the baseline {found.baseline!r} in {folder} can be used: "
            f"{'; '.join(reasons)}. `segfocal test --run CELL/run` writes the rows of one cell."
        )
    comparisons = comparison_rows(found, places)
    distinct = _without_repeats(found, places)
    tables = {
        "scores": score_rows(places),
        "comparisons": comparisons,
        "ranking": ranking_rows(found, places),
        "training": training_rows(distinct),
        "calibration": calibration_rows(distinct),
        "times": time_rows(found),
        "cells": [cell.facts() for cell in found.cells],
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "name": found.name,
        "metric": found.metric,
        "baseline": found.baseline,
        "level": LEVEL,
        "arms": list(found.arms),
        "counts": _counts(found),
        "classes": {dataset: scores.covers for (dataset, _), scores in places.items()},
        "conclusions": [row["sentence"] for row in comparisons if row["role"] == "primary"],
        "tables": {name: complete(rows, name) for name, rows in tables.items()},
    }


def _counts(found: Collection) -> dict[str, int]:
    kinds = ("done", "failed", "missing", "unusable")
    return {"planned": len(found.cells)} | {
        kind: sum(cell.status == kind for cell in found.cells) for kind in kinds
    }


def _without_repeats(found: Collection, places: Mapping[tuple[str, float], Scores]) -> Collection:
    """Return the study without finished cells whose seed repeats another one of their arm."""
    kept = {
        (*place, arm, scores.seeds[seed])
        for place, scores in places.items()
        for arm in scores.arms
        for seed in scores.distinct(arm)
    }
    cells = tuple(
        cell
        for cell in found.cells
        if cell.status != "done" or (cell.dataset, cell.fraction, cell.arm, cell.seed) in kept
    )
    return replace(found, cells=cells)
