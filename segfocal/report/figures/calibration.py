"""Reliability diagrams, precision-recall, and the pixels of each class."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from segfocal.report.figures.shown import COLOURS, SYMBOLS, Shown, empty_figure, styles, texts

MOST_ARMS = 10
_KINDS = {"raw": "solid", "posterior": "dash", "temperature": "dot"}


def reliability_figures(bins: pl.DataFrame, scores: pl.DataFrame) -> list[Shown]:
    """Draw how often scores came true, one figure per class.

    Args:
        bins: Of ``reliability``.
        scores: Of ``calibration_scores``, for the words.

    Returns:
        The views: one line per arm and kind of score (raw, posterior, temperature).
    """
    return [_reliability(rows, scores, number) for number, rows in enumerate(_classes(bins))]


def precision_recall_figures(curve: pl.DataFrame) -> list[Shown]:
    """Draw precision against recall, one figure per class.

    Args:
        curve: Of ``precision_recall``.

    Returns:
        The views.
    """
    return [_precision_recall(rows, number) for number, rows in enumerate(_classes(curve))]


def counts_figure(counts: pl.DataFrame) -> Shown:
    """Draw the share of pixels of each class in the training split.

    Args:
        counts: Of ``class_counts``.

    Returns:
        The view, on a logarithmic axis.
    """
    figure = empty_figure(x="share of labelled pixels (%)", y="", height_px=140 + 26 * counts.height)
    sets = counts["data"].unique(maintain_order=True).to_list()
    for name, style in styles(sets).items():
        rows = counts.filter(pl.col("data") == name)
        figure.add_trace(
            go.Bar(
                y=texts(rows["class_name"]),
                x=[100 * share for share in rows["share"].to_list()],
                name=f"data {style['text']}",
                orientation="h",
                marker={"color": style["colour"]},
                customdata=rows["pixels"].to_list(),
                hovertemplate="%{y}: %{x:.3g} % (%{customdata} pixels)<extra></extra>",
            )
        )
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="category", autorange="reversed")
    figure.update_layout(showlegend=len(sets) > 1)
    rarest = counts.filter(pl.col("pixels") > 0).sort("share")
    said = [f"{name} {100 * share:.3g} %" for name, share in rarest.select("class_name", "share").iter_rows()]
    alt = f"Share of pixels per class, rarest first: {', '.join(said[:6])}."
    return Shown("class-counts", "Pixels of each class", alt, figure, counts)


def _classes(table: pl.DataFrame) -> list[pl.DataFrame]:
    """Split by class; data sets may call the same index differently."""
    return table.sort("class_index", maintain_order=True).partition_by(
        "class_index", "class_name", maintain_order=True
    )


def _reliability(rows: pl.DataFrame, scores: pl.DataFrame, number: int) -> Shown:
    name = rows["class_name"][0]
    figure = empty_figure(x="mean score in the bin", y="share labelled with the class", showlegend=True)
    figure.add_trace(_diagonal())
    arms = rows["arm"].unique(maintain_order=True).to_list()
    for arm, style in styles(arms[:MOST_ARMS]).items():
        for kind, dash in _KINDS.items():
            line = rows.filter((pl.col("arm") == arm) & (pl.col("kind") == kind))
            if line.height:
                figure.add_trace(_reliability_line(line, kind=kind, dash=dash, style=style))
    whole = scores.filter(pl.col("region") == "all")
    errors = whole.join(
        rows.select("arm", "class_index", "class_name").unique(), on=["arm", "class_index", "class_name"]
    )
    errors = errors.sort("ece", "arm", "kind")
    said = ", ".join(
        f"{arm} ({kind}) {ece:.4f}"
        for arm, kind, ece in errors.select("arm", "kind", "ece").head(6).iter_rows()
    )
    alt = f"Scores of {name} against how often they came true; expected calibration error: {said}."
    return Shown(f"reliability-{number}", f"Reliability: {name}", alt, figure, rows)


def _reliability_line(rows: pl.DataFrame, *, kind: str, dash: str, style: dict[str, str]) -> go.Scatter:
    return go.Scatter(
        x=rows["confidence"].to_list(),
        y=rows["frequency"].to_list(),
        name=style["text"] if kind == "raw" else f"{style['text']}, {kind}",
        mode="lines+markers",
        line={"color": style["colour"], "dash": dash, "width": 2},
        marker={"symbol": SYMBOLS[list(_KINDS).index(kind)], "size": 7},
        customdata=rows["pixels"].to_list(),
        hovertemplate="score %{x:.3f}: %{y:.3f} of %{customdata} pixels<extra></extra>",
    )


def _precision_recall(rows: pl.DataFrame, number: int) -> Shown:
    name = rows["class_name"][0]
    figure = empty_figure(x="recall", y="precision", showlegend=True)
    arms = rows["arm"].unique(maintain_order=True).to_list()
    for arm, style in styles(arms[:MOST_ARMS]).items():
        line = rows.filter(pl.col("arm") == arm)
        figure.add_trace(
            go.Scatter(
                x=line["recall"].round(5).to_list(),
                y=line["precision"].round(5).to_list(),
                name=style["text"],
                mode="lines",
                line={"color": style["colour"], "dash": style["dash"], "width": 2, "shape": "hv"},
                customdata=line["threshold"].to_list(),
                hovertemplate="p > %{customdata:.3g}: recall %{x:.3f}, precision %{y:.3f}<extra></extra>",
            )
        )
    figure.update_xaxes(range=[0, 1])
    figure.update_yaxes(range=[0, 1.02])
    alt = f"Precision against recall of {name} over all thresholds, pooled over images, for {len(arms)} arms."
    return Shown(f"precision-recall-{number}", f"Precision and recall: {name}", alt, figure, rows)


def _diagonal() -> go.Scatter:
    return go.Scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": COLOURS[-1], "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
