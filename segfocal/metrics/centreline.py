"""clDice: whether thin structures hang together, from the centrelines of prediction and reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.errors import check_choice
from segfocal.imbalance.background import Background
from segfocal.metrics.batch import Task
from segfocal.metrics.masks import MaskScores
from segfocal.runs.scores import Empty, mean_ignoring_nan

Mask = NDArray[np.bool_]


def centreline_dice(predicted: Mask, reference: Mask, *, empty: Empty = "nan") -> float:
    """Compare two masks by their centrelines.

    Topology precision is the share of the prediction's centreline that lies in the reference, topology
    sensitivity the share of the reference's centreline that lies in the prediction; clDice is their harmonic
    mean. A vessel that is found too thick or too thin costs nothing, one that is broken costs its gap.

    The centreline is the skeleton of scikit-image: Zhang's in 2D, Lee's in 3D; where it is empty, the mask.

    Args:
        predicted: ``(*S)``, two or three axes.
        reference: Likewise.
        empty: What empty masks score: as ``segfocal.runs.scores``.

    Returns:
        In [0, 1], NaN where the policy leaves the case out.

    Source:
        Shit et al., "clDice - a novel topology-preserving loss function for tubular structure segmentation",
        2021, equations 1 and 2.

    Example:
        >>> vessel = np.zeros((7, 12), dtype=bool)
        >>> vessel[3] = True
        >>> half = vessel.copy()
        >>> half[:, 6:] = False
        >>> centreline_dice(vessel, vessel), round(centreline_dice(half, vessel), 3)
        (1.0, 0.667)
    """
    found, known = bool(predicted.any()), bool(reference.any())
    if not known and (empty == "exclude" or not found):
        return 1.0 if empty == "one" else float("nan")
    if not (found and known):
        return 0.0
    precision = _share_inside(predicted, reference)
    sensitivity = _share_inside(reference, predicted)
    total = precision + sensitivity
    return 2 * precision * sensitivity / total if total else 0.0


class CentrelineScores(MaskScores):
    """clDice of every image and class.

    Args:
        task: binary, multiclass or multilabel.
        num_classes: Channels of the probabilities.
        class_names: One per channel.
        ignore_index: The label of pixels that belong to neither mask.
        thresholds: As in ``MaskScores``.
        classes: As in ``MaskScores``.
        background: As in ``MaskScores``.
        empty: As in `centreline_dice`.
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
        empty: Empty = "nan",
        background: Background = "auto",
    ) -> None:
        common: dict[str, Any] = {"class_names": class_names, "ignore_index": ignore_index}
        common["background"] = background
        super().__init__(task, num_classes, thresholds=thresholds, classes=classes, **common)
        check_choice("empty", empty, get_args(Empty))
        self.empty: Empty = empty
        self.add_rows("centreline", torch.float64)

    def update(
        self, probabilities: Tensor, target: Tensor, names: Sequence[str], spacing: Tensor | None = None
    ) -> None:
        """Compare a batch of whole images; args as `MaskScores.update`, without use for the spacing."""
        probabilities, target = self.check(probabilities, target, names)
        for scores, labels in zip(probabilities.cpu(), target.cpu(), strict=True):
            row = [
                centreline_dice(predicted.numpy(), known.numpy(), empty=self.empty)
                for _, predicted, known in self.pairs(scores, labels)
            ]
            self.append("centreline", torch.tensor(row, dtype=torch.float64))

    def compute(self) -> dict[str, Tensor]:
        """Return ``cldice``: the mean over images, then classes; and ``cldice/<class>`` over images."""
        _, table = self.sorted_rows("centreline", len(self.chosen))
        values = np.where(self.absent(empty=self.empty), np.nan, mean_ignoring_nan(table.numpy()))
        found = {"cldice": self._scalar(float(mean_ignoring_nan(values)))}
        for index, value in zip(self.chosen, values.tolist(), strict=True):
            found[f"cldice/{self.class_names[index]}"] = self._scalar(value)
        return found

    def rows(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return cldice; a collective."""
        with self.sync_context():
            names, table = self.sorted_rows("centreline", len(self.chosen))
        return {
            (name, index): {"cldice": None if np.isnan(value) else value}
            for name, row in zip(names, table.tolist(), strict=True)
            for index, value in zip(self.chosen, row, strict=True)
        }


def _share_inside(mask: Mask, other: Mask) -> float:
    from skimage.morphology import skeletonize  # half a second to import

    line = skeletonize(mask)
    if not line.any():  # of a cube of 2 voxels nothing is left
        line = mask
    return int(np.count_nonzero(line & other)) / int(np.count_nonzero(line))
