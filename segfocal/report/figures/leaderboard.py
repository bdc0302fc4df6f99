"""Leaderboard, scores by class, and the heat map of runs and classes."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import polars as pl

from segfocal.report.figures.shown import Shown, empty_figure, styles, texts

MOST_ARMS = 40  # more rows are unreadable; the table holds them all
MOST_LINES = 14
_INTERVAL = "Lines are 95 % intervals over seeds; arms with one seed have none."


def leaderboard_figure(board: pl.DataFrame) -> Shown:
    """Draw the mean Dice of each arm with its interval.

    Args:
        board: Of ``leaderboard``.

    Returns:
        The view; its data is the whole table.
    """
    top = board.head(MOST_ARMS)
    figure = empty_figure(
        x="Dice per image, mean over classes but the background", y="", height_px=170 + 26 * top.height
    )
    sets = top["data"].fill_null("unknown").unique(maintain_order=True).to_list()
    for name, style in styles(sets).items():
        rows = top.filter(pl.col("data").fill_null("unknown") == name)
        figure.add_trace(
            go.Scatter(
                x=rows["dice"].to_list(),
                y=texts(rows["arm"]),
                name=f"data {style['text']}",
                mode="markers",
                marker={"color": style["colour"], "symbol": style["symbol"], "size": 10},
                error_x=_whiskers(rows),
                hovertemplate="%{y}: %{x:.4f}<extra></extra>",
            )
        )
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=texts(top["arm"].reverse()))
    figure.update_xaxes(range=_range(top))
    figure.update_layout(showlegend=len(sets) > 1)
    best = ", ".join(_said(row) for row in board.filter(pl.col("rank") == 1).iter_rows(named=True))
    ranked = f"{board.height} arms" if len(sets) < 2 else f"{board.height} arms on {len(sets)} data sets"
    return Shown("leaderboard", "Leaderboard", f"First of {ranked}: {best}. {_INTERVAL}", figure, board)


def class_figure(classes: pl.DataFrame) -> Shown:
    """Draw the Dice of each class, one colour per arm.

    Args:
        classes: Of ``class_board``.

    Returns:
        The view; the first arms are drawn where there are many.
    """
    arms = classes["arm"].unique(maintain_order=True).to_list()
    figure = empty_figure(x="", y="Dice per image")
    for arm, style in styles(arms[:MOST_LINES]).items():
        rows = classes.filter(pl.col("arm") == arm)
        figure.add_trace(
            go.Scatter(
                x=texts(rows["class_name"]),
                y=rows["dice"].to_list(),
                name=style["text"],
                mode="markers",
                marker={"color": style["colour"], "symbol": style["symbol"], "size": 10},
                error_y=_whiskers(rows),
            )
        )
    figure.update_xaxes(type="category")
    figure.update_layout(scattermode="group", showlegend=True)
    known = classes.filter(pl.col("dice").is_not_null()).sort("dice")
    worst = f"The lowest is {_said(known.row(0, named=True))}. " if known.height else ""
    drawn = f"{min(len(arms), MOST_LINES)} of {len(arms)} arms. "
    return Shown("classes", "Dice of each class", f"{drawn}{worst}{_INTERVAL}", figure, classes)


def heat_map_figure(heat: pl.DataFrame, *, score: str = "dice") -> Shown:
    """Draw runs against classes.

    Args:
        heat: Of ``heat_map``.
        score: Its last column.

    Returns:
        The view; values are written into the cells of small maps.
    """
    runs = heat["name"].unique(maintain_order=True).to_list()
    names = heat["class_name"].unique(maintain_order=True).to_list()
    cells = np.full((len(runs), len(names)), np.nan)
    places = [{name: place for place, name in enumerate(order)} for order in (runs, names)]
    for name, class_name, value in heat.select("name", "class_name", score).iter_rows():
        cells[places[0][name], places[1][class_name]] = np.nan if value is None else value
    small = cells.size <= 300
    figure = empty_figure(x="class", y="run", height_px=int(np.clip(120 + 22 * len(runs), 240, 1400)))
    figure.add_trace(
        go.Heatmap(
            z=cells.round(4).tolist() if small else cells.astype(np.float32),
            x=texts(names),
            y=texts(runs),
            colorscale="Cividis",
            zmin=0,
            zmax=1,
            colorbar={"title": {"text": score}},
            texttemplate="%{z:.3f}" if small else None,
            hoverongaps=False,
        )
    )
    figure.update_xaxes(type="category", side="top")
    figure.update_yaxes(type="category", autorange="reversed")
    known = cells[np.isfinite(cells)]
    span = f" Values from {known.min():.3f} to {known.max():.3f}." if known.size else ""
    alt = f"{score} of {len(runs)} runs and {len(names)} classes; brighter is better.{span}"
    return Shown("heat-map", "Runs and classes", alt, figure, heat)


def _whiskers(rows: pl.DataFrame) -> dict[str, object]:
    """Error bars; null draws none."""
    return {
        "type": "data",
        "symmetric": False,
        "array": (rows["dice_high"] - rows["dice"]).to_list(),
        "arrayminus": (rows["dice"] - rows["dice_low"]).to_list(),
    }


def _range(rows: pl.DataFrame) -> list[float] | None:
    """Show whole intervals, but nothing beyond 0 and 1: few seeds give intervals that no score can fill."""
    ends = pl.concat([rows["dice"], rows["dice_low"], rows["dice_high"]]).drop_nulls()
    if ends.is_empty():
        return None
    low, high = (min(1.0, max(0.0, float(end))) for end in (ends.min(), ends.max()))  # type: ignore[arg-type]
    edge = max(0.005, 0.06 * (high - low))
    return [low - edge, high + edge]


def _said(row: dict[str, object]) -> str:
    what = f"{row['arm']}, {row['class_name']}" if "class_name" in row else str(row["arm"])
    return f"{what} with Dice {row['dice']:.3f}" if row["dice"] is not None else what
