"""Everything a report shows, in its order: sections of figures and tables, for the page and the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import polars as pl

from segfocal.report.figures.calibration import counts_figure
from segfocal.report.figures.leaderboard import class_figure, heat_map_figure, leaderboard_figure
from segfocal.report.figures.learning import learning_figures
from segfocal.report.figures.paired import paired_figure, scatter_figure, verdict
from segfocal.report.figures.shown import Shown
from segfocal.report.figures.strength import strength_figures
from segfocal.report.pixel_views import calibration_parts, concentration_part
from segfocal.report.section import Section, Table
from segfocal.report.sources import Sources
from segfocal.report.tables.configs import arm_settings
from segfocal.report.tables.leaderboard import class_board, covered, heat_map, leaderboard, run_board
from segfocal.report.tables.learning import learning_curves
from segfocal.report.tables.paired import image_scores, paired
from segfocal.report.tables.provenance import class_counts, provenance
from segfocal.report.tables.scores import MEASURED
from segfocal.report.tables.strength import strength_table

MOST_COMPARISONS = 12
VIEWS = {  # what ``sections`` can show, and its title
    "leaderboard": "Leaderboard", "classes": "Classes", "comparisons": "Comparisons",
    "learning": "Learning curves", "strength": "Strength", "calibration": "Calibration",
    "concentration": "Loss concentration",
    "data": "Data", "settings": "Settings", "provenance": "Provenance",
}  # fmt: skip
_BOARD = (  # the columns of the table
    *("rank", "arm", "data", "runs", "images", "dice", "dice_low", "dice_high", "tuned_dice"),
    *(
        "dataset_dice",
        "iou",
        "dataset_iou",
        "worst_class",
        "worst_dice",
        "hd95",
        "distance_unit",
        "nsd",
        "lesion_f1",
        "froc",
        "cldice",
    ),
    *("aupr", "ece", "nll", "brier", "trainable", "parameters", "fit_s"),
)
_BANDS = "Means over the runs of an arm; bands show their range."


def sections(sources: Sources, *, only: str | None = None) -> list[Section]:
    """Return every part that has something to show.

    Args:
        sources: What was read.
        only: A key of ``VIEWS``: compute that part alone.

    Returns:
        Sections in reading order; one without figures and tables is left out.
    """
    runs = cache(lambda: run_board(sources.scores, sources.runs, scalars=sources.scalars))
    board = cache(lambda: leaderboard(runs(), known=sources.estimates()))
    curves = cache(lambda: learning_curves(sources.runs))
    parts: dict[str, Callable[[], list[Section]]] = {
        "leaderboard": lambda: [_ranking(sources, board())],
        "classes": lambda: [_classes(sources)],
        "comparisons": lambda: [_comparisons(sources)],
        "learning": lambda: [Section("learning", VIEWS["learning"], _BANDS, learning_figures(curves()))],
        "strength": lambda: [_strength(sources, board(), curves())],
        "calibration": lambda: calibration_parts(sources),
        "concentration": lambda: [concentration_part(sources)],
        "data": lambda: [_data(sources)],
        "settings": lambda: [_settings(sources)],
        "provenance": lambda: [_provenance(sources)],
    }
    found = [part for key, build in parts.items() if only in (None, key) for part in build()]
    return [section for section in found if section.figures or section.tables]


def _ranking(sources: Sources, board: pl.DataFrame) -> Section:
    if board.is_empty():
        return Section("leaderboard", "Leaderboard", "")
    means = "Intervals are Student's over seeds."
    if sources.estimates() is not None:
        means = "Means and intervals of the study's arms are those of `segfocal study report`."
    text = (
        f"Scores of the {sources.stage} split at {sources.threshold}: Dice of each image, averaged over "
        f"images, then classes ({covered(sources.scores)}), then seeds. {means} Runs that differ only in "
        f"their seed form one arm. Arms with different data are ranked apart. {sources.other_data()}"
    ).rstrip()
    known = [name for name in _BOARD if board[name].null_count() < board.height]
    return Section(
        "leaderboard",
        "Leaderboard",
        text,
        [leaderboard_figure(board)],
        [Table("leaderboard", "Arms, the best first", board.select(known))],
    )


def _classes(sources: Sources) -> Section:
    if sources.scores.is_empty():
        return Section("classes", "Classes", "")
    table = class_board(sources.scores)
    known = [name for name in (*MEASURED, "distance_unit") if table[name].null_count() < table.height]
    table = table.drop(name for name in (*MEASURED, "distance_unit") if name not in known)
    measured = " HD95, NSD, lesion F1 and clDice are means over images as well." if known else ""
    return Section(
        "classes",
        "Classes",
        f"Dice of each class, averaged over images: first of each arm, then of each run.{measured}",
        [class_figure(table), heat_map_figure(heat_map(sources.scores))],
        [Table("classes", "Arms and classes", table)],
    )


def _comparisons(sources: Sources) -> Section:
    """Every arm against the baseline that has the same data."""
    baseline = sources.baseline
    arms = sources.scores.select("arm").unique(maintain_order=True)["arm"].to_list()
    if baseline is None or len(arms) < 2:
        return Section("comparisons", "Comparisons", "")
    data = sources.data_of()
    others = [arm for arm in arms if arm != baseline and data[arm] == data[baseline]]
    apart = [arm for arm in arms if data[arm] != data[baseline]]
    values = image_scores(sources.scored_runs(), stage=sources.stage, tuned=sources.tuned)
    figures: list[Shown] = []
    rows = []
    for arm in others[:MOST_COMPARISONS]:
        pair = paired(values, arm=arm, baseline=baseline)
        if sources.study is not None and sources.stage == "test":
            known = sources.study.comparison(arm, baseline, tuned=sources.tuned)
            pair = pair if known is None else replace(pair, comparison=known)
        rows.append({"arm": arm, "baseline": baseline, "images": pair.images.height, "found": verdict(pair)})
        if pair.images.height:
            figures += [paired_figure(pair), scatter_figure(pair)]
    found = "not compared: other data, whose images are not the same"
    rows += [{"arm": arm, "baseline": baseline, "images": 0, "found": found} for arm in apart]
    left = f" The first {MOST_COMPARISONS} of {len(others)} arms." if len(others) > MOST_COMPARISONS else ""
    text = (
        f"Differences to {baseline}, image by image, seeds averaged. The interval treats seeds and clusters "
        "(patients, sequences; else images) as crossed random effects; the signed-rank test takes the seeds "
        f"as given. Exploratory: p values are not corrected for the number of arms.{left} "
        f"{sources.other_data()}"
    ).rstrip()
    tables = [Table("comparisons", "What was found", pl.DataFrame(rows))] if rows else []
    return Section("comparisons", "Comparisons", text, figures, tables)


def _strength(sources: Sources, board: pl.DataFrame, curves: pl.DataFrame) -> Section:
    table = strength_table(arm_settings(sources.runs), board, curves)
    text = "Arms that differ in one number and in nothing else but the seed."
    tables = [Table("strength", "Strengths", table)] if table.height else []
    return Section("strength", "Strength of a setting", text, strength_figures(table), tables)


def _data(sources: Sources) -> Section:
    counts = class_counts(sources.runs)
    if counts.is_empty():
        return Section("data", "Data", "")
    text = "Pixels of the training split, as the runs counted them."
    return Section("data", "Data", text, [counts_figure(counts)], [Table("class-counts", "Pixels", counts)])


def _settings(sources: Sources) -> Section:
    table = arm_settings(sources.runs, most=20)
    text = "Settings in which arms differ, by the first run of each; seeds are left out by construction."
    tables = [Table("settings", "Settings", table)] if table.height else []
    return Section("settings", "Settings", text, [], tables)


def _provenance(sources: Sources) -> Section:
    table = provenance(sources.runs)
    text = "What each run was made with. A commit with + had changes that were not committed."
    tables = [Table("provenance", "Runs", table)] if table.height else []
    return Section("provenance", "Provenance", text, [], tables)
