"""What is seen of pixels: calibration, precision and recall, and which of them carry the loss."""

from __future__ import annotations

import polars as pl

from segfocal.report.figures.calibration import precision_recall_figures, reliability_figures
from segfocal.report.figures.concentration import concentration_figures
from segfocal.report.section import Section, Table
from segfocal.report.sources import Sources
from segfocal.report.tables.calibration import calibration_scores, precision_recall, reliability
from segfocal.report.tables.concentration import TABLED, absent, concentration


def calibration_parts(sources: Sources) -> list[Section]:
    """Return calibration, and precision and recall.

    Args:
        sources: What was read.

    Returns:
        Two sections, empty ones where runs hold no bins.
    """
    runs = sources.scored_runs()
    bins = reliability(runs, stage=sources.stage)
    curve = precision_recall(runs, stage=sources.stage)
    scores = calibration_scores(runs, stage=sources.stage)
    title = "Calibration error, Brier score and likelihood"
    tables = [Table("calibration", title, scores)] if scores.height else []
    text = (
        "Curves: all pixels, pooled over images and seeds, in 15 bins. Table: pooled over the images "
        "of each run, averaged over runs; of all pixels, the class's own (foreground) and those near its "
        "boundary (band). NLL and Brier score are exact sums, each class against the rest. Raw scores of a "
        "focal loss are no posteriors; where a run holds its read-out or a temperature-scaled version, it is "
        "drawn beside."
    )
    pooled = "Pooled over all pixels of all images and seeds; raw scores."
    return [
        Section("calibration", "Calibration", text, reliability_figures(bins, scores), tables),
        Section("precision-recall", "Precision and recall", pooled, precision_recall_figures(curve)),
    ]


def concentration_part(sources: Sources) -> Section:
    """Return which pixels carry the loss, and which runs cannot say it.

    Args:
        sources: What was read.

    Returns:
        A section, empty where no run was scored with it.
    """
    runs = sources.scored_runs()
    shares, reasons = concentration(runs, stage=sources.stage), absent(runs)
    text = (
        "The share of the loss that the hardest pixels carry, positives and negatives apart, at the end of "
        "training; averaged over the runs of an arm. Each arm is judged by its own pixel loss before the "
        "reduction, of a sum of losses by its pixel loss alone."
    )
    told = shares.filter(pl.col("hardest").is_in(TABLED))
    tables = [Table("concentration", "Shares of the loss", told)] if told.height else []
    if reasons.height:
        tables.append(Table("concentration-absent", "Runs without a loss per pixel", reasons))
    return Section("concentration", "Loss concentration", text, concentration_figures(shares), tables)
