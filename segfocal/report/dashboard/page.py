"""The page for one selection: links to the views, controls, and the chosen view."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dash import dcc, html

from segfocal.report.dashboard.case_table import ORDERS, class_names
from segfocal.report.dashboard.cases_view import cases_view
from segfocal.report.dashboard.filters import Choices, choices, folder, narrow, options
from segfocal.report.dashboard.parts import section
from segfocal.report.dashboard.runs_view import runs_view
from segfocal.report.dashboard.selection import Selection, to_query
from segfocal.report.figures.pixel import pixel_figures
from segfocal.report.pixel_curves import curve_table
from segfocal.report.section import Section, Table
from segfocal.report.sources import Sources
from segfocal.report.tables.configs import config_difference
from segfocal.report.views import VIEWS, sections

RUNS, CASES, LOSSES = "runs", "cases", "losses"
TITLES = {RUNS: "Runs", **VIEWS, CASES: "Cases", LOSSES: "Losses"}
_NO_RUNS = "No run directories below LOGDIR yet. `segfocal fit --run LOGDIR/NAME` makes one; it appears here."


@dataclass(frozen=True)
class Page:
    """What changes with the selection and the runs.

    Args:
        views: Links to the views.
        controls: Filters and what the view needs beside them.
        content: The view.
    """

    views: Any
    controls: Any
    content: Any


def page(sources: Sources, chosen: Selection, *, look: str, root: Path) -> Page:
    """Return the page.

    Args:
        sources: Of all runs.
        chosen: What the reader chose.
        look: "light" or "dark".
        root: LOGDIR, resolved.

    Returns:
        Its parts.
    """
    view = view_of(sources, chosen)
    kept = narrow(sources, chosen, root=root)
    offered = choices(sources, root=root)
    return Page(
        views=_views(chosen, view),
        controls=_controls(kept, offered, chosen, view, root=root),
        content=_content(sources, kept, chosen, view, look=look, root=root),
    )


def view_of(sources: Sources, chosen: Selection) -> str:
    """Return the key of the view to show: the chosen one, else the leaderboard where there are scores."""
    if chosen.view in TITLES:
        return chosen.view
    return RUNS if sources.scores.is_empty() else "leaderboard"


def view_sections(view: str, sources: Sources, chosen: Selection, *, root: Path) -> list[Section]:
    """Return figures and tables of one view; those of the other views are not computed.

    Args:
        view: A key of ``TITLES``.
        sources: The runs to show.
        chosen: What the reader chose.
        root: LOGDIR.

    Returns:
        Sections; none for the runs and the cases, which are no sections.
    """
    if view == LOSSES:
        text = "Loss, slope and slope over that of cross-entropy: what each pixel loss pulls at."
        return [
            Section(
                LOSSES, "Pixel losses", text, pixel_figures(curve_table(gammas=(0.0, 0.5, 1.0, 2.0, 5.0)))
            )
        ]
    found = sections(sources, only=view) if view in VIEWS else []
    if view == "settings" and len(chosen.run) > 1:
        found.append(_two_configs(sources, chosen, root=root))
    return [one for one in found if one.figures or one.tables]


def _two_configs(sources: Sources, chosen: Selection, *, root: Path) -> Section:
    known = {folder(run, root=root): run for run in sources.runs["run"].to_list()}
    pair = [known[name] for name in chosen.run if name in known][:2]
    if len(pair) < 2:
        return Section("two-runs", "Two runs", "")
    difference = config_difference(*pair)
    title = "Settings that differ between the first two runs chosen"
    return Section("two-runs", "Two runs", title, [], [Table("two-runs", title, difference)])


def _content(
    sources: Sources, kept: Sources, chosen: Selection, view: str, *, look: str, root: Path
) -> list[Any]:
    if sources.runs.is_empty() and not sources.left_out and view != LOSSES:
        return [html.P(_NO_RUNS)]
    if view == RUNS:
        return runs_view(kept, chosen, look=look, root=root)
    if view == CASES:
        return cases_view(kept, chosen, root=root)
    shown = [
        section(one, chosen, look=look, root=root) for one in view_sections(view, kept, chosen, root=root)
    ]
    return shown or [html.H2(TITLES[view]), html.P("No chosen run has what this view shows.")]


def _views(chosen: Selection, view: str) -> Any:
    links = [
        html.Li(
            html.A(
                title,
                href=to_query(replace(chosen, view=key, sort="", page="")),
                **({"aria-current": "page"} if key == view else {}),
            )
        )
        for key, title in TITLES.items()
    ]
    return html.Ul(links)


def _controls(kept: Sources, offered: Choices, chosen: Selection, view: str, *, root: Path) -> list[Any]:
    found = [
        _many("arm", "Arms", offered.arm, chosen.arm),
        _many("data", "Data sets", offered.data, chosen.data),
        _many("tag", "Tags", offered.tag, chosen.tag),
        _one("stage", "Split", _default(f"{kept.stage} (test where scored)", offered.stage), chosen.stage),
        _one("tuned", "Threshold", _THRESHOLDS, chosen.tuned),
    ]
    if view == "comparisons":
        arms = kept.scores["arm"].unique(maintain_order=True).to_list()
        found.append(_one("base", "Baseline", _default("the first arm", arms), chosen.base))
    if view in (CASES, "settings"):
        found.append(_runs(kept, chosen, view, root=root))
    if view == CASES:
        orders = [{"label": text, "value": key} for key, text in ORDERS.items()]
        found.append(_one("label", "Class", _default("mean over classes", class_names(kept)), chosen.label))
        found.append(_one("order", "Order", orders, chosen.order if chosen.order in ORDERS else ""))
    return found


_THRESHOLDS = [
    {"label": "0.5 (several classes: argmax)", "value": ""},
    {"label": "chosen on validation", "value": "1"},
]


def _runs(kept: Sources, chosen: Selection, view: str, *, root: Path) -> Any:
    own = kept.scored_runs() if view == CASES else kept.runs
    names = {folder(run, root=root): name for run, name in own.select("run", "name").iter_rows()}
    listed = [one | {"label": names.get(one["value"], one["label"])} for one in options(names, chosen.run)]
    hint = "the first of two arms" if view == CASES else "choose two"
    return _dropdown("run", "Runs side by side", listed, list(chosen.run), multi=True, hint=hint)


def _default(label: str, values: list[str]) -> list[dict[str, str]]:
    return [{"label": label, "value": ""}, *options(values)]


def _many(key: str, label: str, values: list[str], given: tuple[str, ...]) -> Any:
    return _dropdown(key, label, options(values, given), list(given), multi=True)


def _one(key: str, label: str, listed: list[dict[str, str]], value: str | None) -> Any:
    return _dropdown(key, label, listed, value, multi=False)


def _dropdown(
    key: str, label: str, listed: list[dict[str, str]], value: Any, *, multi: bool, hint: str = "all"
) -> Any:
    control = dcc.Dropdown(
        id={"control": key},
        options=listed,
        value=value,
        multi=multi,
        clearable=multi,
        placeholder=hint,
    )
    words = {"aria-labelledby": f"label-{key}"}
    parts = [html.Span(label, id=f"label-{key}"), control]
    return html.Div(parts, className="control", key=key, role="group", **words)
