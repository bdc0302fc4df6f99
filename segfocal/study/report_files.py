"""A report's files: report.md, report.json and one CSV file per table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segfocal.runs.write import make_folder, write_bytes, write_json
from segfocal.study.report_markdown import markdown
from segfocal.study.report_schema import TABLES
from segfocal.writing import text_cell

NAMES = ("report.md", *(f"{name}.csv" for name in TABLES), "report.json")


def write_report(report: Mapping[str, Any], out: str | Path) -> list[Path]:
    """Write a report; files of an earlier one are replaced, each whole.

    Args:
        report: Of ``build_report``.
        out: A folder, made where missing.

    Returns:
        The files.

    Raises:
        SegfocalError: Where they cannot be written.
    """
    folder = Path(out)
    make_folder(folder, option="--out")
    texts = {"report.md": markdown(report)}
    texts |= {f"{name}.csv": _csv(list(TABLES[name]), report["tables"][name]) for name in TABLES}
    for name, text in texts.items():
        write_bytes(folder / name, text.encode("utf-8"), option="--out")
    write_json(folder / "report.json", report)
    return [folder / name for name in (*texts, "report.json")]


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Booleans as JSON writes them; a text that a spreadsheet would compute gets a space in front."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return text_cell(value) if isinstance(value, str) else value
