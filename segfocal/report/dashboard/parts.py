"""Sections, tables and figures as Dash components; React escapes every text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from dash import dcc, html

from segfocal.report.dashboard.selection import Selection, to_query
from segfocal.report.figures.shown import Shown, template
from segfocal.report.names import clean
from segfocal.report.page.markup import NOTHING, TITLES, number
from segfocal.report.section import Section, Table

MOST_ROWS = 50  # of a table at once
_CONFIG = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}


def section(shown: Section, chosen: Selection, *, look: str, root: Path) -> Any:
    """Return a part of the report.

    Args:
        shown: Of ``segfocal.report.views.sections``.
        chosen: What the reader chose; links keep it.
        look: "light" or "dark".
        root: LOGDIR, which is cut off from folders.

    Returns:
        A component.
    """
    figures = [figure(one, chosen, look=look) for one in shown.figures]
    tables = [table(one, chosen, root=root) for one in shown.tables]
    head = [html.H2(shown.title), html.P(shown.text)]
    return html.Section([*head, html.Div(figures, className="figures"), *tables], key=shown.key)


def figure(shown: Shown, chosen: Selection, *, look: str) -> Any:
    """Return a figure with its title, what it says in words, and its numbers as CSV."""
    drawn = shown.figure
    drawn.update_layout(template=template(look), uirevision=shown.key)
    config = {**_CONFIG, "toImageButtonOptions": {"format": "svg", "filename": shown.key}}
    height = drawn.layout.height or 380
    return html.Figure(
        [
            html.Figcaption(clean(shown.title, longest=200)),
            html.P(clean(shown.alt, longest=1000), className="soft"),
            dcc.Graph(figure=drawn, config=config, style={"height": f"{height}px"}, responsive=True),
            html.A("CSV", href=f"csv{to_query(chosen)}&key={shown.key}", download=f"{shown.key}.csv"),
        ],
        key=shown.key,
    )


def table(shown: Table, chosen: Selection, *, root: Path) -> Any:
    """Return a table; its heads are links that sort it, fifty rows at a time.

    Args:
        shown: Of ``segfocal.report.views.sections``.
        chosen: What the reader chose.
        root: LOGDIR, which is cut off from folders.

    Returns:
        A component.
    """
    frame, column, descending = _sorted(shown, chosen)
    first = _first_row(shown, chosen, frame.height)
    rows = frame.slice(first, MOST_ROWS)
    right = [frame[name].dtype.is_numeric() for name in frame.columns]
    heads = [
        _head(shown.key, name, chosen, number=is_number, sorted_by=(column, descending))
        for name, is_number in zip(frame.columns, right, strict=True)
    ]
    body = [
        html.Tr([_cell(value, is_number, root) for value, is_number in zip(row, right, strict=True)])
        for row in rows.iter_rows()
    ]
    caption = html.Caption(clean(shown.title, longest=200))
    grid = html.Table([caption, html.Thead(html.Tr(heads)), html.Tbody(body)])
    link = html.A("CSV", href=f"csv{to_query(chosen)}&key={shown.key}", download=f"{shown.key}.csv")
    tools = [*_pages(shown.key, chosen, first=first, height=frame.height), link]
    region = html.Div(grid, className="wide", tabIndex="0", role="region", **{"aria-label": shown.title})
    return html.Div([region, html.P(tools, className="tools")], key=shown.key)


def _sorted(shown: Table, chosen: Selection) -> tuple[pl.DataFrame, str, bool]:
    name, _, rest = chosen.sort.partition(":")
    column, _, direction = rest.rpartition(":")
    frame = shown.frame
    if name != shown.key or column not in frame.columns or frame[column].dtype.is_nested():
        return frame, "", False
    descending = direction == "down"
    return frame.sort(column, descending=descending, nulls_last=True, maintain_order=True), column, descending


def _first_row(shown: Table, chosen: Selection, height: int) -> int:
    name, _, place = chosen.page.rpartition(":")
    if name != shown.key or not (place.isascii() and place.isdigit()) or len(place) > 6:
        return 0
    return max(0, min(int(place), (height - 1) // MOST_ROWS)) * MOST_ROWS


def _head(key: str, name: str, chosen: Selection, *, number: bool, sorted_by: tuple[str, bool]) -> Any:
    is_sorted = sorted_by[0] == name
    down = not sorted_by[1] if is_sorted else number  # the largest number first, the first letter first
    target = replace(chosen, sort=f"{key}:{name}:{'down' if down else 'up'}", page="")
    state = ("descending" if sorted_by[1] else "ascending") if is_sorted else "none"
    label = clean(TITLES.get(name, name), longest=60)
    style = {"className": "number"} if number else {}
    return html.Th(
        html.A(label, href=to_query(target), className="head"), scope="col", **{"aria-sort": state}, **style
    )


def _cell(value: Any, is_number: bool, root: Path) -> Any:
    if is_number:
        return html.Td(NOTHING if value is None else number(value), className="number")
    if value is None:
        return html.Td(NOTHING)
    return html.Td(below(clean(str(value), longest=2000), root))


def below(text: str, root: Path) -> str:
    """Return a text without the way to LOGDIR, which is nobody's business but the owner's.

    Example:
        >>> below("/home/ann/logs/a: damaged", Path("/home/ann/logs"))
        'a: damaged'
    """
    return text.replace(f"{root.as_posix()}/", "").replace(root.as_posix(), "LOGDIR")


def _pages(key: str, chosen: Selection, *, first: int, height: int) -> list[Any]:
    if height <= MOST_ROWS:
        return [html.Span(f"{height} rows")]
    page = first // MOST_ROWS
    parts: list[Any] = [html.Span(f"rows {first + 1} to {min(height, first + MOST_ROWS)} of {height}")]
    if page:
        parts.append(html.A("previous", href=to_query(replace(chosen, page=f"{key}:{page - 1}"))))
    if first + MOST_ROWS < height:
        parts.append(html.A("next", href=to_query(replace(chosen, page=f"{key}:{page + 1}"))))
    return parts
