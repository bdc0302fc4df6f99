"""Figures and other data as one script: a page opened from disk may not fetch, but it may load scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from plotly.utils import PlotlyJSONEncoder

from segfocal.report.figures.shown import Shown, template
from segfocal.writing import text_cell


def script(figures: Sequence[Shown], **more: Any) -> str:
    """Return the content of ``data.js``.

    Args:
        figures: All of the page.
        **more: Further keys, of plain JSON values.

    Returns:
        A script that sets ``window.SEGFOCAL``: templates, figures by key, and what else is given.
    """
    content = {
        "templates": {look: template(look).to_plotly_json() for look in ("light", "dark")},
        "figures": {shown.key: _figure(shown) for shown in figures},
        **more,
    }
    return f"window.SEGFOCAL = {_safe_json(content)};\n"


def _figure(shown: Shown) -> Mapping[str, Any]:
    drawn = shown.figure.to_plotly_json()
    layout = {key: value for key, value in drawn["layout"].items() if key != "template"}
    return {"data": drawn["data"], "layout": layout}


def csv_text(frame: pl.DataFrame) -> str:
    r"""Return the numbers behind a figure as CSV, six digits after the point.

    Example:
        >>> csv_text(pl.DataFrame({"arm": ["a"], "dice": [0.5]}))
        'arm,dice\na,0.500000\n'
    """
    flat = [column for column in frame.columns if not frame[column].dtype.is_nested()]
    texts = pl.col(pl.String).map_elements(text_cell, return_dtype=pl.String)
    return frame.select(flat).with_columns(texts).write_csv(float_precision=6)


def _safe_json(value: Any) -> str:
    """JSON that stays inside a script element wherever it is put."""
    dumped = json.dumps(value, cls=PlotlyJSONEncoder, separators=(",", ":"), sort_keys=True)
    return dumped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
