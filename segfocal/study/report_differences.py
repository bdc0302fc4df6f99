"""The difference of two arms by one score: per image with a test, and of summed counts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from segfocal.runs.comparison import Comparison, compare
from segfocal.runs.complete import complete_block
from segfocal.runs.intervals import Interval, crossed_interval
from segfocal.runs.jackknife import pseudo_values
from segfocal.runs.scores import all_scores
from segfocal.study.collect_scores import Array, Scores

Row = dict[str, Any]


def image_difference(
    scores: Scores, *, arm: str, baseline: str, threshold: str, metric: str, index: int | None
) -> Comparison | None:
    """Compare two arms by a score per image, paired by seed, image and class before any averaging.

    Args:
        scores: Of the data set and fraction.
        arm: The arm.
        baseline: What it is compared with.
        threshold: A kind of threshold.
        metric: "dice", "iou", "precision" or "recall".
        index: Of a class; None for the mean over the foreground classes.

    Returns:
        The comparison, None where they have no seed and cluster in common.
    """
    table = scores.values[threshold][metric][:, scores.distinct(arm, baseline)]
    difference = table[scores.arms.index(arm)] - table[scores.arms.index(baseline)]
    return compare(scores.by_cluster(scores.of_class(difference, index)))


def comparison_columns(found: Comparison) -> Row:
    """Return a comparison as columns of the table ``comparisons``."""
    parts, test = found.interval, found.test
    return limited(interval_columns(parts, name="difference"), low=-1.0, high=1.0) | {
        "seeds_left_out": found.seeds_left_out,
        "clusters_left_out": found.clusters_left_out,
        "p": test.p_value,
        "exact": test.exact,
        "zeros": test.zeros,
        "wins": found.wins,
        "ties": found.ties,
        "losses": found.losses,
        "clusters_needed": found.clusters_needed(),
        "seeds_needed": found.seeds_needed(),
        **{f"{source}_share": number(share) for source, share in parts.shares.items()},
    }


def dataset_difference(
    scores: Scores, *, arm: str, baseline: str, threshold: str, metric: str, index: int | None
) -> Row:
    """Compare two arms by a score of summed counts, whose spread over clusters is the jackknife's.

    Args:
        scores: As ``image_difference``, and the others.
        arm: The arm.
        baseline: What it is compared with.
        threshold: A kind of threshold.
        metric: "dice", "iou", "precision" or "recall", without ``dataset_``.
        index: Of a class; None for the mean over the foreground classes.

    Returns:
        Columns of the table ``comparisons``, none where there is nothing in common.
    """
    pair = [scores.arms.index(arm), scores.arms.index(baseline)]
    counts = scores.counts[threshold][pair][:, scores.distinct(arm, baseline)]
    found = _dataset_interval(scores, counts, metric=metric, index=index, signs=(1.0, -1.0))
    if found is None:
        return {}
    return limited(interval_columns(found[0], name="difference"), low=-1.0, high=1.0) | found[1]


def dataset_mean(scores: Scores, *, arm: str, threshold: str, metric: str, index: int | None) -> Row:
    """Return the mean of an arm's score of summed counts over seeds, as columns of the table ``scores``."""
    counts = scores.counts[threshold][[scores.arms.index(arm)]][:, scores.distinct(arm)]
    found = _dataset_interval(scores, counts, metric=metric, index=index, signs=(1.0,))
    if found is None:
        return {}
    columns = limited(interval_columns(found[0], name="mean"), low=0.0, high=1.0) | found[1]
    return columns | {"degrees_of_freedom": number(found[0].degrees_of_freedom)}


def interval_columns(found: Interval, *, name: str) -> Row:
    """Return an interval as columns, its mean under ``name``."""
    ends = {"low": number(found.low), "high": number(found.high), "covers": found.covers}
    return {name: found.mean, **ends, "seeds": found.seeds, "clusters": found.clusters}


def limited(row: Row, *, low: float, high: float) -> Row:
    """Cut an interval to the values that are possible: few seeds make it reach beyond, and it loses nothing.

    Example:
        >>> limited({"mean": 0.5, "low": -0.2, "high": 0.9}, low=0.0, high=1.0)
        {'mean': 0.5, 'low': 0.0, 'high': 0.9}
    """
    ends = {key: min(max(row[key], low), high) for key in ("low", "high") if row.get(key) is not None}
    return row | ends


def number(value: float) -> float | None:
    """Return a number, None for NaN and infinities."""
    return value if math.isfinite(value) else None


def _dataset_interval(
    scores: Scores, counts: Array, *, metric: str, index: int | None, signs: tuple[float, ...]
) -> tuple[Interval, Row] | None:
    """Interval of the signed sum over the first axis of (arms, seeds, clusters, classes, 3).

    None where no seed has that score: a class in no image, found nowhere. Where a class is gone without one
    of the clusters, the jackknife tells nothing of the spread, and there is a mean without an interval.
    """
    known = np.isfinite(counts).all(axis=(0, -2, -1))
    seeds, clusters = complete_block(known)
    if not len(seeds):
        return None
    block = counts[:, seeds][:, :, clusters]

    def score(total: Array) -> Array:
        tp, fp, fn = np.moveaxis(total, -1, 0)
        return scores.of_class(all_scores(tp, fp, fn)[metric], index)

    whole, spread = np.zeros(len(seeds)), np.zeros((len(seeds), len(clusters)))
    for sign, side in zip(signs, block, strict=True):
        own, parts = pseudo_values(side, score)
        whole, spread = whole + sign * own, spread + sign * parts
    scored = np.isfinite(whole)
    if not scored.any():
        return None
    left = {"seeds_left_out": known.shape[0] - int(scored.sum())}
    left |= {"clusters_left_out": known.shape[1] - len(clusters)}
    mean, spread = float(whole[scored].mean()), spread[scored]
    if np.isfinite(spread).all():
        return crossed_interval(spread, centre=mean), left
    alone = crossed_interval([[mean]])
    return replace(alone, seeds=spread.shape[0], clusters=spread.shape[1]), left
