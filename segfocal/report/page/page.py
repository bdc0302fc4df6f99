"""Put the report together: one page, its scripts, and the files it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.report.page.bundle import csv_text, script
from segfocal.report.page.cases import Browser, case_browser
from segfocal.report.page.markup import text
from segfocal.report.page.parts import section
from segfocal.report.page.skeleton import CASES, TWO_RUNS, document
from segfocal.report.section import Section
from segfocal.report.sources import Sources
from segfocal.report.tables.configs import differing, flat_config
from segfocal.report.views import sections
from segfocal.runs.write import disk_error
from segfocal.writing import claim_files, replace_folder

ASSETS = ("report.css", "tables.js", "figures.js", "cases.js")
MOST_CONFIGS = 60
LIMIT_BYTES = 9_800_000


def write_page(
    sources: Sources,
    out: str | Path,
    *,
    title: str,
    all_cases: bool = False,
    first: Sequence[Section] = (),
    inputs: Sequence[str | Path] = (),
    overwrite: bool = False,
) -> Path:
    """Write the static report.

    Args:
        sources: What was read.
        out: A folder that holds none of the page's names, or with ``overwrite`` an older report.
        title: Of the page, any text.
        all_cases: Show every case of which pictures exist.
        first: Sections above those of the runs.
        inputs: Files and folders that the same command reads, into which nothing is written.
        overwrite: Replace the files of an older report that nobody changed since.

    Returns:
        The page, ``index.html``.

    Raises:
        SegfocalError: Where the folder holds files of these names that are not ours, or cannot be written.
    """
    folder = Path(out)
    if folder.is_file():
        raise SegfocalError(f"--out must name a folder, got the file {folder}. Choose another name.")
    parts = [*first, *sections(sources)]
    bare = page_files(sources, parts, Browser({}, {}, []), title=title)
    # a tenth is left to what the cases add to the page itself
    left = int(0.9 * (LIMIT_BYTES - sum(map(len, bare.values()))))
    browser = case_browser(sources, all_cases=all_cases, budget_bytes=None if all_cases else left)
    files = page_files(sources, parts, browser, title=title)
    place = claim_files(folder, list(files), inputs=inputs, overwrite=overwrite)
    try:
        replace_folder(place, files)
    except OSError as error:
        raise disk_error(error, folder, option="--out") from error
    return folder / "index.html"


def page_files(
    sources: Sources, parts: Sequence[Section], browser: Browser, *, title: str
) -> Mapping[str, bytes]:
    """Return every file of the report.

    Args:
        sources: What was read.
        parts: Of ``sections``.
        browser: Of ``case_browser``.
        title: Of the page.

    Returns:
        Path inside the report to content; the same input gives the same bytes.
    """
    figures = [shown for part in parts for shown in part.figures]
    data = script(figures, cases=browser.content or None, configs=_configs(sources))
    body = "".join([_left_out(sources), *map(section, parts), _pairs(sources), _cases(browser)])
    links = [(part.key, part.title) for part in parts]
    links += [("two-runs", "Two runs")] if sources.runs.height > 1 else []
    links += [("cases", "Cases")] if browser.content else []
    page = document(title=text(title), body=body, links=links)
    assets = {name: resources.files("segfocal.report.page").joinpath(name).read_bytes() for name in ASSETS}
    library = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    tables = {f"figures/{shown.key}.csv": csv_text(shown.data).encode() for shown in figures}
    scripts = {"index.html": page.encode(), "data.js": data.encode(), "plotly.min.js": library}
    return {**scripts, **assets, **tables, **browser.files}


def _left_out(sources: Sources) -> str:
    if sources.runs.is_empty():
        return "<p>No runs were found. <code>segfocal fit --run DIR</code> makes one.</p>"
    damaged = "".join(f"<li>{text(name)}: {text(reason)}</li>" for name, reason in sources.damaged)
    if damaged:
        damaged = f'<div class="left-out"><p>Damaged files; all else is shown</p><ul>{damaged}</ul></div>'
    if not sources.left_out:
        return damaged
    items = "".join(f"<li>{text(name)}: {text(reason)}</li>" for name, reason in sources.left_out)
    count = len({name for name, _ in sources.left_out} - set(sources.scores["name"]))
    head = "Left out of the scores" + (f": {count} of {sources.runs.height} runs" if count else "")
    return f'<div class="left-out"><p>{head}</p><ul>{items}</ul></div>{damaged}'


def _cases(browser: Browser) -> str:
    if not browser.content:
        return ""
    return CASES.format(notes=" ".join(map(text, browser.notes)))


def _pairs(sources: Sources) -> str:
    return TWO_RUNS if sources.runs.height > 1 else ""


def _configs(sources: Sources) -> dict[str, Any] | None:
    """Settings of each run that are not the same in all, for the comparison of two runs."""
    shown = sources.runs.head(MOST_CONFIGS)
    configs = {str(number): flat_config(run) for number, run in enumerate(shown["run"].to_list())}
    apart = differing(configs)
    return {
        "runs": shown["name"].to_list(),
        "keys": apart["key"].to_list(),
        "values": [apart[column].to_list() for column in apart.columns[1:]],
    }
