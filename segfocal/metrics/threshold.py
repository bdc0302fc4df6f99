"""The operating point of each class: the threshold with the best mean image Dice, or 0.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice
from segfocal.imbalance.background import Background
from segfocal.metrics.batch import Channel, Task, channels
from segfocal.metrics.images import ImageMetric
from segfocal.runs.scores import Empty, Scores, dice, mean_ignoring_nan

# k / 128: exact in every float type, so that p > threshold means the same everywhere
STEPS = 128
GRID = np.arange(1, STEPS) / STEPS
HALF = STEPS // 2 - 1  # place of 0.5

# one-sided, of the gain on images that the threshold was not chosen on: experiments/threshold
LEVEL = 0.95


@dataclass(frozen=True)
class Choice:
    """The threshold of a class, and where it comes from.

    Args:
        threshold: To use.
        best: The one with the best mean image Dice.
        images: How many hold the class.
        gain: In Dice over 0.5: on each image by the best threshold of the others, averaged; NaN for fewer
            than two images.
        lower: Its lower limit, one-sided at 95 %; likewise.
    """

    threshold: float
    best: float
    images: int
    gain: float = float("nan")
    lower: float = float("nan")

    def reason(self) -> str:
        """Say it in words.

        Example:
            >>> Choice(0.5, 0.25, images=3, gain=0.02, lower=-0.1).reason()
            '0.250 was best on 3 validation images, but is not surely better (gain 0.020, at least -0.100)'
        """
        held = f"{self.images} validation image{'' if self.images == 1 else 's'}"
        sure = f"(gain {self.gain:.3f}, at least {self.lower:.3f})"
        if not self.images:
            return "no validation image holds the class"
        if self.best == 0.5:
            return f"best on {held}"
        if self.threshold != 0.5:
            return f"best on {held}, also where each is left out {sure}"
        doubt = "which cannot tell" if self.images == 1 else f"but is not surely better {sure}"
        return f"{self.best:.3f} was best on {held}, {doubt}"


def choose(scores: Scores, *, images: int) -> Choice:
    """Choose the threshold of one class.

    Args:
        scores: Dice ``(images, thresholds)`` of ``GRID``; NaN where an image is left out of the mean.
        images: How many hold the class.

    Returns:
        The best threshold where its gain over 0.5, cross-validated by leaving out one image at a time, is
        resolved; else 0.5.
    """
    if not images:
        return Choice(0.5, 0.5, images)
    best = float(GRID[_nearest_to_half(mean_ignoring_nan(scores, axis=0)[None])[0]])
    gains = held_out_gains(scores)
    if images < 2 or len(gains) < 2:
        return Choice(0.5, best, images)
    lower = _lower_limit(gains)
    return Choice(best if lower > 0 else 0.5, best, images, float(gains.mean()), lower)


def held_out_gains(scores: Scores) -> Scores:
    """Return what each image gains over 0.5 by the threshold that is best on all others.

    An empty image that a threshold leaves out of the mean (where 0.5 finds something in it, or the other way
    round) counts there as the mean does; one that both leave out is not among the gains.

    Args:
        scores: Dice ``(images, thresholds)`` of ``GRID``; the mean over images is a number at each threshold.
    """
    missing = np.isnan(scores)
    filled = np.where(missing, mean_ignoring_nan(scores, axis=0), scores)
    others = filled.sum(axis=0) - filled
    chosen = _nearest_to_half(others)
    rows = np.arange(len(scores))
    kept = ~(missing[rows, chosen] & missing[:, HALF])
    gains: Scores = (filled[rows, chosen] - filled[:, HALF])[kept]
    return gains


class ThresholdSearch(ImageMetric):
    """Per class, the threshold out of 1/128 ... 127/128 that maximises the mean over images of Dice.

    Of equally good thresholds the one nearest to 0.5 is taken, then the lower; 0.5 where no image holds the
    class, and where the images do not show that another is better (`choose`). Multiclass predictions are
    the argmax and have no threshold.

    Args:
        task: binary or multilabel.
        num_classes: Channels of the probabilities: 1 for binary.
        class_names: One per channel; by default their numbers.
        ignore_index: The label of pixels that count nowhere.
        empty: What empty masks score, as in ``segfocal.runs.scores``.
        background: As in ``ImageMetric``.

    Raises:
        SegfocalError: For multiclass.

    Example:
        >>> search = ThresholdSearch("binary", 1)
        >>> scores, target = torch.tensor([[[0.1, 0.2, 0.3, 0.4]]]), torch.tensor([[0, 0, 1, 1]])
        >>> search.update(scores.repeat(3, 1, 1), target.repeat(3, 1), ["a", "b", "c"])
        >>> search.thresholds()
        [0.296875]
    """

    def __init__(
        self,
        task: Task,
        num_classes: int,
        *,
        class_names: Sequence[str] | None = None,
        ignore_index: int | None = None,
        empty: Empty = "nan",
        background: Background = "auto",
    ) -> None:
        super().__init__(
            task, num_classes, class_names=class_names, ignore_index=ignore_index, background=background
        )
        if task == "multiclass":
            raise SegfocalError("a multiclass prediction is the argmax: there is no threshold to search.")
        check_choice("empty", empty, get_args(Empty))
        self.empty: Empty = empty
        self.add_rows("histograms", torch.int64)

    def update(self, probabilities: Tensor, target: Tensor, names: Sequence[str]) -> None:
        """Add a batch of whole images; args as ``SegmentationScores.update``."""
        probabilities, target = self.check(probabilities, target, names)
        for channel in channels(probabilities, target, task=self.task, ignore_index=self.ignore_index):
            self.append("histograms", _histogram(channel))

    def compute(self) -> dict[str, Tensor]:
        """Return ``threshold/<class>`` and, there, the mean image Dice ``threshold_dice/<class>``."""
        scores, found = self._mean_dice(), {}
        for index, (label, choice) in enumerate(zip(self.class_names, self._choices(), strict=True)):
            found[f"threshold/{label}"] = self._scalar(choice.threshold)
            found[f"threshold_dice/{label}"] = self._scalar(scores[choice.threshold == GRID, index].item())
        return found

    def choices(self) -> list[Choice]:
        """Return the threshold of each class and where it comes from; a collective."""
        with self.sync_context():
            return self._choices()

    def thresholds(self) -> list[float]:
        """Return the threshold of each class, for ``SegmentationScores`` and run.json; a collective."""
        return [choice.threshold for choice in self.choices()]

    def curve(self) -> tuple[Scores, Scores]:
        """Return the thresholds and the mean image Dice of each, (thresholds, classes); a collective."""
        with self.sync_context():
            return GRID.copy(), self._mean_dice()

    def image_dice(self) -> tuple[Scores, NDArray[np.bool_]]:
        """Return Dice ``(images, classes, thresholds)`` and which images hold a class; no collective."""
        _, rows = self.sorted_rows("histograms", self.num_classes, 2, STEPS)
        # bin k holds the pixels that are above exactly k thresholds
        above = rows.flip(-1).cumsum(-1).flip(-1).numpy()[..., 1:]
        positives = rows[:, :, 1].sum(-1).numpy()
        fp, tp = above[:, :, 0], above[:, :, 1]
        return dice(tp, fp, positives[..., None] - tp, empty=self.empty), positives > 0

    def _choices(self) -> list[Choice]:
        scores, held = self.image_dice()
        return [
            choose(scores[:, index], images=int(held[:, index].sum())) for index in range(self.num_classes)
        ]

    def _mean_dice(self) -> Scores:
        scores, held = self.image_dice()
        absent = ~held.any(axis=0) & (self.empty != "one")
        # of a class in no image every threshold is as good
        return np.where(absent, np.nan, mean_ignoring_nan(scores, axis=0).T)


def _histogram(channel: Channel) -> Tensor:
    """Return (2, STEPS): pixels labelled otherwise and with the class, by the thresholds they exceed."""
    cells = (channel.probability * STEPS).ceil_().sub_(1).clamp_(min=0).long()
    cells += STEPS * channel.positive
    cells.masked_fill_(~(channel.positive | channel.negative), 2 * STEPS)
    return torch.bincount(cells, minlength=2 * STEPS + 1)[:-1].view(2, STEPS)


def _nearest_to_half(scores: Scores) -> NDArray[np.intp]:
    """Return the place of the best threshold of each row of (rows, thresholds)."""
    # sums of the same numbers in another order differ in the last digit
    best = scores >= scores.max(axis=1, keepdims=True) - 1e-9
    places: NDArray[np.intp] = np.where(best, np.abs(GRID - 0.5), np.inf).argmin(axis=1)
    return places


def _lower_limit(gains: Scores) -> float:
    """Return what the mean gain is above of, by Student's t."""
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return float(gains.mean() - stats.t.ppf(LEVEL, len(gains) - 1) * error)
