"""The operating point: per class, the threshold with the best mean image Dice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice
from segfocal.imbalance.background import Background
from segfocal.metrics.batch import Channel, Task, channels
from segfocal.metrics.images import ImageMetric
from segfocal.runs.scores import Empty, Scores, dice, mean_ignoring_nan, without_reference

# k / 128: exact in every float type, so that p > threshold means the same everywhere
STEPS = 128
GRID = np.arange(1, STEPS) / STEPS


class ThresholdSearch(ImageMetric):
    """Per class, the threshold out of 1/128 ... 127/128 that maximises the mean over images of Dice.

    Of equally good thresholds the one nearest to 0.5 is taken, then the lower; 0.5 where no image holds the
    class.
    Multiclass predictions are the argmax and have no threshold.

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
        >>> search.update(torch.tensor([[[0.1, 0.2, 0.3, 0.4]]]), torch.tensor([[0, 0, 1, 1]]), ["a"])
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
        for index, label in enumerate(self.class_names):
            best = _nearest_to_half(scores[:, index])
            found[f"threshold/{label}"] = self._scalar(best)
            found[f"threshold_dice/{label}"] = self._scalar(scores[best == GRID, index].item())
        return found

    def thresholds(self) -> list[float]:
        """Return the best threshold of each class, for ``SegmentationScores`` and run.json; a collective."""
        scores = self.curve()[1]
        return [_nearest_to_half(scores[:, index]) for index in range(self.num_classes)]

    def curve(self) -> tuple[Scores, Scores]:
        """Return the thresholds and the mean image Dice of each, (thresholds, classes); a collective."""
        with self.sync_context():
            return GRID.copy(), self._mean_dice()

    def _mean_dice(self) -> Scores:
        _, rows = self.sorted_rows("histograms", self.num_classes, 2, STEPS)
        # bin k holds the pixels that are above exactly k thresholds
        above = rows.flip(-1).cumsum(-1).flip(-1).numpy()[..., 1:]
        fp, tp = above[:, :, 0], above[:, :, 1]
        fn = rows[:, :, 1].sum(-1, keepdim=True).numpy() - tp
        means = mean_ignoring_nan(dice(tp, fp, fn, empty=self.empty), axis=0).T
        absent = without_reference(tp[..., 0], fn[..., 0], empty=self.empty)
        return np.where(absent, np.nan, means)  # of a class in no image every threshold is as good


def _histogram(channel: Channel) -> Tensor:
    """Return (2, STEPS): pixels labelled otherwise and with the class, by the thresholds they exceed."""
    cells = (channel.probability * STEPS).ceil_().sub_(1).clamp_(min=0).long()
    cells += STEPS * channel.positive
    cells.masked_fill_(~(channel.positive | channel.negative), 2 * STEPS)
    return torch.bincount(cells, minlength=2 * STEPS + 1)[:-1].view(2, STEPS)


def _nearest_to_half(scores: Scores) -> float:
    if np.isnan(scores).all():
        return 0.5
    best = GRID[scores == np.nanmax(scores)]
    return float(best[np.argmin(np.abs(best - 0.5))])
