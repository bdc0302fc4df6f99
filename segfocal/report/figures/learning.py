"""Learning curves with seed bands."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import polars as pl

from segfocal.report.figures.shown import Shown, band_colour, empty_figure, styles
from segfocal.report.names import clean, plotly_text

MOST_ARMS = 12
_UNITS = {"loss": "loss (nats per pixel for pixel losses)", "dice": "Dice", "iou": "IoU"}


def learning_figures(curves: pl.DataFrame) -> list[Shown]:
    """Draw one figure per logged name, validation and its loss first.

    Args:
        curves: Of ``learning_curves``.

    Returns:
        The views, in a fixed order of names.
    """
    names = sorted(curves["name"].unique().to_list(), key=_place)
    return [_figure(curves.filter(pl.col("name") == name), name) for name in names]


def _place(name: str) -> tuple[int, str]:
    order = ("val/dice", "val/iou", "val/loss", "train/loss", "train/dataset_dice", "val/dataset_dice")
    return (order.index(name) if name in order else len(order), name)


def _figure(rows: pl.DataFrame, name: str) -> Shown:
    arms = rows["arm"].unique(maintain_order=True).to_list()
    figure = empty_figure(x="optimizer step", y=_unit(name), height_px=340, showlegend=True)
    for arm, style in styles(arms[:MOST_ARMS]).items():
        own = rows.filter(pl.col("arm") == arm)
        _add_line(figure, own, style)
    last = rows.group_by("arm", maintain_order=True).last()
    ends = ", ".join(f"{arm} {value:.4g}" for arm, value in last.select("arm", "mean").head(5).iter_rows())
    alt = f"{clean(name)} against optimizer steps for {len(arms)} arms; at the end: {ends}."
    note = " Bands show the range over seeds." if (rows["runs"] > 1).any() else ""
    key = "learning-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return Shown(key[:80], clean(name), alt + note, figure, rows)


def _add_line(figure: go.Figure, rows: pl.DataFrame, style: dict[str, str]) -> None:
    steps = rows["step"].to_list()
    if (rows["runs"] > 1).any():
        figure.add_trace(
            go.Scatter(
                x=[*steps, *reversed(steps)],
                y=[*rows["high"].to_list(), *rows["low"].reverse().to_list()],
                fill="toself",
                fillcolor=band_colour(style["colour"]),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=style["text"],
            )
        )
    figure.add_trace(
        go.Scatter(
            x=steps,
            y=rows["mean"].to_list(),
            name=style["text"],
            legendgroup=style["text"],
            mode="lines+markers" if rows.height < 12 else "lines",
            line={"color": style["colour"], "dash": style["dash"], "width": 2},
            hovertemplate="step %{x}: %{y:.4g}<extra>" + style["text"] + "</extra>",
        )
    )


def _unit(name: str) -> str:
    for word, unit in _UNITS.items():
        if name.split("/")[-1].endswith(word):
            return unit
    return plotly_text(clean(name))
