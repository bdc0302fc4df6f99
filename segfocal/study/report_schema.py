"""The tables of a report: every column with its meaning, as they stand in the CSV files and report.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

SCHEMA_VERSION = 1

_PLACE = {"dataset": "data set", "fraction": "share of the training groups", "arm": "arm"}
_MEAN = {
    "mean": "mean",
    "low": "lower end of its 95 % interval, cut to possible values; empty where one value alone gives none",
    "high": "upper end",
    "covers": "the variation the interval speaks for: seeds and clusters, clusters, seeds, nothing",
}
_EQUAL = (
    "seeds that repeat another one, with equal scores on every image, and do not count: they changed nothing "
    "(seed_keys of a data set names the keys that get a cell's seed)"
)
_WHAT = {
    "metric": "score: dice, iou, precision, recall per image, in scores averaged over images, classes, then "
    "seeds, in comparisons over each cluster's images, then seeds and clusters; dataset_... from counts "
    "summed over all images of a seed",
    "threshold": "fixed (0.5), tuned (on validation), or argmax",
    "class": "a class, or foreground: the mean over all classes but the background",
}

TABLES: Mapping[str, Mapping[str, str]] = {
    "scores": _PLACE
    | _WHAT
    | _MEAN
    | {
        "degrees_of_freedom": "of the interval",
        "seeds": "seeds in the mean",
        "clusters": "clusters in the mean",
        "seeds_equal": _EQUAL,
        "seeds_left_out": "seeds left out, because some of their clusters are missing",
        "clusters_left_out": "clusters left out, because some seeds miss them",
    },
    "comparisons": _PLACE
    | {"baseline": "the arm it is compared with", "role": "primary (named in advance) or exploratory"}
    | _WHAT
    | {
        "difference": "mean of arm minus baseline over the seeds and clusters that both have",
        "low": _MEAN["low"],
        "high": _MEAN["high"],
        "covers": _MEAN["covers"],
        "seeds": "seeds that both have",
        "clusters": "clusters that both have",
        "seeds_equal": _EQUAL,
        "seeds_left_out": "seeds that only one has, wholly or in part",
        "clusters_left_out": "clusters that only one has, or not for all seeds",
        "p": "Wilcoxon signed-rank on the clusters' seed-averaged differences, two-sided, unadjusted",
        "exact": "whether p counts all sign patterns (up to 100 clusters), not a normal approximation",
        "p_holm": "Holm-adjusted over the primary contrasts; empty for exploratory comparisons",
        "zeros": "clusters with a difference of 0, which the test leaves out",
        "smallest_p": "smallest p that this number of clusters allows (primary)",
        "strictest_level": "Holm's strictest level, 0.05 / number of primary contrasts (primary)",
        "decidable": "whether smallest_p can pass it (primary)",
        "wins": "clusters with a difference above 0",
        "ties": "clusters with none",
        "losses": "clusters with a difference below 0",
        "seed_share": "share of the seeds in the variance of a difference",
        "cluster_share": "share of the clusters",
        "residual_share": "share that neither explains",
        "clusters_needed": "clusters that would show this difference with power 0.8 at level 0.05, before "
        "correction, with these seeds; empty where no number would",
        "clusters_needed_corrected": "the same at Holm's strictest level (primary)",
        "seeds_needed": "seeds that would show it on these clusters, at level 0.05",
        "verdict": "better, worse (primary: Holm-adjusted p <= 0.05 and interval without 0); suggests "
        "better, suggests worse (exploratory); not resolved; undecidable; not tested; no data",
        "sentence": "the verdict in words (headline comparisons)",
    },
    "ranking": _PLACE
    | {
        "metric": "the study's metric, mean over the foreground classes",
        "threshold": _WHAT["threshold"],
        "first": "share of bootstrap samples of clusters in which the arm has the highest mean",
        "rank": "mean rank over the samples, 1 the best",
        "seeds": "seeds that all arms have",
        "clusters": "clusters that all arms have",
        "samples": "bootstrap samples",
    },
    "training": _PLACE
    | {
        "name": "what metrics.csv calls it, its last value; gap/dataset_dice is train/ minus val/",
        **_MEAN,
        "seeds": "seeds in the mean, without repeats; folds of a seed are averaged first",
        "cells": "trainings that logged it",
    },
    "calibration": _PLACE
    | {
        "kind": "raw scores, posterior (the focal loss undone), temperature (scaled on validation)",
        "region": "all pixels, foreground (labelled with the class), band (5 pixels around its boundary)",
        "class": "a class, or mean: over all classes but the background",
        "score": "ece (15 equal-width bins), brier, nll (nats); pooled over the pixels of a seed's images",
        **_MEAN,
        "seeds": "seeds in the mean",
        "status": "measured; not valid for this loss; not fitted; not recorded",
    },
    "times": _PLACE
    | {
        "cells": "finished trainings",
        "mean_s": "mean seconds of a cell, tests included",
        "lowest_s": "the fastest",
        "highest_s": "the slowest",
        "total_s": "sum",
        "fit_s": "mean seconds of training alone (run.json)",
    },
    "cells": {
        "id": "cell",
        **_PLACE,
        "seed": "seed",
        "fold": "test fold",
        "status": "done, failed, missing (not finished), unusable (done, but without readable test rows)",
        "reason": "why not done",
        "seconds": "wall time",
    },
}


def complete(rows: Iterable[Mapping[str, Any]], table: str) -> list[dict[str, Any]]:
    """Return rows with exactly the columns of a table, in its order, None where a row has no value.

    Numbers keep ten digits: sums in another order differ in the last bits, a report should not.

    Args:
        rows: Mappings with some of the columns.
        table: A key of ``TABLES``.

    Example:
        >>> complete([{"cells": 2, "arm": "ce"}], "times")[0]["mean_s"] is None
        True
    """
    columns = TABLES[table]
    found = [{key: _short(value) for key, value in row.items()} for row in rows]
    unknown = {key for row in found for key in row if key not in columns}
    assert not unknown, f"{table} has no column {unknown}"
    return [{column: row.get(column) for column in columns} for row in found]


def _short(value: Any) -> Any:
    return float(f"{value:.10g}") if isinstance(value, float) else value
