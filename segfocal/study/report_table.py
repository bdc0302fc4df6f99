"""A report on the terminal: what a reader needs first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from segfocal.study.report_text import ARM_TITLES, arm_lines, equal_seeds_notes, head

_STYLES = {"better": "green", "worse": "red", "undecidable": "yellow", "no data": "yellow"}
_SHOWN = 5


def print_report(report: Mapping[str, Any], *, console: Console) -> None:
    """Print which arm is better, by how much, and whether that is more than chance.

    Args:
        report: Of ``build_report``.
        console: Where to.
    """
    table = Table(title=Text(head(report)), title_justify="left")
    for title in ARM_TITLES:
        table.add_column(title, justify="left" if title in ("data", "arm", "at", "verdict") else "right")
    last = None
    for line in arm_lines(report):
        if last not in (None, line[0]):
            table.add_section()
        last = line[0]
        verdict = line[ARM_TITLES.index("verdict")]
        table.add_row(*map(Text, line), style=_STYLES.get(verdict, ""))
    console.print(table)
    for sentence in report["conclusions"]:
        console.print(Text(sentence), soft_wrap=True)
    for note in equal_seeds_notes(report):
        console.print(Text(note), soft_wrap=True)
    absent = [cell for cell in report["tables"]["cells"] if cell["status"] != "done"]
    for cell in absent[:_SHOWN]:
        reason = " ".join((cell["reason"] or "").split())
        console.print(Text(f"not in it: {_name(cell)}: {cell['status']}, {reason[-200:]}"), soft_wrap=True)
    if len(absent) > _SHOWN:
        console.print(f"and {len(absent) - _SHOWN} more, see cells.csv", highlight=False)


def _name(cell: Mapping[str, Any]) -> str:
    fold = "" if cell["fold"] is None else f" fold {cell['fold']}"
    return f"{cell['arm']} on {cell['dataset']} ({cell['fraction']:g}) seed {cell['seed']}{fold}"
