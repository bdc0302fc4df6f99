"""How many pixels of each class a mask holds, row by row: for class counts and for foreground centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.imbalance.counts import Counts, Task

Mask = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class LabelRows:
    """Pixels per class and image row; small beside the mask, and enough to draw a pixel of a class evenly.

    Args:
        rows: ``(C, H)`` int32: pixels of the class in the row; of the foreground for binary (C = 1) and
            multilabel.
        negatives: ``(C,)`` int64: pixels that are neither of the class nor ignored; zeros for multiclass.
    """

    rows: npt.NDArray[np.int32]
    negatives: Counts

    @classmethod
    def of(cls, mask: Mask, *, task: Task, num_classes: int) -> LabelRows:
        """Count a mask of class numbers; whatever is no class is not counted."""
        if task == "multiclass":
            height = len(mask)
            kept = np.where((mask >= 0) & (mask < num_classes), mask, num_classes).astype(np.int64)
            kept += np.arange(height)[:, None] * (num_classes + 1)
            counts = np.bincount(kept.ravel(), minlength=height * (num_classes + 1))
            rows = counts.reshape(height, -1)[:, :num_classes].T
            return cls(np.ascontiguousarray(rows, dtype=np.int32), np.zeros(num_classes, dtype=np.int64))
        planes = mask if mask.ndim == 3 else mask[None]
        rows = np.count_nonzero(planes == 1, axis=2).astype(np.int32)
        return cls(rows, np.count_nonzero(planes == 0, axis=(1, 2)).astype(np.int64))

    def held(self) -> npt.NDArray[np.bool_]:
        """Return which classes have pixels, ``(C,)``."""
        found: npt.NDArray[np.bool_] = self.rows.sum(axis=1) > 0
        return found

    def counts(self, task: Task) -> Counts:
        """Return pixels per class ``(C,)`` for multiclass, else ``(C, 2)``: negatives, positives."""
        positives = self.rows.sum(axis=1, dtype=np.int64)
        return positives if task == "multiclass" else np.stack([self.negatives, positives], axis=1)

    def draw(self, mask: Mask, rng: np.random.Generator, *, task: Task) -> tuple[int, int] | None:
        """Return row and column of a foreground pixel: a present class first, then one of its pixels, evenly.

        Class 0 of a multiclass mask is the background. ``None`` where there is no foreground.
        """
        totals = self.rows.sum(axis=1)
        if task == "multiclass":
            totals[0] = 0
        present = np.flatnonzero(totals)
        if present.size == 0:
            return None
        label = int(present[rng.integers(present.size)])
        position = int(rng.integers(totals[label]))
        ends = np.cumsum(self.rows[label])
        row = int(np.searchsorted(ends, position, side="right"))
        line = (
            mask[row] == label
            if task == "multiclass"
            else (mask[label, row] if mask.ndim == 3 else mask[row]) == 1
        )
        return row, int(np.flatnonzero(line)[position - (int(ends[row - 1]) if row else 0)])
