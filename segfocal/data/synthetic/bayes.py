"""What the known posterior allows at best, and what an intensity threshold reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.data.module import Split
from segfocal.data.synthetic.data import SyntheticData
from segfocal.data.synthetic.source import SyntheticSource

Counts = npt.NDArray[np.int64]


def dice_decision(posterior: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Choose the pixels that maximise the expected Dice of one mask.

    Expected Dice is taken as the ratio of expectations, 2 sum_S q / (|S| + sum q), whose best set S is a
    level set of q.

    Args:
        posterior: Probabilities q of any shape.

    Returns:
        The set S, same shape; empty where all q are 0.

    Source:
        Lipton, Elkan and Naryanaswamy, "Optimal Thresholding of Classifiers to Maximize F1 Measure", 2014:
        the threshold is half the optimal score.

    Example:
        >>> dice_decision(np.array([0.9, 0.5, 0.4, 0.0])).tolist()
        [True, True, True, False]
    """
    ordered = np.sort(posterior.ravel().astype(np.float64))[::-1]
    gained = np.cumsum(ordered)
    if gained[-1] == 0.0:
        return np.zeros(posterior.shape, dtype=np.bool_)
    expected = 2.0 * gained / (np.arange(1, ordered.size + 1) + gained[-1])
    return np.asarray(posterior >= ordered[np.argmax(expected)])


def bayes_counts(data: SyntheticData, split: Split = "test") -> Counts:
    """Score the decision that maximises the expected Dice, made from the posterior, against the drawn masks.

    The posterior knows the scene, which pictures show only through noise: no network beats this on average.

    Args:
        data: The generated data.
        split: Which pictures.

    Returns:
        int64 ``(images, classes, 3)``: tp, fp, fn, one class per logit channel.

    Example:
        >>> bayes_counts(SyntheticData(image_size=64, test_images=2)).shape
        (2, 1, 3)
    """
    source = data.source(split)
    counts = [
        [
            _count(dice_decision(probability), label)
            for probability, label in zip(source.posterior(index), _labels(data, source, index), strict=True)
        ]
        for index in range(len(source))
    ]
    return np.array(counts, dtype=np.int64).reshape(len(source), data.num_classes, 3)


def bayes_dice(data: SyntheticData, split: Split = "test") -> npt.NDArray[np.float64]:
    """Compute the Bayes Dice of each class: the mean over pictures of the Dice of `bayes_counts`.

    Args:
        data: The generated data.
        split: Which pictures.

    Returns:
        ``(classes,)``, one per logit channel. Denominator: all pictures; two empty masks score 1, one empty
        mask 0.

    Example:
        >>> bool(bayes_dice(SyntheticData(image_size=64, test_images=4))[0] > 0.7)
        True
    """
    return np.asarray(_dice(bayes_counts(data, split)).mean(axis=0))


def threshold_dice(data: SyntheticData, split: Split = "test") -> npt.NDArray[np.float64]:
    """Compute the best Dice of each class that any one intensity threshold reaches on the same pictures.

    Tries every grey level, above and below, in every channel, and keeps the one whose mean Dice over the
    pictures is largest: chosen with the answer in sight, so an upper bound for thresholds.

    Args:
        data: The generated data.
        split: Which pictures.

    Returns:
        ``(classes,)``, one per logit channel; denominator and empty masks as in `bayes_dice`.

    Example:
        >>> bool(threshold_dice(SyntheticData(image_size=64, test_images=4))[0] < 0.5)
        True
    """
    source = data.source(split)
    total = np.zeros((data.num_classes, data.channels, 2, 256))
    for index in range(len(source)):
        picture = source.image(index)
        for number, label in enumerate(_labels(data, source, index)):
            for channel in range(data.channels):
                total[number, channel] += _every_threshold(picture[..., channel], label)
    return np.asarray(total.reshape(data.num_classes, -1).max(axis=1) / max(len(source), 1))


def _labels(data: SyntheticData, source: SyntheticSource, index: int) -> Iterator[npt.NDArray[np.bool_]]:
    mask = source.mask(index)
    if data.task == "multilabel":
        yield from mask == 1
    else:
        yield from (mask == number for number in ([1] if data.task == "binary" else range(data.num_classes)))


def _every_threshold(picture: npt.NDArray[np.uint8], label: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the Dice of `picture <= t` and `picture > t` for t = 0 to 255, ``(2, 256)``."""
    hits = np.bincount(picture[label], minlength=256).cumsum()
    marked = np.bincount(picture.ravel(), minlength=256).cumsum()
    tp = np.stack([hits, hits[-1] - hits])
    size = np.stack([marked, marked[-1] - marked])
    return _dice(np.stack([tp, size - tp, hits[-1] - tp], axis=-1))


def _count(chosen: npt.NDArray[np.bool_], label: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    return int((chosen & label).sum()), int((chosen & ~label).sum()), int((~chosen & label).sum())


def _dice(counts: Counts) -> npt.NDArray[np.float64]:
    tp, fp, fn = counts[..., 0], counts[..., 1], counts[..., 2]
    both = 2 * tp + fp + fn
    return np.where(both == 0, 1.0, 2 * tp / np.maximum(both, 1))
