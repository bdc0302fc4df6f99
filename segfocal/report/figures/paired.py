"""Two arms on the same images: sorted differences and a scatter."""

from __future__ import annotations

import hashlib

import plotly.graph_objects as go
import polars as pl

from segfocal.report.figures.shown import COLOURS, Shown, band_colour, empty_figure, texts
from segfocal.report.names import plotly_text
from segfocal.report.tables.paired import Paired

LEVEL = 0.05
_BETTER, _WORSE = COLOURS[0], COLOURS[3]


def verdict(pair: Paired) -> str:
    """Say in one sentence what the comparison found.

    Args:
        pair: Of ``paired``.

    Returns:
        Mean difference in points (hundredths of Dice) with its interval, test and numbers.
    """
    found = pair.comparison
    if found is None:
        return f"{pair.arm} and {pair.baseline} have no image in common."
    interval, points = found.interval, 100 * found.interval.mean
    text = f"{pair.arm} minus {pair.baseline}: {points:+.2f} points"
    if interval.covers != "nothing":
        text += (
            f", 95 % interval {100 * interval.low:+.2f} to {100 * interval.high:+.2f} over {interval.covers}"
        )
    text += f" ({_count(interval.seeds, 'seed')}, {_count(interval.clusters, 'cluster')})"
    text += f"; signed-rank p = {found.test.p_value:.3g}, smallest possible {found.smallest_p:.3g}"
    text += f"; {pair.seeds}" if pair.seeds else ""
    return f"{text}. {_resolved(pair)}"


def paired_figure(pair: Paired) -> Shown:
    """Draw the difference of every image, sorted, with the mean and its interval.

    Args:
        pair: Of ``paired``.

    Returns:
        The view.
    """
    rows = pair.images
    points = [100 * value for value in rows["difference"].to_list()]
    figure = empty_figure(x="image, sorted by difference", y="difference (points of Dice)", showlegend=False)
    figure.add_trace(
        go.Bar(
            x=list(range(1, rows.height + 1)),
            y=points,
            marker={"color": [_BETTER if value >= 0 else _WORSE for value in points]},
            customdata=texts(rows["name"]),
            hovertemplate="%{customdata}: %{y:+.2f}<extra></extra>",
        )
    )
    if pair.comparison is not None:
        interval = pair.comparison.interval
        figure.add_hline(y=100 * interval.mean, line={"color": COLOURS[1], "width": 2})
        if interval.covers != "nothing":
            figure.add_hrect(
                y0=100 * interval.low, y1=100 * interval.high, fillcolor=band_colour(COLOURS[1]), line_width=0
            )
    return Shown(f"paired-{_mark(pair)}", f"{pair.arm} minus {pair.baseline}", verdict(pair), figure, rows)


def scatter_figure(pair: Paired) -> Shown:
    """Draw the score of one arm against the other's, a point per image.

    Args:
        pair: Of ``paired``.

    Returns:
        The view.
    """
    rows = pair.images
    figure = empty_figure(
        x=f"Dice of {plotly_text(pair.baseline)}", y=f"Dice of {plotly_text(pair.arm)}", showlegend=False
    )
    figure.add_trace(
        go.Scatter(
            x=[0, 1], y=[0, 1], mode="lines", line={"color": "#7F7F7F", "dash": "dot"}, hoverinfo="skip"
        )
    )
    figure.add_trace(
        go.Scatter(
            x=rows["baseline_score"].to_list(),
            y=rows["arm_score"].to_list(),
            mode="markers",
            marker={"color": COLOURS[0], "size": 8, "opacity": 0.75},
            customdata=texts(rows["name"]),
            hovertemplate="%{customdata}<br>%{x:.3f} → %{y:.3f}<extra></extra>",
        )
    )
    low, high = _span(rows)
    figure.update_xaxes(range=[low, high])
    figure.update_yaxes(range=[low, high])
    above = int((rows["difference"] > 0).sum())
    alt = f"{above} of {rows.height} images lie above the diagonal, where {pair.arm} is better."
    title = f"{pair.arm} against {pair.baseline}, image by image"
    return Shown(f"scatter-{_mark(pair)}", title, alt, figure, rows)


def _span(rows: pl.DataFrame) -> tuple[float, float]:
    values = pl.concat([rows["arm_score"], rows["baseline_score"]])
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    edge = max(0.01, 0.06 * (high - low))
    return low - edge, high + edge


def _mark(pair: Paired) -> str:
    return hashlib.sha256(f"{pair.arm}\0{pair.baseline}".encode()).hexdigest()[:8]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _resolved(pair: Paired) -> str:
    found = pair.comparison
    assert found is not None
    if found.smallest_p > LEVEL:
        return f"Undecidable: so few clusters cannot give p below {LEVEL:g}."
    if found.interval.excludes_zero and found.test.p_value <= LEVEL:
        return "The interval excludes zero."
    needed = found.clusters_needed()
    if needed is None or needed <= found.interval.clusters:
        return "Not resolved. More seeds would be needed."
    return f"Not resolved. About {needed} clusters would be needed."
