"""The leaderboard on the terminal."""

from __future__ import annotations

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from segfocal.report.names import clean
from segfocal.report.page.markup import NOTHING, TITLES, number
from segfocal.report.sources import Sources
from segfocal.report.tables.leaderboard import covered, leaderboard, run_board

_COLUMNS = (
    *("rank", "arm", "data", "runs", "images", "dice", "dice_low", "dice_high", "dataset_dice", "iou"),
    *("worst_class", "worst_dice", "ece", "aupr", "hd95", "distance_unit"),
    *("lesion_f1", "froc", "cldice", "trainable", "fit_s"),
)


def print_leaderboard(sources: Sources, console: Console | None = None) -> None:
    """Print one row per arm, and what was left out.

    Args:
        sources: What was read.
        console: Where to; by default standard output, 200 columns wide where that is no terminal.
    """
    plain = Console()
    target = console or Console(width=None if plain.is_terminal else 200)
    runs = run_board(sources.scores, sources.runs, scalars=sources.scalars)
    board = leaderboard(runs, known=sources.estimates())
    if board.height:
        target.print(_table(board, title=f"{sources.stage} split at {sources.threshold}"))
        target.print(Text(clean(covered(sources.scores), longest=300)), soft_wrap=True)
    else:
        target.print(f"No run has scores: {sources.runs.height} runs were found.")
    if other := sources.other_data():
        target.print(Text(other))
    for name, reason in sources.left_out:
        target.print(Text(f"left out: {name}: {clean(reason, longest=300)}"), soft_wrap=True)
    for name, reason in sources.damaged:
        target.print(Text(f"damaged: {name}: {clean(reason, longest=300)}"), soft_wrap=True)


def _table(board: pl.DataFrame, *, title: str) -> Table:
    known = [name for name in _COLUMNS if board[name].null_count() < board.height]
    if "data" in known and board["data"].n_unique() < 2:
        known.remove("data")
    found = Table(title=title, title_justify="left", title_style="bold")
    for name in known:
        found.add_column(
            TITLES.get(name, name), justify="right" if board[name].dtype.is_numeric() else "left"
        )
    for row in board.select(known).iter_rows():
        found.add_row(*(_cell(value) for value in row))
    return found


def _cell(value: object) -> Text:
    if value is None:
        return Text(NOTHING)
    return Text(number(value) if isinstance(value, int | float) else clean(str(value)))
