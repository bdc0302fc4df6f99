"""What each arm reached: means with intervals, and how stable the order of the arms is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segfocal.runs.complete import complete_block
from segfocal.runs.intervals import crossed_interval
from segfocal.runs.ranking import rank_stability
from segfocal.study.collect import Collection
from segfocal.study.collect_scores import Scores
from segfocal.study.document import METRICS
from segfocal.study.report_comparisons import primary_threshold
from segfocal.study.report_differences import dataset_mean, interval_columns, limited, number

Places = Mapping[tuple[str, float], Scores]
Row = dict[str, Any]


def score_rows(places: Places) -> list[Row]:
    """Return every score of every arm with its interval.

    Means are over images, then over classes; intervals are around them, as wide as clusters and seeds
    spread. An arm's own seeds and clusters count, so that means of arms with different ones are not compared
    with one another: that is what ``comparisons`` are for.

    Args:
        places: Scores by data set and fraction.

    Returns:
        Rows of the table ``scores``, by data set, fraction, threshold, class, score and arm; none for a class
        that an arm was never scored on.
    """
    rows: list[Row] = []
    for (dataset, fraction), scores in places.items():
        own = {arm: scores.distinct(arm) for arm in scores.arms}
        for kind in scores.values:
            for name, index in scores.class_choices.items():
                for metric in METRICS:
                    for level in (metric, f"dataset_{metric}"):
                        what = {"metric": level, "threshold": kind, "class": name}
                        for place, arm in enumerate(scores.arms):
                            columns = (
                                _image_mean(scores, own[arm], place, kind=kind, metric=metric, index=index)
                                if level == metric
                                else dataset_mean(scores, arm=arm, threshold=kind, metric=metric, index=index)
                            )
                            where = {"dataset": dataset, "fraction": fraction, "arm": arm}
                            where["seeds_equal"] = len(scores.seeds) - len(own[arm])
                            rows += [{**where, **what, **columns}] if columns else []
    return rows


def ranking_rows(found: Collection, places: Places) -> list[Row]:
    """Return how often each arm ranks first over bootstrap samples of clusters.

    Args:
        found: The study.
        places: Scores by data set and fraction.

    Returns:
        Rows of the table ``ranking``; without ``first`` and ``rank`` where the arms have no seed and cluster
        in common.
    """
    rows: list[Row] = []
    for (dataset, fraction), scores in places.items():
        kind = primary_threshold(scores, *scores.arms)
        table = scores.by_cluster(scores.of_class(scores.values[kind][found.metric], None))[
            :, scores.distinct(*scores.arms)
        ]
        ranked = rank_stability(table)
        for place, arm in enumerate(scores.arms):
            row = {"dataset": dataset, "fraction": fraction, "arm": arm}
            row |= {"metric": found.metric, "threshold": kind}
            if ranked is not None:
                row |= {"first": float(ranked.first[place]), "rank": float(ranked.rank[place])}
                row |= {"seeds": ranked.seeds, "clusters": ranked.clusters, "samples": ranked.samples}
            rows.append(row)
    return rows


def _image_mean(
    scores: Scores, own: NDArray[np.intp], place: int, *, kind: str, metric: str, index: int | None
) -> Row:
    """Mean over the seeds of an arm that tested every image, also where a score of an image is undefined."""
    tested = np.isfinite(scores.counts[kind][place][own]).all(axis=(-2, -1))
    seeds, _ = complete_block(tested)
    table = scores.values[kind][metric][place][own][seeds]
    means = scores.mean(table, index) if len(seeds) else np.full(0, np.nan)
    if not np.isfinite(means).any():
        return {}
    centre = float(np.nanmean(means))
    values = scores.by_cluster(scores.of_class(table, index))
    rows, clusters = complete_block(np.isfinite(values))
    block = values[np.ix_(rows, clusters)] if len(rows) else np.array([[centre]])
    found = crossed_interval(block, centre=centre)
    return limited(interval_columns(found, name="mean"), low=0.0, high=1.0) | {
        "degrees_of_freedom": number(found.degrees_of_freedom),
        "seeds": int(np.isfinite(means).sum()),
        "seeds_left_out": len(own) - int(np.isfinite(means).sum()),
        "clusters_left_out": values.shape[1] - len(clusters),
    }
