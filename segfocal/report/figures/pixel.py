"""Pixel losses against the probability of the true class, and against the margin."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from segfocal.report.figures.shown import Shown, empty_figure, styles

_WHAT = {
    "loss": ("Loss", "loss (nats)"),
    "slope": ("Slope", "slope (d loss / d margin)"),
    "ratio": ("Slope over that of cross-entropy", "slope ratio"),
}
_AXES = {"p": "probability of the true class", "margin": "margin (nats): how far the wrong answer is ahead"}


def pixel_figures(table: pl.DataFrame) -> list[Shown]:
    """Draw loss, slope and slope ratio against ``p`` and against the margin.

    Args:
        table: Of ``curve_table``.

    Returns:
        Six views.
    """
    return [_figure(table, against=against, what=what) for against in _AXES for what in _WHAT]


def _figure(table: pl.DataFrame, *, against: str, what: str) -> Shown:
    title, unit = _WHAT[what]
    figure = empty_figure(x=_AXES[against], y=unit, showlegend=True)
    names = table["loss_name"].unique(maintain_order=True).to_list()
    for name, style in styles(names).items():
        rows = table.filter(pl.col("loss_name") == name)
        figure.add_trace(
            go.Scatter(
                x=rows[against].to_list(),
                y=rows[what].to_list(),
                name=style["text"],
                mode="lines",
                line={"color": style["colour"], "dash": style["dash"], "width": 2},
            )
        )
    if against == "p" and what == "loss":
        figure.update_yaxes(range=[0, 5])
    easy = table.filter((pl.col("p") - 0.9).abs() == (pl.col("p") - 0.9).abs().min().over("loss_name"))
    said = ", ".join(f"{name} {value:.3g}" for name, value in easy.select("loss_name", what).iter_rows())
    alt = f"{title} of {len(names)} losses. Near p = 0.9: {said}."
    return Shown(f"{what}-{against}", f"{title} against {_AXES[against].split(':')[0]}", alt, figure, table)
