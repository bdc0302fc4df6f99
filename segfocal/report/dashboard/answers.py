"""What the page is told when the address, a control or a file changes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from dash import no_update
from flask import Response
from plotly.utils import PlotlyJSONEncoder

from segfocal.report.dashboard.filters import narrow
from segfocal.report.dashboard.page import page, view_of, view_sections
from segfocal.report.dashboard.selection import Selection, from_query, to_query, with_runs
from segfocal.report.dashboard.watch import Watcher
from segfocal.report.page.bundle import csv_text


def csv_of(query: str, key: str, *, watcher: Watcher) -> Response:
    """Return the numbers of a figure or table.

    Args:
        query: A selection.
        key: Which figure or table of its view.
        watcher: Of LOGDIR.

    Returns:
        CSV; 404 where the view has no such part.
    """
    chosen = from_query(query)
    sources = watcher.sources(stage=chosen.stage or None, tuned=chosen.tuned == "1")
    kept = narrow(sources, chosen, root=watcher.root)
    for section in view_sections(view_of(sources, chosen), kept, chosen, root=watcher.root):
        frames = {one.key: one.data for one in section.figures} | {
            one.key: one.frame for one in section.tables
        }
        if key in frames:
            name = f"attachment; filename={key}.csv"
            return Response(
                csv_text(_below(frames[key], watcher.root)),
                mimetype="text/csv",
                headers={"Content-Disposition": name},
            )
    return Response("no such table\n", status=404, mimetype="text/plain")


def _below(frame: pl.DataFrame, root: Path) -> pl.DataFrame:
    """Cut the way to LOGDIR off every text."""
    return frame.with_columns(pl.col(pl.String).str.replace_all(f"{root.as_posix()}/", "", literal=True))


def update(watcher: Watcher, search: str | None, *, look: str | None, shown: Any) -> tuple[Any, ...]:
    """Return what the page must change.

    Args:
        watcher: Of LOGDIR.
        search: The address's part after the question mark.
        look: "light" or "dark".
        shown: What the page says it shows: fingerprints of controls and of all else.

    Returns:
        Links to the views, controls, content, and what is shown then; ``no_update`` for what stays.
    """
    before = shown if isinstance(shown, dict) else {}
    state = _digest(f"{watcher.found().version}\0{search}\0{look}")
    if before.get("state") == state:
        return no_update, no_update, no_update, no_update
    chosen = from_query(search)
    sources = watcher.sources(stage=chosen.stage or None, tuned=chosen.tuned == "1")
    made = page(sources, chosen, look="dark" if look == "dark" else "light", root=watcher.root)
    controls = _digest(json.dumps(made.controls, cls=PlotlyJSONEncoder, sort_keys=True))
    same = before.get("controls") == controls
    return (
        made.views,
        no_update if same else made.controls,
        made.content,
        {"state": state, "controls": controls},
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def address(changed: dict[str, Any], search: str | None) -> Any:
    """Return the address after some controls changed.

    Args:
        changed: Control to its value.
        search: The address now.

    Returns:
        The new part after the question mark, ``no_update`` where it is the same.
    """
    before = from_query(search)
    after = before
    for key, value in changed.items():
        after = _with(after, key, value)
    if after == before:
        return no_update
    return to_query(replace(after, page=""))


def _with(chosen: Selection, key: str, value: Any) -> Selection:
    if key == "run":
        return with_runs(chosen, value or ())
    if key in ("arm", "data", "tag"):
        return replace(chosen, **{key: tuple(value or ())})  # type: ignore[arg-type]
    if key == "tuned":
        return replace(chosen, tuned="1" if value == "1" else "")
    if key in ("stage", "base", "label", "order"):
        return replace(chosen, **{key: value or ""})  # type: ignore[arg-type]
    return chosen
