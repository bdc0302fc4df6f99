"""FROC: the share of lesions found against false positives per image, over all operating points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.errors import check_range
from segfocal.imbalance.background import Background
from segfocal.metrics.batch import Task
from segfocal.metrics.components import Components, find_components, hits
from segfocal.metrics.masks import MaskScores
from segfocal.runs.scores import mean_ignoring_nan

RATES = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)
STEPS = 128
LEVEL = 1 / 8


class FrocScores(MaskScores):
    """Sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per image, and their mean, FROC.

    Candidates are the components where the probability exceeds ``level``; each scores its highest
    probability. Of an operating point k/128, ``level`` and above, the predictions are the candidates that
    score more, matched as in ``lesions.lesion_counts``. The sensitivity at a rate is the best of the
    operating points that make no more false positives per image; no point in between is assumed, and where
    none is good enough it is 0. All images count in the rate, also those without a lesion, and lesions of all
    images make one share.

    Candidates keep their shape at every operating point, as in published FROC analyses, and take one search
    for components; thresholding the mask anew would let lesions part and shrink. A lower level finds fainter
    lesions and joins more of them. Of multiclass, one class against the rest. Time as `LesionScores`.

    Args:
        task: binary, multiclass or multilabel.
        num_classes: Channels of the probabilities.
        class_names: One per channel.
        ignore_index: The label of pixels that belong to neither mask.
        classes: As in ``MaskScores``.
        background: As in ``MaskScores``.
        full: As in ``components.find_components``.
        min_size: As in ``lesions.lesion_counts``.
        level: Where candidates end, a multiple of 1/128.

    Source:
        Bandos et al., "Area under the free-response ROC curve (FROC) and a related summary index",
        Biometrics, 2009; the seven rates and their mean as in van Ginneken et al., "Comparing and combining
        algorithms for computer-aided detection of pulmonary nodules", Medical Image Analysis, 2010.

    Example:
        >>> froc = FrocScores("binary", 1)
        >>> froc.update(torch.tensor([[[[0.9, 0.1, 0.8]]]]), torch.tensor([[[1, 0, 0]]]), ["a"])
        >>> froc.compute()["sensitivity_at_0.125"]
        tensor(1.)
    """

    def __init__(
        self,
        task: Task,
        num_classes: int,
        *,
        class_names: Sequence[str] | None = None,
        ignore_index: int | None = None,
        classes: Sequence[str] | None = None,
        full: bool = True,
        min_size: int = 1,
        level: float = LEVEL,
        background: Background = "auto",
    ) -> None:
        common: dict[str, Any] = {"class_names": class_names, "ignore_index": ignore_index}
        common["background"] = background
        super().__init__(task, num_classes, classes=classes, **common)
        check_range("min_size", min_size, low=1)
        check_range("level", level, low=0.0, high=1.0, open_high=True)
        self.full, self.min_size, self.level = full, min_size, round(level * STEPS) / STEPS
        self.add_rows("candidates", torch.int64)
        self.add_rows("lesions", torch.int64)

    def update(
        self, probabilities: Tensor, target: Tensor, names: Sequence[str], spacing: Tensor | None = None
    ) -> None:
        """Find the candidates of a batch of whole images; args as `MaskScores.update`."""
        probabilities, target = self.check(probabilities, target, names)
        for scores, labels in zip(probabilities.cpu(), target.cpu(), strict=True):
            for index in self.chosen:
                known = labels if self.task == "multiclass" else labels[index]
                reference = (known == (index if self.task == "multiclass" else 1)).numpy()
                heat = scores[index]
                if self.ignore_index is not None:
                    heat = heat.masked_fill(known == self.ignore_index, 0.0)
                self._count(heat.numpy(), reference)

    def compute(self) -> dict[str, Tensor]:
        """Return ``froc`` and ``sensitivity_at_<rate>``, and both by class; NaN where there is no lesion."""
        found: dict[str, Tensor] = {}
        by_class = np.array([self._sensitivities(*curve) for curve in zip(*self._curve(), strict=True)])
        table = {f"sensitivity_at_{rate:g}": by_class[:, place] for place, rate in enumerate(RATES)}
        for name, values in ({"froc": by_class.mean(axis=1)} | table).items():
            found[name] = self._scalar(float(mean_ignoring_nan(values)))
            for index, value in zip(self.chosen, values.tolist(), strict=True):
                found[f"{name}/{self.class_names[index]}"] = self._scalar(value)
        return found

    def _curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sensitivity and false positives per image of the points k/128, each (classes, 128)."""
        names, table = self.sorted_rows("candidates", len(self.chosen), 2, STEPS)
        _, lesions = self.sorted_rows("lesions", len(self.chosen))
        above = table.sum(0).flip(-1).cumsum(-1).flip(-1).double()
        above[..., : round(self.level * STEPS)] = torch.nan
        share = above[:, 1] / lesions.sum(0).double()[:, None]
        return share.numpy(), (above[:, 0] / len(names)).numpy()

    def rows(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return nothing: FROC belongs to all images together."""
        return {}

    def _count(self, scores: NDArray[np.float32], reference: NDArray[np.bool_]) -> None:
        settings: dict[str, Any] = {"full": self.full, "min_size": self.min_size}
        found = find_components(scores > self.level, **settings)
        known = find_components(reference, **settings)
        highest = np.zeros(len(found))
        np.maximum.at(highest, found.at(found.pixels), scores.reshape(-1)[found.pixels])
        # cell k holds those that are above exactly the points up to k/128
        cells = np.ceil(highest * STEPS).astype(np.int64) - 1
        right = first_matches(found, known, np.argsort(-cells, kind="stable"))
        counts = [np.bincount(cells[which], minlength=STEPS) for which in (~right, right)]
        self.append("candidates", torch.from_numpy(np.stack(counts)))
        self.append("lesions", torch.tensor([len(known)]))

    def _sensitivities(self, share: NDArray[np.float64], rate: NDArray[np.float64]) -> NDArray[np.float64]:
        if np.isnan(share).all():
            return np.full(len(RATES), np.nan)
        return np.array([np.max(share, where=rate <= most, initial=0.0) for most in RATES])


def first_matches(found: Components, known: Components, order: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which candidates raise the number of pairs, when they come in a given order.

    Candidates enter one by one and may push earlier ones to another lesion (augmenting paths), so that of
    every first k candidates as many are true as the largest matching of them has pairs.

    Args:
        found: Candidates.
        known: Lesions.
        order: Numbers of the candidates, the best first.

    Returns:
        bool, one per candidate.
    """
    allowed = hits(found, known)
    near = {
        candidate: allowed.indices[allowed.indptr[candidate] : allowed.indptr[candidate + 1]].tolist()
        for candidate in np.flatnonzero(np.diff(allowed.indptr)).tolist()
    }
    finder: dict[int, int] = {}
    right = np.zeros(len(found), dtype=bool)
    for candidate in order.tolist():
        right[candidate] = candidate in near and _augment(near, candidate, finder)
    return right


def _augment(near: Mapping[int, list[int]], candidate: int, finder: dict[int, int]) -> bool:
    """Search in breadth for a free lesion, and shift the pairs on the way to it."""
    came: dict[int, tuple[int, int | None]] = {}
    queue: list[tuple[int, int | None]] = [(candidate, None)]
    for one, held in queue:
        for lesion in near[one]:
            if lesion in came:
                continue
            came[lesion] = (one, held)
            if lesion in finder:
                queue.append((finder[lesion], lesion))
                continue
            free: int | None = lesion
            while free is not None:
                finder[free], held = came[free]
                free = held
            return True
    return False
