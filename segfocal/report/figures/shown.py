"""What every figure carries beside its drawing, and the two looks it can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import polars as pl

from segfocal.report.names import plotly_text

# Okabe and Ito 2008 without yellow and black: told apart with any colour vision, on white and on dark grey
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#7F7F7F")
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up", "star")
SEQUENTIAL = "Cividis"

_LOOKS: dict[str, dict[str, str]] = {
    "light": {"paper": "#ffffff", "ink": "#1b1f24", "grid": "#d9dde2", "axis": "#5b636d"},
    "dark": {"paper": "#16191d", "ink": "#e8eaed", "grid": "#363c44", "axis": "#a3abb5"},
}


@dataclass(frozen=True, eq=False)
class Shown:
    """One view of the report.

    Args:
        key: Letters, digits and dashes; unlike any other in a report.
        title: What it shows, for people; plain text.
        alt: What a reader who cannot see it needs to know; plain text.
        figure: Without a template: whoever shows it chooses ``template("light")`` or ``template("dark")``.
        data: The numbers drawn, to be handed out as CSV.
    """

    key: str
    title: str
    alt: str
    figure: go.Figure
    data: pl.DataFrame


def template(look: str) -> go.layout.Template:
    """Return colours, fonts and margins that all figures share.

    Args:
        look: "light" or "dark".

    Returns:
        A template for ``figure.update_layout(template=...)``.

    Example:
        >>> template("dark").layout.paper_bgcolor
        '#16191d'
    """
    colours = _LOOKS[look]
    axis = {
        "gridcolor": colours["grid"],
        "linecolor": colours["axis"],
        "zerolinecolor": colours["axis"],
        "ticks": "outside",
        "tickcolor": colours["axis"],
        "automargin": True,
        "title": {"standoff": 8},
    }
    return go.layout.Template(
        layout={
            "paper_bgcolor": colours["paper"],
            "plot_bgcolor": colours["paper"],
            "font": {"color": colours["ink"], "family": "system-ui, sans-serif", "size": 13},
            "colorway": list(COLOURS),
            "xaxis": axis,
            "yaxis": axis,
            "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
            "hoverlabel": {"bgcolor": colours["paper"], "font": {"color": colours["ink"]}},
            "legend": {"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0},
            "colorscale": {"sequential": SEQUENTIAL},
        }
    )


def empty_figure(*, x: str, y: str, height_px: int = 380, **layout: Any) -> go.Figure:
    """Return a figure without traces or template.

    Args:
        x: Title of the horizontal axis, with its unit.
        y: Title of the vertical axis, with its unit.
        height_px: Of the drawing.
        **layout: Further keys of the layout.

    Returns:
        The figure.
    """
    figure = go.Figure(layout={"template": go.layout.Template()})
    figure.update_layout(xaxis_title=x, yaxis_title=y, height=height_px, **layout)
    return figure


def styles(names: list[str]) -> dict[str, dict[str, str]]:
    """Return colour, dash and symbol of each name; after seven colours dashes and symbols change too.

    Args:
        names: Arms or classes, in their order.

    Returns:
        Name to colour, dash, symbol and ``text``: the name as Plotly shows it.

    Example:
        >>> styles(["<i>"])["<i>"]["text"]
        '&lt;i&gt;'
    """
    return {
        name: {
            "colour": COLOURS[place % len(COLOURS)],
            "dash": DASHES[place // len(COLOURS) % len(DASHES)],
            "symbol": SYMBOLS[place % len(SYMBOLS)],
            "text": plotly_text(name),
        }
        for place, name in enumerate(names)
    }


def band_colour(colour: str) -> str:
    """Return a colour at 18 % opacity.

    Example:
        >>> band_colour("#0072B2")
        'rgba(0,114,178,0.18)'
    """
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


def texts(names: Any) -> list[str]:
    """Return names as Plotly shows them."""
    return [plotly_text(str(name)) for name in names]
