"""The view of running trainings: how far each is, its curves, its last overlays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import polars as pl
from dash import html

from segfocal.errors import SegfocalError
from segfocal.report.dashboard.confine import inside
from segfocal.report.dashboard.filters import folder
from segfocal.report.dashboard.parts import MOST_ROWS, below, figure
from segfocal.report.dashboard.progress import Progress, read_progress
from segfocal.report.dashboard.selection import MOST_RUNS, Selection, to_query
from segfocal.report.figures.learning import learning_figures
from segfocal.report.names import clean
from segfocal.report.page.markup import NOTHING, number
from segfocal.report.page.pictures import pictured_cases
from segfocal.report.sources import Sources
from segfocal.report.tables.learning import learning_curves
from segfocal.runs.layout import RunPaths

LIVE = "live"  # the stage under which a training keeps the pictures of its last validation
MOST_CURVES = 8  # figures of running trainings
_ORDER = {"running": 0, "died": 1, "interrupted": 1, "failed": 2, "unreadable": 3, "finished": 4}
_HEADS = (
    "Run",
    "Arm",
    "Status",
    "Progress",
    "Step",
    "Epoch",
    "Train loss",
    "Validation Dice",
    "Last value",
    "Note",
)


def runs_view(sources: Sources, chosen: Selection, *, look: str, root: Path) -> list[Any]:
    """Return every run with its state, the running ones first.

    Args:
        sources: The runs to show.
        chosen: What the reader chose.
        look: "light" or "dark".
        root: LOGDIR.

    Returns:
        Components.
    """
    notes = dict(sources.left_out)
    for name, reason in sources.damaged:
        notes[name] = f"{notes[name]}; {reason}" if name in notes else reason
    # "running on HOST, ... (cannot be checked from here)" is one of those in progress as well
    order = pl.col("status").replace_strict(_ORDER, default=0)
    runs = sources.runs.sort(order, "name", maintain_order=True)
    first = _first(chosen, runs.height)
    rows = [_row(row, notes, root=root) for row in runs.slice(first, MOST_ROWS).iter_rows(named=True)]
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in _HEADS]))
    grid = html.Table([html.Caption("Runs, those in progress first"), head, html.Tbody(rows)])
    region = html.Div(grid, className="wide", tabIndex="0", role="region", **{"aria-label": "Runs"})
    running = runs.filter(pl.col("status").str.starts_with("running"))
    return [
        html.H2("Runs"),
        html.P(f"{runs.height} runs, {running.height} in progress. New epochs appear by themselves."),
        region,
        html.P(_pages(chosen, first=first, height=runs.height), className="tools"),
        *_refused(sources),
        *_curves(running, chosen, look=look),
        *_overlays(running, root=root),
    ]


def _refused(sources: Sources) -> list[Any]:
    """Name runs that are not even in the table: their files lead out of LOGDIR."""
    known = set(sources.runs["name"].to_list())
    return [
        html.P(f"{clean(name)}: {reason}", className="left-out")
        for name, reason in sources.left_out
        if name not in known and "link out of" in reason
    ]


def _row(row: Mapping[str, Any], notes: Mapping[str, str], *, root: Path) -> Any:
    found = read_progress(Path(row["run"]))
    note = row["problem"] or ("" if row["status"].startswith("running") else notes.get(row["name"], ""))
    cells = [
        html.Th(row["name"], scope="row"),
        html.Td(row["arm"]),
        html.Td(row["status"]),
        html.Td(_bar(row["name"], found)),
        html.Td(_count(found.step), className="number"),
        html.Td(_count(found.epoch), className="number"),
        html.Td(_value(found, "train/loss"), className="number"),
        html.Td(_value(found, "val/dice"), className="number"),
        html.Td(found.written or NOTHING),
        html.Td(below(clean(note, longest=400), root) if note else ""),
    ]
    return html.Tr(cells, key=folder(row["run"], root=root))


def _bar(name: str, found: Progress) -> Any:
    if found.share is None:
        return NOTHING
    unit = "epochs" if found.in_epochs else "steps"
    label = f"{round(100 * found.share)} % of {found.goal} {unit}"
    bar = html.Progress(value=str(round(found.share, 4)), max="1", **{"aria-label": f"{name}: {label}"})
    return [bar, html.Span(f" {label}", className="soft")]


def _count(value: int | None) -> str:
    return NOTHING if value is None else number(value)


def _value(found: Progress, name: str) -> str:
    return NOTHING if name not in found.values else number(found.values[name])


def _curves(running: pl.DataFrame, chosen: Selection, *, look: str) -> list[Any]:
    if running.is_empty():
        return []
    own = running.with_columns(pl.col("name").alias("arm"))  # a curve for each training, not for each arm
    drawn = learning_figures(learning_curves(own))[:MOST_CURVES]
    if not drawn:
        return []
    figures = [figure(one, chosen, look=look) for one in drawn]
    return [html.H2("Curves of running trainings"), html.Div(figures, className="figures")]


def _overlays(running: pl.DataFrame, *, root: Path) -> list[Any]:
    panels = []
    for row in running.iter_rows(named=True):
        stems = live_pictures(root, Path(row["run"]))
        panels += [_panel(row, stem, stamp, root=root) for stem, stamp in stems[:MOST_RUNS]]
    if not panels:
        return []
    text = "Cases of the last validation: the reference in the left picture, the prediction in the right one."
    return [html.H2("Last overlays"), html.P(text), html.Div(panels[:24], className="panels")]


def _panel(row: Mapping[str, Any], stem: str, stamp: int, *, root: Path) -> Any:
    shown = []
    for layer in ("reference", "prediction"):
        words = {"run": folder(row["run"], root=root), "stage": LIVE, "stem": stem, "v": str(stamp)}
        sources = [f"picture?{urlencode({**words, 'layer': kind})}" for kind in ("image", layer)]
        alts = (f"image {clean(stem)}", f"{layer} of {clean(stem)} by {row['name']}")
        images = [html.Img(src=src, alt=alt) for src, alt in zip(sources, alts, strict=True)]
        shown.append(
            html.Div(images, className="stack", tabIndex="0", role="group", **{"aria-label": alts[1]})
        )
    head = html.H3(f"{row['name']}: {clean(stem)}")
    return html.Div(
        [head, html.Div(shown, className="pair")], className="panel", key=f"{words['run']} {stem}"
    )


def live_pictures(root: Path, run: Path) -> list[tuple[str, int]]:
    """Return the cases of which a training keeps pictures, with the time of their last change.

    Args:
        root: LOGDIR, resolved.
        run: A run directory below it.

    Returns:
        File stems and modification times in ns; none where the folder leads out of LOGDIR.
    """
    home = RunPaths(run).case_pictures / LIVE
    try:
        inside(root, str(home))
        stems = [stem for slices in pictured_cases(run, LIVE).values() for stem in slices.values()]
        return [(stem, (home / f"{stem}.image.png").stat().st_mtime_ns) for stem in dict.fromkeys(stems)]
    except (SegfocalError, OSError):
        return []


def _first(chosen: Selection, height: int) -> int:
    name, _, place = chosen.page.rpartition(":")
    page = int(place) if name == "runs" and place.isascii() and place.isdigit() and len(place) < 7 else 0
    return max(0, min(page, (height - 1) // MOST_ROWS)) * MOST_ROWS


def _pages(chosen: Selection, *, first: int, height: int) -> list[Any]:
    page = first // MOST_ROWS
    last = min(height, first + MOST_ROWS)
    links = [
        html.A(text, href=to_query(replace(chosen, page=f"runs:{page + turn}")))
        for text, turn, there in (("previous", -1, page > 0), ("next", 1, last < height))
        if there
    ]
    return [html.Span(f"rows {first + 1 if height else 0} to {last} of {height}"), *links]
