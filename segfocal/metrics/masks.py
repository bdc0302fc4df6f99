"""The base of scores that compare the masks of each image and class, beside the counts of pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.errors import check_choice
from segfocal.imbalance.background import Background
from segfocal.metrics.batch import Task
from segfocal.metrics.images import ImageMetric
from segfocal.runs.scores import Empty, without_reference


class Pair(NamedTuple):
    """Prediction and reference of one class of one image."""

    class_index: int
    predicted: Tensor  # (*S) bool
    reference: Tensor  # (*S) bool


class MaskScores(ImageMetric, ABC):
    """Scores of the masks of each image and class (abstract).

    Args:
        task: binary, multiclass or multilabel.
        num_classes: Channels of the probabilities.
        class_names: One per channel.
        ignore_index: The label of pixels that belong to neither mask.
        thresholds: One per class, by default 0.5; not used in multiclass, which takes the argmax.
        classes: Names of the classes to score; by default all but the background.
        background: As in ``ImageMetric``; it is not scored.

    Raises:
        SegfocalError: For a name that is no class.
    """

    def __init__(
        self,
        task: Task,
        num_classes: int,
        *,
        class_names: Sequence[str] | None = None,
        ignore_index: int | None = None,
        thresholds: Sequence[float] | None = None,
        classes: Sequence[str] | None = None,
        background: Background = "auto",
    ) -> None:
        super().__init__(
            task, num_classes, class_names=class_names, ignore_index=ignore_index, background=background
        )
        foreground = [name for index, name in enumerate(self.class_names) if index != self.background]
        for name in classes or ():
            check_choice("classes to score", name, foreground)
        wanted = set(foreground if classes is None else classes)
        self.chosen = [index for index, name in enumerate(self.class_names) if name in wanted]
        self.add_rows("reference_px", torch.int64)
        self.thresholds = list(thresholds) if thresholds is not None else [0.5] * num_classes

    @abstractmethod
    def update(
        self, probabilities: Tensor, target: Tensor, names: Sequence[str], spacing: Tensor | None = None
    ) -> None:
        """Compare a batch of whole images.

        Args:
            probabilities: ``(N, C, *S)``.
            target: Labels: ``(N, *S)``, for multilabel ``(N, C, *S)``.
            names: One per image.
            spacing: ``(N, axes)`` edges of a pixel in mm; None: pixels are squares.
        """

    @abstractmethod
    def rows(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return columns of ``cases.parquet`` by image name and class number; a collective."""

    def pairs(self, scores: Tensor, labels: Tensor) -> Iterator[Pair]:
        """Yield the masks of the classes to score; count the pixels of their references.

        Args:
            scores: ``(C, *S)``.
            labels: ``(*S)``, or ``(C, *S)`` where the task is not multiclass.
        """
        largest = scores.max(dim=0).indices if self.task == "multiclass" else None
        for index in self.chosen:
            known = labels if largest is not None else labels[index]
            predicted = scores[index] > self.thresholds[index] if largest is None else largest == index
            if self.ignore_index is not None:
                predicted = predicted & (known != self.ignore_index)
            reference = known == (1 if largest is None else index)
            self.append("reference_px", reference.sum())
            yield Pair(index, predicted, reference)

    def absent(self, *, empty: Empty) -> NDArray[np.bool_]:
        """Return which of the classes to score have no mean, since no image holds a pixel of them.

        Args:
            empty: What empty masks score, see ``segfocal.runs.scores.without_reference``.
        """
        _, pixels = self.sorted_rows("reference_px", len(self.chosen))
        return without_reference(pixels.numpy(), np.zeros(pixels.shape, np.int64), empty=empty)


def with_columns(rows: Iterable[Mapping[str, Any]], metrics: Iterable[MaskScores]) -> list[dict[str, Any]]:
    """Return rows of `SegmentationScores.cases` with the columns of further scores; a collective.

    Args:
        rows: One per image and class.
        metrics: That saw the same images.

    Returns:
        The rows; of a class that a metric does not score, its columns are missing or None.
    """
    full = [dict(row) for row in rows]
    for metric in metrics:
        found = metric.rows()
        for row in full:
            row.update(found.get((str(row["name"]), int(row["class_index"])), {}))
    return full
