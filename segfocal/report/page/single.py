"""Figures on one page in one file: plotly.js, data and scripts are inside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from segfocal.report.figures.shown import Shown
from segfocal.report.page.bundle import csv_text, script
from segfocal.report.page.markup import text
from segfocal.report.page.parts import figure

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src {hashes}; \
style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
{scripts}
</head>
<body>
<header><h1>{title}</h1>
<button type="button" id="theme" aria-label="Change between light and dark">Dark</button></header>
<main><p>{words}</p><div class="figures">{figures}</div></main>
</body>
</html>
"""


def single_page(figures: Sequence[Shown], *, title: str, words: str) -> str:
    """Return a page that needs no other file.

    Args:
        figures: What to show.
        title: Any text.
        words: Any text.

    Returns:
        HTML, about 5 MB of which are plotly.js.
    """
    library = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_text("utf-8")
    own = resources.files("segfocal.report.page")
    codes = [library, script(figures), own.joinpath("figures.js").read_text("utf-8")]
    places = "".join(figure(shown, csv_href=_inline(csv_text(shown.data))) for shown in figures)
    return _PAGE.format(
        title=text(title),
        words=text(words),
        style=own.joinpath("report.css").read_text("utf-8"),
        hashes=" ".join(f"'sha256-{_digest(code)}'" for code in codes),
        scripts="\n".join(f"<script>{code}</script>" for code in codes),
        figures=places,
    )


def _digest(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def _inline(csv: str) -> str:
    return f"data:text/csv;base64,{base64.b64encode(csv.encode()).decode()}"
