"""What a comparison shows, in one word and in a sentence that claims no more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from segfocal.runs.comparison import Comparison
from segfocal.runs.signedrank import fewest_clusters, is_decidable

LEVEL = 0.05
_NAMES = {"dice": "Dice", "iou": "IoU", "precision": "precision", "recall": "recall"}

Verdict = Literal[
    "better", "worse", "suggests better", "suggests worse", "not resolved", "undecidable", "no data"
]


def verdict(found: Comparison | None, *, p_value: float | None, contrasts: int) -> Verdict:
    """Return what can be said of an arm against its baseline.

    "better" and "worse" need both: a primary contrast's Holm-adjusted p of at most 5 %, and an interval,
    which lets seeds and clusters vary, without 0. The test alone takes the seeds as given, the interval alone
    makes no allowance for several contrasts. Exploratory comparisons only "suggest".

    Args:
        found: The comparison; None where no seed and cluster are common.
        p_value: Adjusted for a primary contrast, as it is for an exploratory one.
        contrasts: Primary contrasts named in advance; 0 for an exploratory comparison.

    Returns:
        The word. "undecidable": with these clusters no outcome could pass Holm's strictest level.
    """
    if found is None:
        return "no data"
    if contrasts and not is_decidable(found.test.clusters, contrasts=contrasts, level=LEVEL):
        return "undecidable"
    if p_value is None or p_value > LEVEL or not found.interval.excludes_zero:
        return "not resolved"
    if contrasts:
        return "better" if found.interval.mean > 0 else "worse"
    return "suggests better" if found.interval.mean > 0 else "suggests worse"


def sentence(row: Mapping[str, Any]) -> str:
    """Return what a row of comparisons says, with size, interval, test, and what would be needed.

    Args:
        row: Of the table ``comparisons`` (see ``segfocal.study.report_schema``).

    Returns:
        One or two sentences without line breaks.
    """
    head = f"{row['arm']} - {row['baseline']} on {row['dataset']}{_fraction(row)}: "
    if row["verdict"] == "no data":
        return head + "no seed and image that both arms finished."
    size = f"{signed(row['difference'])} {_NAMES[row['metric']]} points"
    interval = "" if row["low"] is None else f" {bounds(row)}"
    adjusted = "" if row["p_holm"] is None else f" (Holm {short_p(row['p_holm'])})"
    p = short_p(row["p"])
    equal = "" if p.startswith("<") else "= "
    text = f"{head}{size}{interval}, p {equal}{p}{adjusted}: {_claim(row)}."
    if row["seeds"] == 1:
        text += " One seed only: other seeds may differ by more than the interval says."
    return text


def short_p(value: float) -> str:
    """Return p with two digits.

    Example:
        >>> short_p(0.03), short_p(0.0078125), short_p(7.5e-9), short_p(1.0)
        ('.03', '.0078', '< .001', '1')
    """
    if value < 0.001:
        return "< .001"
    text = f"{value:.2g}"
    return text[1:] if text.startswith("0.") else text


def signed(value: float) -> str:
    """Return a difference of scores in points, hundredths of the score, with its sign.

    Example:
        >>> signed(0.008), signed(-0.0123), signed(0.0004)
        ('+0.8', '-1.2', '+0.04')
    """
    points = 100 * value
    return f"{points:+.2f}" if 0 < abs(points) < 0.1 else f"{points:+.1f}"


def bounds(row: Mapping[str, Any]) -> str:
    """Return the interval of a row in points, as ``[0.1, 1.5]``."""
    return f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def _fraction(row: Mapping[str, Any]) -> str:
    return "" if row["fraction"] == 1 else f" ({100 * row['fraction']:g} % of the training groups)"


def _claim(row: Mapping[str, Any]) -> str:
    units = _units(row)
    if row["verdict"] in ("better", "worse"):
        return f"{row['arm']} is {row['verdict']}, over {units} ({_tally(row)})"
    if row["verdict"].startswith("suggests"):
        said = f"exploratory, suggests that {row['arm']} is {row['verdict'].split()[1]}"
        return f"{said}, over {units} ({_tally(row)})"
    if row["verdict"] == "undecidable":
        fewest = fewest_clusters(row["strictest_level"])
        return (
            f"undecidable, {row['clusters']} clusters allow no p below {short_p(row['smallest_p'])} "
            f"and {short_p(row['strictest_level'])} is needed (at least {fewest} clusters)"
        )
    return f"not resolved with {units}; {_needed(row)}"


def _needed(row: Mapping[str, Any]) -> str:
    clusters, seeds = row["clusters_needed"], row["seeds_needed"]
    if row["difference"] == 0:
        return "no difference was seen"
    if clusters is not None and clusters > row["clusters"]:
        corrected = row["clusters_needed_corrected"]
        after = "" if corrected in (None, clusters) else f", {_round(corrected)} after correction"
        return f"about {_round(clusters)} clusters would be needed{after}"
    if seeds is not None and seeds > row["seeds"]:
        return f"the seeds differ too much, about {_round(seeds)} would be needed"
    if clusters is None and seeds is None and row["seeds"] > 1:
        return "neither more clusters nor more seeds alone would show so small a difference"
    corrected = row["clusters_needed_corrected"]
    if corrected is not None and corrected > row["clusters"]:
        return f"about {_round(corrected)} clusters would be needed after correction"
    return "more seeds would be needed"


def _units(row: Mapping[str, Any]) -> str:
    return f"{row['clusters']} clusters and {row['seeds']} seed{'s' if row['seeds'] != 1 else ''}"


def _tally(row: Mapping[str, Any]) -> str:
    return f"{row['wins']} wins, {row['ties']} ties, {row['losses']} losses"


def _round(count: int) -> str:
    """Two digits: more would pretend to know the variance."""
    if count < 100:
        return str(count)
    step = 10 ** (int(math.log10(count)) - 1)
    return f"{math.ceil(count / step) * step:,}"
