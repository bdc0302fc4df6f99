"""The fixed HTML of the page."""

from __future__ import annotations

from collections.abc import Sequence

# `file:` because browsers disagree on whether 'self' means the folder of a page opened from disk; styles
# inline because Plotly sets them on its drawings; data: and blob: for the SVG that is handed out
POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file: 'unsafe-inline'; "
    "img-src 'self' file: data: blob:; font-src 'none'; connect-src 'none'; base-uri 'none'; "
    "form-action 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="report.css">
<script src="data.js" defer></script>
<script src="tables.js" defer></script>
<script src="figures.js" defer></script>
<script src="cases.js" defer></script>
</head>
<body>
<header><h1>{title}</h1>
<button type="button" id="theme" aria-label="Change between light and dark">Dark</button></header>
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main>
<noscript><p>Tables are readable without scripts; figures and cases are not.</p></noscript>
{body}
</main>
</body>
</html>
"""
CASES = """<section id="cases" aria-labelledby="title-cases"><h2 id="title-cases">Cases</h2>
<p>Pictures are reduced. Errors: <span class="key extra"></span> false positive,
<span class="key missed"></span> false negative, <span class="key hit"></span> hit. {notes}</p>
<div id="case-browser">
<div class="tools">
<label>Run <select data-run></select></label>
<label>beside <select data-run aria-label="second run"></select></label>
<label><select data-run aria-label="third run"></select></label>
<label><select data-run aria-label="fourth run"></select></label>
</div>
<div class="tools">
<label>Class <select data-part="class"></select></label>
<label>Sort by <select data-part="sort"><option value="worst">lowest score</option>
<option value="best">highest score</option><option value="difference">largest difference</option>
<option value="name">name</option></select></label>
<label>Filter <input type="search" data-part="filter" aria-label="Filter cases by name"></label>
</div>
<div class="tools">
<label>Show <select data-part="layer"><option value="errors">errors</option>
<option value="image">image</option><option value="reference">reference</option>
<option value="prediction">prediction</option>
<option value="probability">probability</option></select></label>
<label>Opacity <input type="range" min="10" max="100" value="70" data-part="opacity"></label>
<span data-part="slices" hidden><label>Slice <input type="range" min="0" value="0" data-part="slice"></label>
<output data-part="slice-label"></output></span>
<button type="button" data-part="in" aria-label="Zoom in">+</button>
<button type="button" data-part="out" aria-label="Zoom out">&minus;</button>
<button type="button" data-part="reset">Whole image</button>
<output data-part="zoom" aria-label="Zoom"></output>
</div>
<div class="browser"><ul class="cases" data-part="list" aria-label="Cases"></ul>
<div><h3 data-part="name" aria-live="polite"></h3><div class="panels" data-part="panels"></div>
<p class="note" role="status" data-part="note"></p></div></div>
</div></section>
"""
TWO_RUNS = """<section id="two-runs" aria-labelledby="title-two-runs">
<h2 id="title-two-runs">Settings of two runs</h2>
<div class="tools"><label>First <select></select></label><label>Second <select></select></label></div>
<div class="wide" role="region" aria-label="Differing settings" tabindex="0"><table><thead><tr>
<th scope="col">Setting</th><th scope="col">First</th><th scope="col">Second</th></tr></thead>
<tbody></tbody></table></div></section>
"""


def document(*, title: str, body: str, links: Sequence[tuple[str, str]]) -> str:
    """Return the whole page.

    Args:
        title: Escaped already.
        body: HTML.
        links: Section key and title.

    Returns:
        HTML.
    """
    items = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name in links)
    return _PAGE.format(policy=POLICY, title=title, body=body, links=items)
