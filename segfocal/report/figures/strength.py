"""Score and generalisation gap against the strength of a setting."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from segfocal.report.figures.shown import Shown, empty_figure, styles
from segfocal.report.names import clean, plotly_text

_WHAT = {"dice": "Dice per image", "gap": "training minus validation Dice (data set)"}


def strength_figures(table: pl.DataFrame) -> list[Shown]:
    """Draw two figures per setting: the score, and the generalisation gap where it is known.

    Args:
        table: Of ``strength_table``.

    Returns:
        The views.
    """
    views = []
    for number, rows in enumerate(table.partition_by("setting", maintain_order=True)):
        for what in _WHAT:
            if rows[what].null_count() < rows.height:
                views.append(_figure(rows, what=what, number=number))
    return views


def _figure(rows: pl.DataFrame, *, what: str, number: int) -> Shown:
    setting = rows["setting"][0]
    short = ".".join(setting.split(".")[-2:])
    figure = empty_figure(x=plotly_text(clean(short)), y=_WHAT[what], showlegend=True)
    lines = rows["line"].unique(maintain_order=True).to_list()
    for line, style in styles(lines).items():
        own = rows.filter(pl.col("line") == line)
        figure.add_trace(
            go.Scatter(
                x=own["strength"].to_list(),
                y=own[what].to_list(),
                name=style["text"],
                mode="lines+markers",
                line={"color": style["colour"], "dash": style["dash"], "width": 2},
                error_y=_whiskers(own) if what == "dice" else None,
            )
        )
    _logarithmic(figure, rows["strength"])
    best = rows.filter(pl.col(what).is_not_null()).sort(what)
    said = f"from {best[what][0]:.4g} ({best['arm'][0]}) to {best[what][-1]:.4g} ({best['arm'][-1]})"
    alt = f"{_WHAT[what]} of {rows.height} arms that differ in {clean(setting)} alone, {said}."
    return Shown(f"strength-{number}-{what}", f"{_WHAT[what]} against {clean(short)}", alt, figure, rows)


def _whiskers(rows: pl.DataFrame) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": (rows["dice_high"] - rows["dice"]).to_list(),
        "arrayminus": (rows["dice"] - rows["dice_low"]).to_list(),
    }


def _logarithmic(figure: go.Figure, strengths: pl.Series) -> None:
    """Use a logarithmic axis over more than two factors of ten, unless a strength is 0."""
    values = strengths.to_list()
    if min(values) > 0 and max(values) / min(values) > 100:
        figure.update_xaxes(type="log")
