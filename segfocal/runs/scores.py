"""Scores from counts, with the empty-mask policy spelled out.

Where a mask is empty, tools disagree; ``empty`` names the choice for every score here. "Reference empty"
means tp + fn = 0, "prediction empty" tp + fp = 0:

=========== ============================== ================================ =============================
``empty``   both empty                     reference empty, prediction not  prediction empty, reference not
=========== ============================== ================================ =============================
``one``     1 (as MetricsReloaded)         0                                0
``nan``     NaN: left out (as nnU-Net v2)  0                                0
``exclude`` NaN: left out                  NaN: false positives go free     0
=========== ============================== ================================ =============================

``nan`` is the default everywhere, ``exclude`` is MONAI's. Where exactly one mask is empty every score is 0,
precision and recall too, though one of them divides 0 by 0.

A class of which no image holds a pixel has no mean over images (but under ``one``): false positives alone
tell nothing about how it is found. A mean over classes leaves out the background (``mean_over_classes``).
The one definition of Dice, for users: ``docs/scores.md``.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from segfocal.errors import check_choice, check_range

Empty = Literal["one", "nan", "exclude"]
Scores = NDArray[np.float64]


def dice(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, *, empty: Empty = "nan") -> Scores:
    """Dice coefficient, 2 tp / (2 tp + fp + fn).

    Args:
        tp: True positives, any shape; numpy arrays, polars columns, lists or numbers.
        fp: False positives, same shape.
        fn: False negatives, same shape.
        empty: What empty masks score: see the table at the top of this module. By default NaN where
            both masks are empty and 0 where only one is.

    Returns:
        float64 of the same shape, NaN where the policy leaves the case out.

    Example:
        >>> dice([8, 0, 0], [2, 0, 5], [4, 0, 0]).round(3).tolist()
        [0.727, nan, 0.0]
    """
    return f_beta(tp, fp, fn, beta=1.0, empty=empty)


def f_beta(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, *, beta: float, empty: Empty = "nan") -> Scores:
    """F-beta, (1 + beta^2) tp / ((1 + beta^2) tp + fp + beta^2 fn); args as ``dice``.

    Args:
        tp: True positives.
        fp: False positives.
        fn: False negatives.
        beta: Above 1 favours recall, below 1 precision.
        empty: What empty masks score.

    Returns:
        float64 of the same shape.

    Example:
        >>> f_beta(8, 2, 4, beta=2.0).round(3).item()
        0.69
    """
    check_range("beta", beta, low=0.0, open_low=True)
    hits, extra, missed = _counts(tp, fp, fn)
    square = beta * beta
    found = (1 + square) * hits
    return _score(found, found + extra + square * missed, hits, extra, missed, empty=empty)


def iou(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, *, empty: Empty = "nan") -> Scores:
    """Intersection over union, tp / (tp + fp + fn). Args as ``dice``.

    Example:
        >>> iou(8, 2, 4).round(3).item()
        0.571
    """
    hits, extra, missed = _counts(tp, fp, fn)
    return _score(hits, hits + extra + missed, hits, extra, missed, empty=empty)


def precision(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, *, empty: Empty = "nan") -> Scores:
    """Precision, tp / (tp + fp); ``fn`` tells which masks are empty. Args as ``dice``.

    Example:
        >>> precision(8, 2, 4).item()
        0.8
    """
    hits, extra, missed = _counts(tp, fp, fn)
    return _score(hits, hits + extra, hits, extra, missed, empty=empty)


def recall(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, *, empty: Empty = "nan") -> Scores:
    """Recall, tp / (tp + fn); ``fp`` tells which masks are empty. Args as ``dice``.

    Example:
        >>> recall(8, 2, 4).round(3).item()
        0.667
    """
    hits, extra, missed = _counts(tp, fp, fn)
    return _score(hits, hits + missed, hits, extra, missed, empty=empty)


def all_scores(
    tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, *, empty: Empty = "nan", beta: float | None = None
) -> dict[str, Scores]:
    """Every score by name: dice, iou, precision, recall and, where ``beta`` is given, ``f<beta>``.

    Example:
        >>> sorted(all_scores(1, 1, 1, beta=2.0))
        ['dice', 'f2', 'iou', 'precision', 'recall']
    """
    scores = {score.__name__: score(tp, fp, fn, empty=empty) for score in (dice, iou, precision, recall)}
    if beta is not None:
        scores[f"f{beta:g}"] = f_beta(tp, fp, fn, beta=beta, empty=empty)
    return scores


def image_level(
    tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, *, empty: Empty = "nan", beta: float | None = None
) -> dict[str, Scores]:
    """Scores of each image, then their mean over images, per class.

    Args:
        tp: True positives, shape (images, classes).
        fp: False positives, same shape.
        fn: False negatives, same shape.
        empty: What empty masks score; images that are left out are not in the denominator.
        beta: Adds F-beta.

    Returns:
        Score name to shape (classes,); NaN for a class of which no image counts, or none holds a pixel.

    Example:
        >>> image_level([[8], [1]], [[2], [0]], [[4], [0]])["dice"].round(3).tolist()
        [0.864]
    """
    scores = all_scores(tp, fp, fn, empty=empty, beta=beta)
    absent = without_reference(tp, fn, empty=empty)
    means = {name: mean_ignoring_nan(values, axis=0) for name, values in scores.items()}
    return {name: np.where(absent, np.nan, values) for name, values in means.items()}


def without_reference(tp: ArrayLike, fn: ArrayLike, *, empty: Empty) -> NDArray[np.bool_]:
    """Return which classes have no mean over images, since no image holds a pixel of them.

    Args:
        tp: True positives, shape (images, classes).
        fn: False negatives, same shape.
        empty: What empty masks score; under "one" every class has a mean.

    Example:
        >>> without_reference([[8, 0], [1, 0]], [[4, 0], [0, 0]], empty="nan").tolist()
        [False, True]
    """
    reference = np.sum(np.asarray(tp) + np.asarray(fn), axis=0)
    return np.asarray((reference == 0) & (empty != "one"))


def dataset_level(
    tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, *, empty: Empty = "nan", beta: float | None = None
) -> dict[str, Scores]:
    """Counts summed over all images, then divided, per class; args and shapes as ``image_level``.

    The policy applies to the summed counts: an image without reference adds its false positives under any.

    Example:
        >>> dataset_level([[8], [1]], [[2], [0]], [[4], [0]])["dice"].round(3).tolist()
        [0.75]
    """
    sums = [np.sum(counts, axis=0) for counts in _counts(tp, fp, fn)]
    return all_scores(*sums, empty=empty, beta=beta)


def mean_ignoring_nan(values: ArrayLike, *, axis: int = 0) -> Scores:
    """Mean of the values that are not NaN along an axis, NaN where there are none.

    Example:
        >>> mean_ignoring_nan([[1.0, float("nan")], [0.0, float("nan")]]).tolist()
        [0.5, nan]
    """
    array = np.asarray(values, dtype=np.float64)
    present = ~np.isnan(array)
    return _divide(np.where(present, array, 0.0).sum(axis=axis), present.sum(axis=axis))


def mean_over_classes(values: ArrayLike, *, background: int | None) -> float:
    """Mean over classes but the background, NaN ones left out; NaN where nothing is left.

    Args:
        values: One per class.
        background: Number of the class that does not count; None: all count.

    Example:
        >>> mean_over_classes([0.99, 0.5, float("nan")], background=0)
        0.5
    """
    array = np.asarray(values, dtype=np.float64)
    kept = array if background is None else np.delete(array, background)
    return float(mean_ignoring_nan(kept))


def _counts(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> tuple[Scores, Scores, Scores]:
    return np.asarray(tp, np.float64), np.asarray(fp, np.float64), np.asarray(fn, np.float64)


def _score(
    top: Scores, bottom: Scores, hits: Scores, extra: Scores, missed: Scores, *, empty: Empty
) -> Scores:
    check_choice("empty", empty, get_args(Empty))
    reference_empty, prediction_empty = hits + missed == 0, hits + extra == 0
    scores = np.where(reference_empty | prediction_empty, 0.0, _divide(top, bottom))
    scores = np.where(reference_empty & prediction_empty, 1.0 if empty == "one" else np.nan, scores)
    return np.where(reference_empty, np.nan, scores) if empty == "exclude" else scores


def _divide(top: ArrayLike, bottom: ArrayLike) -> Scores:
    """Quotient in float64, NaN where the denominator is 0, without numpy's warning."""
    numerator, denominator = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    quotient: Scores = np.full(denominator.shape, np.nan)
    return np.divide(numerator, denominator, out=quotient, where=denominator != 0)
