"""Each arm against its baseline: the primary contrasts, and everything else as exploration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from segfocal.errors import SegfocalError, nearest
from segfocal.runs.comparison import Comparison
from segfocal.runs.signedrank import holm, is_decidable, smallest_p
from segfocal.study.collect import Collection
from segfocal.study.collect_scores import Scores
from segfocal.study.document import METRICS
from segfocal.study.report_differences import comparison_columns, dataset_difference, image_difference
from segfocal.study.report_schema import complete
from segfocal.study.report_verdict import LEVEL, sentence, verdict

Places = Mapping[tuple[str, float], Scores]
Row = dict[str, Any]


def comparison_rows(found: Collection, places: Places) -> list[Row]:
    """Compare every arm with its baseline, by every score.

    Primary are the contrasts of the plan, by the study's metric, mean over the foreground classes, at the
    threshold that ``primary_threshold`` names: their p is Holm-adjusted over all of them, also those without
    data. All else is exploratory: its p is as it comes out of the test.

    Args:
        found: The study.
        places: Scores by data set and fraction.

    Returns:
        Rows of the table ``comparisons``: the primary ones in the order of the plan, then the others by data
        set, fraction, arm, baseline, threshold, class and score.

    Raises:
        SegfocalError: Where the study's metric is no score per image.
    """
    if found.metric not in METRICS:
        near = nearest(found.metric, METRICS)
        raise SegfocalError(
            f"a study's metric must be one of {', '.join(METRICS)}, got {found.metric!r}.{near}"
        )
    primary = [_primary(found, contrast, places) for contrast in found.contrasts]
    adjusted = holm([None if result is None else result.test.p_value for _, result in primary])
    rows = [
        _judged(row, result, p_holm=p, contrasts=len(primary))
        for (row, result), p in zip(primary, adjusted, strict=True)
    ]
    taken = {_key(row) for row in rows}
    return rows + [row for row in _exploratory(found, places, taken) if _key(row) not in taken]


def primary_threshold(scores: Scores, *arms: str) -> str:
    """Return the operating point at which arms are compared first.

    Args:
        scores: Of the data set and fraction.
        *arms: Names.

    Returns:
        "tuned" where all of them have it for all that they tested, since that is where a network is used;
        else "fixed" (0.5) or "argmax".
    """
    kinds = [kind for kind in ("fixed", "argmax", "tuned") if kind in scores.counts]
    if kinds[-1] != "tuned" or len(kinds) == 1:
        return kinds[0]
    at = [scores.arms.index(name) for name in arms if name in scores.arms]
    tuned, plain = (np.isfinite(scores.counts[kind][at]) for kind in ("tuned", kinds[0]))
    return "tuned" if bool((tuned == plain).all()) else kinds[0]


def _primary(found: Collection, contrast: Mapping[str, Any], places: Places) -> tuple[Row, Comparison | None]:
    arm, baseline = str(contrast["arm"]), str(contrast["baseline"])
    dataset, fraction = str(contrast["dataset"]), float(contrast["fraction"])
    scores = places.get((dataset, fraction))
    kind = None if scores is None else primary_threshold(scores, arm, baseline)
    row = {"dataset": dataset, "fraction": fraction, "arm": arm, "baseline": baseline, "role": "primary"}
    row |= {"metric": found.metric, "threshold": kind, "class": "foreground"}
    if scores is None or kind is None or not {arm, baseline} <= set(scores.arms):
        return row, None
    pair = {"arm": arm, "baseline": baseline, "threshold": kind}
    row["seeds_equal"] = len(scores.seeds) - len(scores.distinct(arm, baseline))
    return row, image_difference(scores, **pair, metric=found.metric, index=None)


def _exploratory(found: Collection, places: Places, taken: set[tuple[Any, ...]]) -> Iterator[Row]:
    """All pairs with the study's baseline, and those of the primary contrasts, by every score."""
    pairs = {key[:4] for key in taken}
    for (dataset, fraction), scores in places.items():
        for arm in scores.arms:
            for other in scores.arms:
                named = other == found.baseline or (dataset, fraction, arm, other) in pairs
                if other != arm and named:
                    where = {"dataset": dataset, "fraction": fraction, "arm": arm, "baseline": other}
                    where["seeds_equal"] = len(scores.seeds) - len(scores.distinct(arm, other))
                    yield from _pair_rows(found, scores, where)


def _pair_rows(found: Collection, scores: Scores, where: Row) -> Iterator[Row]:
    pair = {"arm": where["arm"], "baseline": where["baseline"]}
    headline = (primary_threshold(scores, *pair.values()), "foreground", found.metric)
    for kind in scores.values:
        for name, index in scores.class_choices.items():
            for metric in METRICS:
                row = where | {"role": "exploratory", "metric": metric, "threshold": kind, "class": name}
                result = image_difference(scores, **pair, threshold=kind, metric=metric, index=index)
                yield _judged(row, result, words=(kind, name, metric) == headline)
            for metric in METRICS:
                row = where | {"role": "exploratory", "metric": f"dataset_{metric}"}
                columns = dataset_difference(scores, **pair, threshold=kind, metric=metric, index=index)
                said = "not tested" if columns else "no data"
                yield from complete(
                    [row | {"threshold": kind, "class": name, "verdict": said} | columns], "comparisons"
                )


def _judged(
    row: Row,
    result: Comparison | None,
    *,
    p_holm: float | None = None,
    contrasts: int = 0,
    words: bool = True,
) -> Row:
    """Add what a comparison shows; ``contrasts`` 0: it is exploratory."""
    p = None if result is None else result.test.p_value
    said = verdict(result, p_value=p_holm if contrasts else p, contrasts=contrasts)
    row = row | ({} if result is None else comparison_columns(result)) | {"p_holm": p_holm, "verdict": said}
    if contrasts:
        row["strictest_level"] = LEVEL / contrasts
        if result is not None:
            row["smallest_p"] = smallest_p(result.test.clusters)
            row["decidable"] = is_decidable(result.test.clusters, contrasts=contrasts, level=LEVEL)
            row["clusters_needed_corrected"] = result.clusters_needed(level=LEVEL / contrasts)
    whole = complete([row], "comparisons")[0]
    return whole | {"sentence": sentence(whole) if words else None}


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    keys = ("dataset", "fraction", "arm", "baseline", "metric", "threshold", "class")
    return tuple(row[key] for key in keys)
