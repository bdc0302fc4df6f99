"""The page that `segfocal diagnose` prints."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

_BAR = 20
_WIDTH = 120
_STYLES = {"likely": "bold green", "unlikely": "bold yellow", "cannot tell": "bold"}


def print_page(console: Console, report: dict[str, Any]) -> None:
    """Print a diagnosis.

    Args:
        console: Where to.
        report: As `segfocal.training.diagnosis.report.diagnose` gives it, with weights, loss and
            patches_on_foreground.
    """
    console.print(
        Group(
            _head(report),
            _distribution(report),
            _losses(report),
            _knees(report),
            _calibration(report),
            _verdict(report),
        )
    )


def written_page(report: dict[str, Any]) -> str:
    """Return the same page as HTML that needs no other file."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    print_page(console, report)
    return console.export_html()


def _head(report: dict[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    rows = {
        "weights": report["weights"],
        "trained with": report["loss"],
        "validation": f"{report['images']} images, {report['elements']:,} "
        + ("pixels" if report["task"] != "multilabel" else "pixels x labels")
        + f", {_percent(report['foreground_share'])} foreground",
    }
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def _distribution(report: dict[str, Any]) -> RenderableType:
    found = report["distribution"]
    classes = found["classes"] if len(found["classes"]) > 1 else {}
    columns = {"background": found["background"], "foreground": found["foreground"]} | classes
    if not classes:
        columns = {"background": found["background"], **found["classes"]}
    table = _table("p_t: the probability that the pixel's own label is given (hardest first)")
    table.add_column("p_t")
    for number, name in enumerate(columns):
        table.add_column(Text(name), justify="right")
        if number < 2:
            table.add_column("", min_width=_BAR)
    edges = [0.0, *found["edges"], 1.0]
    for place, (low, high) in enumerate(pairwise(edges)):
        cells: list[Text] = []
        for number, spread in enumerate(columns.values()):
            share = None if spread["shares"] is None else spread["shares"][place]
            cells.append(Text(_percent(share)))
            if number < 2:
                cells.append(Text(_bar(share)))
        table.add_row(f"{low:g} to {high:g}", *cells)
    table.add_section()
    counts: list[str] = []
    for number, spread in enumerate(columns.values()):
        counts += [f"{spread['elements']:,}", "px"][: 2 if number < 2 else 1]
    table.add_row("all", *counts)
    return table


def _losses(report: dict[str, Any]) -> RenderableType:
    knee = report["knees"][0]["knee"]
    table = _table(
        "who carries loss and gradient (shares of the total; easy: p_t above .9; "
        "missed: foreground where the background is given more than .9)"
    )
    for name in ("gamma", "loss:\neasy backgr.", "foreground", "gradient:\neasy backgr."):
        table.add_column(name, justify="right")
    for name in ("foreground", "missed", "easiest 90 %\nof pixels", f"knee {knee:g}:\neasy backgr."):
        table.add_column(name, justify="right")
    table.add_column("easiest 90 %", justify="right")
    kneed = {each["gamma"]: each["gradient"] for each in report["losses"] if each["knee"] is not None}
    for each in (each for each in report["losses"] if each["knee"] is None):
        loss, slope, bent = each["loss"], each["gradient"], kneed.get(each["gamma"])
        shown = [loss["easy_background"], loss["foreground"], slope["easy_background"], slope["foreground"]]
        shown += [slope["missed_foreground"], slope["easiest_0.9"]]
        bends = [bent["easy_background"], bent["easiest_0.9"]] if bent else []
        name = "0 (CE)" if each["gamma"] == 0 else f"{each['gamma']:g}"
        table.add_row(name, *map(_percent, [*shown, *bends]))
    return table


def _knees(report: dict[str, Any]) -> RenderableType:
    lines = []
    for each in report["knees"]:
        share = {
            name: _percent(value) for name, value in each.items() if name not in ("gamma", "knee", "tau")
        }
        text = (
            f"knee at {each['knee']:g}, gamma {each['gamma']:g}: acts on {share['background_above']} of the "
            f"background and {share['foreground_above']} of the foreground, where the slope stays "
            f"{each['tau']:.3g} of cross-entropy's; their share of the gradient "
            f"{share['gradient_above_focal']} -> {share['gradient_above_with_knee']}"
        )
        lines.append(Text(text))
    return Group(*lines, Text())


def _calibration(report: dict[str, Any]) -> RenderableType:
    found = report["calibration"]
    temperature = found["temperature"]
    confidence = ""
    if temperature is not None:
        how = "too sure" if temperature > 1.05 else "not sure enough" if temperature < 0.95 else "about right"
        confidence = f"; temperature {temperature:.3f} (the scores are {how})"
    return Text(
        f"calibration: ECE {_number(found['ece'])}, over the foreground {_number(found['ece_foreground'])}; "
        f"NLL {_number(found['nll'])}, over the foreground {_number(found['nll_foreground'])}{confidence}\n"
        f"ranking: AUPR {_number(found['aupr'])}\n"
    )


def _verdict(report: dict[str, Any]) -> RenderableType:
    word = report["verdict"]["word"]
    said = {"likely": "likely to help", "unlikely": "unlikely to help"}.get(word, word)
    lines = [Text.assemble("focusing: ", (said, _STYLES[word]))]
    lines += [Text(f"- {reason}") for reason in report["verdict"]["reasons"]]
    if word == "likely":
        lines.append(Text("try: --model.loss segfocal.losses.FocalLoss --model.loss.init_args.gamma 2"))
    if report["patches_on_foreground"]:
        lines.append(
            Text(
                f"- the patches of training lie on foreground by a share of "
                f"{report['patches_on_foreground']:g} (data.foreground_share): they hold more of it than "
                "these whole images, and training sees less easy background than this page"
            )
        )
    return Group(*lines)


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold")


def _bar(share: float | None) -> str:
    return "" if not share else "█" * round(_BAR * share) or "▏"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g} %" if share >= 1e-5 else "0 %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
