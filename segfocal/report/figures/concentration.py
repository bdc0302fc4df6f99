"""The share of the loss that the hardest pixels carry."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from segfocal.report.figures.shown import Shown, band_colour, empty_figure, styles

MOST_ARMS = 10
_SIDES = {"positive": "positives", "negative": "negatives"}


def concentration_figures(shares: pl.DataFrame) -> list[Shown]:
    """Draw the share of a side's loss against the part of its pixels, one figure per side.

    Args:
        shares: Of ``concentration``.

    Returns:
        The views: one line per arm, with the range over its runs.
    """
    sides = [(side, shares.filter(pl.col("side") == side)) for side in _SIDES]
    return [_figure(rows, side) for side, rows in sides if rows.height]


def _figure(rows: pl.DataFrame, side: str) -> Shown:
    figure = empty_figure(
        x=f"hardest {_SIDES[side]} (% of them)", y="share of their loss (%)", showlegend=True
    )
    arms = rows["arm"].unique(maintain_order=True).to_list()
    for arm, style in styles(arms[:MOST_ARMS]).items():
        own = rows.filter(pl.col("arm") == arm)
        parts = [100 * part for part in own["hardest"].to_list()]
        if (own["runs"] > 1).any():
            figure.add_trace(_band(own, parts, style))
        figure.add_trace(
            go.Scatter(
                x=parts,
                y=(100 * own["share"]).round(4).to_list(),
                name=style["text"],
                legendgroup=style["text"],
                mode="lines",
                line={"color": style["colour"], "dash": style["dash"], "width": 2},
                hovertemplate="hardest %{x:.3g} %: %{y:.3g} %<extra>" + style["text"] + "</extra>",
            )
        )
    figure.update_xaxes(type="log")
    figure.update_yaxes(range=[0, 102])
    middle = rows.filter((pl.col("hardest") - 0.01).abs() < 1e-9)
    said = ", ".join(f"{arm} {100 * share:.3g} %" for arm, share in middle.select("arm", "share").iter_rows())
    alt = f"Share of the loss of the {_SIDES[side]} that the hardest of them carry; the hardest 1 %: {said}."
    return Shown(f"concentration-{side}", f"Loss of the {_SIDES[side]}", alt, figure, rows)


def _band(rows: pl.DataFrame, parts: list[float], style: dict[str, str]) -> go.Scatter:
    ends = [(100 * rows[name]).round(4) for name in ("share_high", "share_low")]
    return go.Scatter(
        x=[*parts, *reversed(parts)],
        y=[*ends[0].to_list(), *ends[1].reverse().to_list()],
        fill="toself",
        fillcolor=band_colour(style["colour"]),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=style["text"],
    )
