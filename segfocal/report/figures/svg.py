"""The pixel losses as one SVG, drawn without a browser."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import polars as pl

from segfocal.report.figures.shown import styles

_PANELS = (
    ("p", "loss", 5.0, "loss (nats)"),
    ("p", "slope", 1.5, "slope"),
    ("p", "ratio", 1.5, "slope / cross-entropy's"),
)
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 260, 220, 56, 24, 70
_DASHES = {"solid": "none", "dash": "6 4", "dot": "2 3", "dashdot": "6 3 2 3"}


def pixel_svg(table: pl.DataFrame) -> str:
    """Draw loss, slope and slope ratio against p of the true class, side by side.

    Args:
        table: Of ``curve_table``.

    Returns:
        An SVG document.
    """
    names = table["loss_name"].unique(maintain_order=True).to_list()
    width = _LEFT + len(_PANELS) * (_WIDTH + _GAP)
    height = _TOP + _HEIGHT + 60 + 20 * len(names)
    panels = "".join(_panel(table, names, number) for number in range(len(_PANELS)))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'font-family="sans-serif" font-size="12"><title>Pixel losses against p of the true class</title>'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{panels}{_legend(names)}</svg>\n'
    )


def _panel(table: pl.DataFrame, names: Sequence[str], number: int) -> str:
    column, what, top, unit = _PANELS[number]
    left = _LEFT + number * (_WIDTH + _GAP)
    marks = [
        f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#5b636d"/>'
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = left + share * _WIDTH, _TOP + (1 - share) * _HEIGHT
        marks.append(_text(x, _TOP + _HEIGHT + 16, f"{share:g}", anchor="middle"))
        marks.append(_text(left - 6, y + 4, f"{share * top:.3g}", anchor="end"))
    marks.append(_text(left + _WIDTH / 2, _TOP + _HEIGHT + 34, "p of the true class", anchor="middle"))
    marks.append(_text(left, _TOP - 8, unit, anchor="start"))
    for name, style in styles(list(names)).items():
        rows = table.filter((pl.col("loss_name") == name) & (pl.col(what) <= top))
        points = " ".join(
            f"{left + x * _WIDTH:.1f},{_TOP + _HEIGHT * (1 - y / top):.1f}"
            for x, y in rows.select(column, what).iter_rows()
        )
        marks.append(
            f'<polyline points="{points}" fill="none" stroke="{style["colour"]}" stroke-width="2" '
            f'stroke-dasharray="{_DASHES[style["dash"]]}"/>'
        )
    return "".join(marks)


def _legend(names: Sequence[str]) -> str:
    rows = []
    for place, (name, style) in enumerate(styles(list(names)).items()):
        y = _TOP + _HEIGHT + 58 + 20 * place
        rows.append(
            f'<line x1="{_LEFT}" x2="{_LEFT + 32}" y1="{y}" y2="{y}" stroke="{style["colour"]}" '
            f'stroke-width="2" stroke-dasharray="{_DASHES[style["dash"]]}"/>'
        )
        rows.append(_text(_LEFT + 40, y + 4, name, anchor="start"))
    return "".join(rows)


def _text(x: float, y: float, words: str, *, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#1b1f24">{escape(words)}</text>'
