"""Sections and figures as HTML."""

from __future__ import annotations

from segfocal.report.figures.shown import Shown
from segfocal.report.page.markup import table, text
from segfocal.report.section import Section


def section(part: Section) -> str:
    """Return a section with its figures and tables as HTML."""
    figures = "".join(figure(shown, csv_href=f"figures/{shown.key}.csv") for shown in part.figures)
    tables = "".join(table(one.frame, key=one.key, title=one.title) for one in part.tables)
    shown = f'<div class="figures">{figures}</div>' if figures else ""
    return (
        f'<section id="{part.key}" aria-labelledby="title-{part.key}"><h2 id="title-{part.key}">'
        f"{text(part.title)}</h2><p>{text(part.text)}</p>{shown}{tables}</section>"
    )


def figure(shown: Shown, *, csv_href: str) -> str:
    """Return the place of a figure, which a script fills, with its words and what can be taken away.

    Args:
        shown: The view.
        csv_href: Where its numbers are.

    Returns:
        HTML.
    """
    height = shown.figure.layout.height or 380
    return (
        f'<figure><figcaption id="caption-{shown.key}">{text(shown.title)}</figcaption>'
        f'<div class="plot" role="img" data-figure="{shown.key}" style="height:{int(height)}px" '
        f'aria-labelledby="caption-{shown.key}" aria-describedby="alt-{shown.key}"></div>'
        f'<p id="alt-{shown.key}">{text(shown.alt)}</p><div class="tools">'
        f'<button type="button" data-svg="{shown.key}" aria-label="SVG of {text(shown.title)}">SVG</button>'
        f'<a href="{csv_href}" download="{shown.key}.csv" aria-label="CSV of {text(shown.title)}">CSV</a>'
        "</div></figure>"
    )
