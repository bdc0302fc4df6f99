"""Lines of points that are cropped, scaled and augmented together with their image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.data.labels import Mask

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Lines on an image, from left to right.

    Args:
        lines: Each ``(K, 2)`` points x, y in px.
        labels: Class of each line in the mask.
        positions: Classes 1 to this number are counted from left to right, so that a mirror changes them; 0:
            classes do not depend on where a line is.
        shown: Whether samples carry the lines.
    """

    lines: tuple[Points, ...]
    labels: tuple[int, ...]
    positions: int = 0
    shown: bool = True

    def placed(
        self, stored_px: Sequence[int], selected_px: Sequence[int], *, corner: tuple[int, int] = (0, 0)
    ) -> Landmarks:
        """Return the lines in px of a patch.

        Args:
            stored_px: Height and width of the stored image.
            selected_px: Height and width to which it was resized.
            corner: Row and column of the patch in it.
        """
        factor = np.array([selected_px[1] / stored_px[1], selected_px[0] / stored_px[0]])
        away = np.array([corner[1], corner[0]])
        return replace(self, lines=tuple((line + 0.5) * factor - 0.5 - away for line in self.lines))

    def points(self, size_px: Sequence[int]) -> Points:
        """Return all points ``(N, 2)``, and behind them one on the left and one on the right of the patch."""
        height, width = size_px[:2]
        probes = np.array([[width * 0.25, height / 2], [width * 0.75, height / 2]])
        return np.concatenate([*self.lines, probes])

    def moved(self, points: Points) -> tuple[Landmarks, bool]:
        """Return the lines after augmentation, from left to right, and whether left and right changed places.

        Args:
            points: What became of `points`, in their order.
        """
        swapped = bool(points[-1, 0] < points[-2, 0])
        ends = np.cumsum([len(line) for line in self.lines], dtype=int)
        lines, labels = np.split(points[:-2], ends)[:-1], self.labels
        if swapped:
            lines, labels = lines[::-1], tuple(self._mirrored(label) for label in labels[::-1])
        return replace(self, lines=tuple(lines), labels=labels), swapped

    def relabelled(self, mask: Mask) -> Mask:
        """Return the mask of a picture whose left and right changed places."""
        changed = mask.copy()
        for label in range(1, self.positions + 1):
            changed[mask == label] = self._mirrored(label)
        return changed

    def sample(self) -> dict[str, Any]:
        """Return what a sample carries: ``lanes``, ``(K, 2)`` float32 each, and ``lane_labels``."""
        if not self.shown:
            return {}
        return {"lanes": [line.astype(np.float32) for line in self.lines], "lane_labels": list(self.labels)}

    def _mirrored(self, label: int) -> int:
        return self.positions + 1 - label if 1 <= label <= self.positions else label
