"""A report as Markdown: conclusions first, then the arms, then everything that was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segfocal.study.report_schema import TABLES
from segfocal.study.report_text import ARM_TITLES, arm_lines, difference_text, head, interval_text, notes
from segfocal.study.report_verdict import short_p

Row = Mapping[str, Any]
_WHERE = ("dataset", "fraction", "arm")


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report as one Markdown text.

    Args:
        report: Of ``build_report``.

    Returns:
        Text that ends with a line break.
    """
    tables = report["tables"]
    parts = [f"# {_escape(head(report).capitalize())}", "", "## Primary contrasts", ""]
    parts += [f"- {_escape(line)}" for line in report["conclusions"]] or ["- none were named in advance"]
    parts += ["", "## Arms", "", *_table(ARM_TITLES, arm_lines(report))]
    parts += ["", *(f"{line}\n" for line in notes(report))]
    parts += ["## Every comparison", "", *_comparisons(tables["comparisons"])]
    parts += ["", "## Every score", "", *_means(tables["scores"], ("metric", "threshold", "class"))]
    parts += ["", "## Training against validation, weights", "", *_means(tables["training"], ("name",))]
    parts += ["", "## Calibration", "", *_calibration(tables["calibration"])]
    parts += ["", "## Time", "", *_times(tables["times"])]
    parts += ["", "## Cells that are not in it", "", *_absent(tables["cells"])]
    parts += ["", "## Columns of the CSV files and of report.json", ""]
    for name, columns in TABLES.items():
        parts += [f"**{name}**", "", *(f"- `{key}`: {_escape(text)}" for key, text in columns.items()), ""]
    return "\n".join(parts).rstrip() + "\n"


def _comparisons(rows: Sequence[Row]) -> list[str]:
    keys = (*_WHERE, "baseline", "role", "metric", "threshold", "class")
    titles = (*keys, "difference", "p", "Holm", "w/t/l", "seeds x clusters", "needed", "verdict")
    return _table(titles, [[*_texts(row, keys), *_comparison(row)] for row in rows])


def _comparison(row: Row) -> list[str]:
    p, adjusted = ("" if row[key] is None else short_p(row[key]) for key in ("p", "p_holm"))
    tally = "" if row["wins"] is None else f"{row['wins']}/{row['ties']}/{row['losses']}"
    size = "" if row["seeds"] is None else f"{row['seeds']} x {row['clusters']}"
    open_ = row["verdict"] in ("not resolved", "undecidable")
    needed = _needed(row) if open_ else ""
    return [difference_text(row), p, adjusted, tally, size, needed, row["verdict"]]


def _needed(row: Row) -> str:
    """Clusters that would show the difference; without a number more of them would not help."""
    return "more seeds" if row["clusters_needed"] is None else f"{row['clusters_needed']:,}"


def _means(rows: Sequence[Row], keys: Sequence[str]) -> list[str]:
    if not rows:
        return ["Nothing was logged."]
    lines = [
        [*_texts(row, (*_WHERE, *keys)), interval_text(row), str(row["covers"]), str(row["seeds"])]
        for row in rows
    ]
    return _table((*_WHERE, *keys, "mean [95 %]", "interval over", "seeds"), lines)


def _calibration(rows: Sequence[Row]) -> list[str]:
    keys = ("kind", "region", "class", "score")
    lines = [
        [*_texts(row, (*_WHERE, *keys)), row["status"] if row["mean"] is None else interval_text(row)]
        for row in rows
    ]
    return _table((*_WHERE, *keys, "mean [95 %]"), lines)


def _times(rows: Sequence[Row]) -> list[str]:
    keys = ("cells", "mean_s", "lowest_s", "highest_s", "total_s", "fit_s")
    lines = [
        [*_texts(row, _WHERE), *("" if row[key] is None else f"{row[key]:.0f}" for key in keys)]
        for row in rows
    ]
    return _table((*_WHERE, *keys), lines)


def _absent(rows: Sequence[Row]) -> list[str]:
    keys = ("id", *_WHERE, "seed", "fold", "status", "reason")
    lines = [_texts(row, keys) for row in rows if row["status"] != "done"]
    return _table(keys, lines) if lines else ["All planned cells are in it."]


def _texts(row: Row, keys: Iterable[str]) -> list[str]:
    return [
        "" if row[key] is None else f"{row[key]:g}" if key == "fraction" else str(row[key]) for key in keys
    ]


def _table(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    rows = [titles, ["---"] * len(titles), *lines]
    return [f"| {' | '.join(_escape(cell) for cell in row)} |" for row in rows]


def _escape(text: str) -> str:
    """Keep a name or a reason from becoming markup; a reason may be many lines."""
    lines = " ".join(text.split())
    for mark in ("\\", "|", "<", "*", "`"):
        lines = lines.replace(mark, "\\" + mark)
    return lines
