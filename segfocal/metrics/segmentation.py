"""Dice, IoU, precision, recall and F-beta, per image and over the data set, from one count of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.imbalance.background import Background
from segfocal.metrics.batch import Task, channels
from segfocal.metrics.images import ImageMetric
from segfocal.runs.scores import Empty, all_scores, dataset_level, image_level, mean_over_classes


class SegmentationScores(ImageMetric):
    """Scores from tp, fp, fn and tn of every image and class.

    A pixel is predicted as a class where its probability is above the class's threshold (binary, multilabel),
    or where it is the largest (multiclass; of equal ones the first class).

    Args:
        task: binary, multiclass or multilabel.
        num_classes: Channels of the probabilities: 1 for binary, else the number of classes.
        class_names: One per channel; by default their numbers.
        ignore_index: The label of pixels that count nowhere.
        thresholds: One for all classes or one per class. Multiclass takes no threshold: it must stay 0.5.
        empty: What empty masks score, as in ``segfocal.runs.scores``: by default reference and
            prediction both empty are left out, and 0 where only one is.
        background: As in ``ImageMetric``.
        beta: Adds F-beta under the name ``f<beta>``.

    Raises:
        SegfocalError: For settings that contradict each other.

    Example:
        >>> scores = SegmentationScores("binary", 1, class_names=["vessel"])
        >>> scores.update(torch.tensor([[[0.9, 0.8, 0.2]]]), torch.tensor([[1, 0, 0]]), ["a"])
        >>> scores.compute()["dice"]
        tensor(0.6667)
    """

    def __init__(
        self,
        task: Task,
        num_classes: int,
        *,
        class_names: Sequence[str] | None = None,
        ignore_index: int | None = None,
        thresholds: float | Sequence[float] = 0.5,
        empty: Empty = "nan",
        background: Background = "auto",
        beta: float | None = None,
    ) -> None:
        super().__init__(
            task, num_classes, class_names=class_names, ignore_index=ignore_index, background=background
        )
        check_choice("empty", empty, get_args(Empty))
        if beta is not None:
            check_range("beta", beta, low=0.0, open_low=True)
        self.thresholds = _thresholds(thresholds, task=task, num_classes=num_classes)
        self.empty: Empty = empty
        self.beta = beta
        self.add_rows("counts", torch.int64)

    def update(self, probabilities: Tensor, target: Tensor, names: Sequence[str]) -> None:
        """Count a batch of whole images.

        Args:
            probabilities: (N, C, *S), after sigmoid or softmax.
            target: Labels: (N, *S), for multilabel (N, C, *S); binary takes (N, 1, *S) too.
            names: One per image, unique within the pass.

        Raises:
            SegfocalError: For wrong shapes, labels outside the classes, values outside [0, 1].
        """
        probabilities, target = self.check(probabilities, target, names)
        if self.task == "multiclass":
            self.append("counts", _argmax_counts(probabilities, target, ignore_index=self.ignore_index))
            return
        for channel in channels(probabilities, target, task=self.task, ignore_index=self.ignore_index):
            predicted = channel.probability > self.thresholds[channel.class_index]
            self.append("counts", _binary_counts(predicted, channel.positive, channel.negative))

    def compute(self) -> dict[str, Tensor]:
        """Return every score under a name that says its mean.

        Returns:
            ``dice`` is the mean over images, then over all classes but the background; ``dice/<class>`` the
            mean over images; ``dataset_dice`` and ``dataset_dice/<class>`` come from counts summed over
            images, the former averaged over those classes. Likewise iou, precision, recall and F-beta. Means
            leave out what the policy scores as NaN; NaN where nothing is left, and for a class of which no
            image holds a pixel.
        """
        _, counts = self.sorted_rows("counts", self.num_classes, 4)
        tp, fp, fn, _ = np.moveaxis(counts.numpy(), -1, 0)
        tables = {"": image_level, "dataset_": dataset_level}
        found: dict[str, Tensor] = {}
        for prefix, table in tables.items():
            for name, values in table(tp, fp, fn, empty=self.empty, beta=self.beta).items():
                found[prefix + name] = self._scalar(mean_over_classes(values, background=self.background))
                for label, value in zip(self.class_names, values.tolist(), strict=True):
                    found[f"{prefix}{name}/{label}"] = self._scalar(value)
        return found

    def cases(self) -> list[dict[str, Any]]:
        """Return one row per image and class, sorted by name; a collective: call it on every process.

        Returns:
            Rows with name, class_index, class_name, threshold (None for argmax), tp, fp, fn, tn, pixels (not
            ignored), and each score under the policy, None where it leaves the case out; ``empty`` and
            ``background``, whether means over classes leave the class out.
        """
        with self.sync_context():
            names, counts = self.sorted_rows("counts", self.num_classes, 4)
        tp, fp, fn, tn = np.moveaxis(counts.numpy(), -1, 0)
        scores = all_scores(tp, fp, fn, empty=self.empty, beta=self.beta)
        columns = {"tp": tp, "fp": fp, "fn": fn, "tn": tn, "pixels": tp + fp + fn + tn, **scores}
        return [
            self._labels(name, index) | {key: _number(table[row, index]) for key, table in columns.items()}
            for row, name in enumerate(names)
            for index in range(self.num_classes)
        ]

    def _labels(self, name: str, index: int) -> dict[str, Any]:
        threshold = None if self.task == "multiclass" else self.thresholds[index]
        return {
            "name": name,
            "class_index": index,
            "class_name": self.class_names[index],
            "threshold": threshold,
            "empty": self.empty,
            "background": index == self.background,
        }


def _thresholds(thresholds: float | Sequence[float], *, task: Task, num_classes: int) -> list[float]:
    values = thresholds if isinstance(thresholds, Sequence) else [thresholds] * num_classes
    if len(values) != num_classes:
        raise SegfocalError(f"thresholds must be one number or {num_classes}, one per class, got {values}.")
    for value in values:
        check_range("thresholds", value, low=0.0, high=1.0)
    if task == "multiclass" and any(value != 0.5 for value in values):
        raise SegfocalError(f"thresholds must stay 0.5 in multiclass, which takes the argmax, got {values}.")
    return [float(value) for value in values]


def _binary_counts(predicted: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Return tp, fp, fn, tn."""
    tp, fp = torch.count_nonzero(predicted & positive), torch.count_nonzero(predicted & negative)
    return torch.stack([tp, fp, torch.count_nonzero(positive) - tp, torch.count_nonzero(negative) - fp])


def _argmax_counts(probabilities: Tensor, target: Tensor, *, ignore_index: int | None) -> Tensor:
    """Return (N, C, 4) from one confusion matrix per image, whose last row collects ignored pixels."""
    classes = probabilities.shape[1]
    predicted = probabilities.max(dim=1).indices.flatten(1)  # argmax() takes four times as long on a CPU
    labels = target.flatten(1).long()
    if ignore_index is not None:
        labels = labels.masked_fill(labels == ignore_index, classes)
    rows = []
    for image in labels * classes + predicted:
        matrix = torch.bincount(image, minlength=(classes + 1) * classes).view(classes + 1, classes)[:classes]
        tp, true, found = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
        rows.append(torch.stack([tp, found - tp, true - tp, matrix.sum() - found - true + tp], dim=1))
    return torch.stack(rows)


def _number(value: Any) -> int | float | None:
    return None if np.isnan(value) else value.item()
