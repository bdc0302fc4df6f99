"""The case browser: images sorted by score or difference, up to four runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl
from dash import html

from segfocal.errors import SegfocalError
from segfocal.report.dashboard.case_table import ORDERS, case_table, compared_runs
from segfocal.report.dashboard.confine import inside
from segfocal.report.dashboard.filters import folder
from segfocal.report.dashboard.parts import MOST_ROWS
from segfocal.report.dashboard.selection import Selection, to_query
from segfocal.report.names import clean
from segfocal.report.page.markup import NOTHING, number
from segfocal.report.page.pictures import pictured_cases
from segfocal.report.sources import Sources
from segfocal.runs.layout import RunPaths
from segfocal.runs.pictures import case_stem

_LAYERS = ("image", "reference", "prediction", "errors", "probability")


def cases_view(sources: Sources, chosen: Selection, *, root: Path) -> list[Any]:
    """Return the list of cases and, for the open one, its layers in every compared run.

    Args:
        sources: The runs to show.
        chosen: What the reader chose.
        root: LOGDIR.

    Returns:
        Components.
    """
    runs = compared_runs(sources, chosen, root=root)
    if runs.is_empty():
        return [html.H2("Cases"), html.P("No run has scores yet.")]
    table = case_table(sources, runs, chosen)
    names = table["image"].to_list()
    case = chosen.case if chosen.case in set(names) else ""
    text = f"Dice of each image of the {sources.stage} split. Open an image to see what each run found."
    return [
        html.H2("Cases"),
        html.P(text),
        *([_open_case(case, table, runs, sources, chosen, root=root)] if case else []),
        _list(table, runs, chosen, case),
    ]


def _list(table: pl.DataFrame, runs: pl.DataFrame, chosen: Selection, case: str) -> Any:
    name, _, place = chosen.page.rpartition(":")
    page = int(place) if name == "cases" and place.isascii() and place.isdigit() and len(place) < 7 else 0
    first = max(0, min(page, (table.height - 1) // MOST_ROWS)) * MOST_ROWS
    heads = ["Image", *runs["name"].to_list(), "Difference"]
    rows = [_line(row, chosen, case) for row in table.slice(first, MOST_ROWS).iter_rows()]
    grid = html.Table(
        [
            html.Caption(f"{table.height} images, {ORDERS.get(chosen.order, ORDERS[''])}"),
            html.Thead(html.Tr([html.Th(head, scope="col") for head in heads])),
            html.Tbody(rows),
        ]
    )
    region = html.Div(grid, className="wide", tabIndex="0", role="region", **{"aria-label": "Images"})
    turns = (("previous", page - 1, first > 0), ("next", page + 1, first + MOST_ROWS < table.height))
    links = [
        html.A(text, href=to_query(replace(chosen, page=f"cases:{to}"))) for text, to, there in turns if there
    ]
    return html.Div([region, html.P(links, className="tools")])


def _line(row: tuple[Any, ...], chosen: Selection, case: str) -> Any:
    image, *values = row
    target = to_query(replace(chosen, view="cases", case=image, slice=""))
    link = html.A(clean(image, longest=80), href=target, className="case")
    numbers = [html.Td(NOTHING if value is None else number(value), className="number") for value in values]
    state = {"aria-current": "true"} if image == case else {}
    return html.Tr([html.Th(link, scope="row"), *numbers], key=image, **state)


def _open_case(
    case: str, table: pl.DataFrame, runs: pl.DataFrame, sources: Sources, chosen: Selection, *, root: Path
) -> Any:
    row = table.filter(pl.col("image") == case).row(0)
    known = [_slices(row, sources.stage, case, root=root) for row in runs.iter_rows(named=True)]
    labels = sorted({label for slices in known for label in slices})
    label = chosen.slice if chosen.slice in labels else (labels[0] if labels else "")
    panels = [
        _panel(run, row[1 + place], known[place].get(label), case, sources, chosen, root=root)
        for place, run in enumerate(runs.iter_rows(named=True))
    ]
    slices = [
        html.A(f"slice {one}", href=to_query(replace(chosen, slice=one)), **_current(one == label))
        for one in labels
        if one
    ]
    return html.Div(
        [
            html.H3(clean(case, longest=120)),
            html.P(_legend()),
            html.P(slices, className="tools"),
            html.Div(panels, className="panels"),
        ],
        id="case",
    )


def _panel(
    run: Mapping[str, Any],
    score: float | None,
    stem: str | None,
    case: str,
    sources: Sources,
    chosen: Selection,
    *,
    root: Path,
) -> Any:
    head = html.H4(f"{run['name']}: {'no score' if score is None else number(score)}")
    if stem is None:
        return html.Div(
            [head, html.P("It keeps no pictures of this case.")],
            className="panel",
            key=folder(run["run"], root=root),
        )
    index = _class_index(run, chosen.label)
    words = {"run": folder(run["run"], root=root), "stage": sources.stage, "stem": stem, "class": str(index)}
    shown = []
    for layer in _LAYERS:
        over = () if layer == "image" else (layer,)
        base = () if layer == "probability" else ("image",)
        alt = f"{layer} of {clean(case)} by {run['name']}"
        images = [
            html.Img(src=f"picture?{urlencode({**words, 'layer': kind})}", alt=alt if kind == layer else "")
            for kind in (*base, *over)
        ]
        stack = html.Div(images, className="stack", tabIndex="0", role="group", **{"aria-label": alt})
        shown.append(html.Div([html.H5(layer), stack]))
    return html.Div(
        [head, html.Div(shown, className="layers")], className="panel", key=folder(run["run"], root=root)
    )


def _slices(row: Mapping[str, Any], stage: str, case: str, *, root: Path) -> dict[str, str]:
    run = Path(row["run"])
    try:
        inside(root, str(RunPaths(run).case_pictures / stage))
        return pictured_cases(run, stage, checkpoint=row["checkpoint"]).get(case_stem(case), {})
    except (SegfocalError, OSError):
        return {}


def _class_index(run: Mapping[str, Any], label: str) -> int:
    """Return the class whose errors are shown: the chosen one, else the first that is no background."""
    names = run["class_names"] or []
    if label in names:
        return int(names.index(label))
    return 1 if run["task"] == "multiclass" and len(names) > 1 else 0


def _legend() -> list[Any]:
    marks = (("hit", "found"), ("extra", "false positive"), ("missed", "false negative"))
    parts: list[Any] = []
    for mark, text in marks:
        parts += [html.Span(className=f"key {mark}"), f" {text}  "]
    return [*parts, "Plus and minus zoom, arrows and dragging move all pictures together."]


def _current(is_current: bool) -> dict[str, str]:
    return {"aria-current": "true"} if is_current else {}
