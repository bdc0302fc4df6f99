"""The runs of a study, under the names of its arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from segfocal.errors import SegfocalError
from segfocal.report.section import Section, Table
from segfocal.runs.comparison import Comparison
from segfocal.runs.records import OutcomeRecord, read_plan, read_record
from segfocal.study.collect import collect
from segfocal.study.collect_scores import Scores, collect_scores
from segfocal.study.report import build_report
from segfocal.study.report_differences import image_difference

_COMPARISON = (
    *("arm", "baseline", "dataset", "fraction", "role", "class", "threshold", "difference"),
    *("low", "high", "p", "p_holm", "clusters", "seeds", "verdict"),
)
_RANKING = ("arm", "dataset", "fraction", "first", "rank", "clusters")


@dataclass(frozen=True, eq=False)
class StudyNumbers:
    """What `segfocal study report` says, computed anew from the cells, under the names that arms have here.

    Args:
        report: Of ``segfocal.study.report.build_report``; empty where no cell can be compared.
        places: Scores by data set and fraction.
        names: (data set, fraction, arm) to the name of the arm in this report.
    """

    report: Mapping[str, Any]
    places: Mapping[tuple[str, float], Scores]
    names: Mapping[tuple[str, float, str], str]

    @property
    def tuned(self) -> bool:
        """Whether the primary contrasts are judged at the thresholds chosen on validation."""
        rows = self.report.get("tables", {}).get("comparisons", [])
        kinds = {row["threshold"] for row in rows if row["role"] == "primary"} - {None}
        return "tuned" in kinds and kinds <= {"tuned", "argmax"}

    def estimates(self, *, tuned: bool) -> pl.DataFrame:
        """Return the means of the arms over the classes that count, with the interval of Dice.

        Args:
            tuned: At the thresholds chosen on validation; else 0.5, or the argmax.

        Returns:
            arm, the scores of ``SCORES`` and of summed counts, dice_low, dice_high.
        """
        kinds = {"tuned" if tuned else "fixed", "argmax"}
        found: dict[str, dict[str, Any]] = {}
        for row in self.report.get("tables", {}).get("scores", []):
            key = (row["dataset"], row["fraction"], row["arm"])
            if row["threshold"] in kinds and row["class"] == "foreground" and key in self.names:
                own = found.setdefault(self.names[key], {"arm": self.names[key]})
                own[row["metric"]] = row["mean"]
                if row["metric"] == "dice":
                    own |= {"dice_low": row["low"], "dice_high": row["high"]}
        columns = ("dice", "dice_low", "dice_high", "iou", "precision", "recall", "dataset_dice")
        schema = {"arm": pl.String} | dict.fromkeys((*columns, "dataset_iou"), pl.Float64)
        return pl.DataFrame([{key: row.get(key) for key in schema} for row in found.values()], schema=schema)

    def comparison(self, arm: str, baseline: str, *, tuned: bool) -> Comparison | None:
        """Return what the study finds for two arms by Dice; None where they were not trained on one set."""
        for (dataset, fraction), scores in self.places.items():
            own = {self.names.get((dataset, fraction, name)): name for name in scores.arms}
            if {arm, baseline} <= set(own):
                kind = "tuned" if tuned and "tuned" in scores.values else next(iter(scores.values))
                pair = {"arm": str(own[arm]), "baseline": str(own[baseline]), "threshold": kind}
                return image_difference(scores, **pair, metric="dice", index=None)
        return None


def study_numbers(folder: str | Path) -> StudyNumbers:
    """Compute what `segfocal study report` shows, wherever that was written, if it was.

    Args:
        folder: What `segfocal study plan --out` made.

    Raises:
        SegfocalError: Where the folder holds no readable plan.
    """
    names = {
        (str(cell["dataset"]), float(cell["fraction"]), str(cell["arm"])): name
        for cell, name in _arms(Path(folder)).values()
    }
    try:
        return StudyNumbers(build_report(Path(folder)), collect_scores(collect(folder))[1], names)
    except SegfocalError:  # no finished cell, or none of the baseline: there is nothing to compare
        return StudyNumbers({}, {}, names)


def study_runs(folder: str | Path) -> dict[Path, str]:
    """Return the finished cells that a study compares.

    Args:
        folder: What `segfocal study plan --out` made.

    Returns:
        Run directory to arm. Where a study has several data sets or fractions, they are part of the name.

    Raises:
        SegfocalError: Where the folder holds no readable plan.
    """
    return {run: name for run, (_, name) in _arms(Path(folder)).items()}


def _arms(root: Path) -> dict[Path, tuple[dict[str, Any], str]]:
    """Run directory to the cell of the plan and the name of its arm, of finished cells."""
    arms = [cell for cell in _plan(root).get("cells", []) if cell.get("kind") == "arm"]
    several = {key: len({str(cell.get(key)) for cell in arms}) > 1 for key in ("dataset", "fraction")}
    found: dict[Path, tuple[dict[str, Any], str]] = {}
    for cell in arms:
        home = root / "cells" / Path(str(cell["id"])).name
        if _read(home / "cell.json").get("status") == "done":
            extra = [str(cell[key]) for key, more in several.items() if more]
            found[home / "run"] = (cell, ", ".join([str(cell["arm"]), *extra]))
    return found


def study_baseline(folder: str | Path) -> str | None:
    """Return the arm that the study compares others with, where its name is the name of an arm here."""
    baseline = _plan(Path(folder)).get("baseline")
    return str(baseline) if baseline in study_runs(folder).values() else None


def study_sections(numbers: StudyNumbers) -> list[Section]:
    """Return what the study concludes.

    Args:
        numbers: Of ``study_numbers``.

    Returns:
        One section with the conclusions, comparisons of the study's metric and the ranking; none where
        nothing can be compared.
    """
    report = numbers.report
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
        content = read_plan(path) if path.name == "plan.json" else read_record(path, OutcomeRecord)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
