"""A part of the report: words, figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from segfocal.report.figures.shown import Shown


@dataclass(frozen=True, eq=False)
class Table:
    """A table to show.

    Args:
        key: Unlike any other of a report.
        title: Plain text.
        frame: Its rows; what the columns are called is the matter of whoever shows it.
    """

    key: str
    title: str
    frame: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the report.

    Args:
        key: Letters and dashes.
        title: Plain text.
        text: What it shows and how it was computed; plain text.
        figures: In order.
        tables: In order.
    """

    key: str
    title: str
    text: str
    figures: Sequence[Shown] = field(default_factory=list)
    tables: Sequence[Table] = field(default_factory=list)
