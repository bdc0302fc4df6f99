"""HD95 and normalised surface distance per image and class, in millimetres or pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.imbalance.background import Background
from segfocal.metrics.batch import Task
from segfocal.metrics.masks import MaskScores
from segfocal.runs.scores import Empty, mean_ignoring_nan

Bools = NDArray[np.bool_]


def surface_scores(
    predicted: Tensor,
    reference: Tensor,
    *,
    spacing: Sequence[float],
    tolerance: float,
    empty: Empty = "nan",
    region: Tensor | None = None,
) -> tuple[float, float]:
    """Compare the surfaces of two masks, with MONAI's distances between their edge pixels.

    Where exactly one mask is empty there is no distance: HD95 is the diagonal of the image, the largest that
    could be, and NSD 0.

    Args:
        predicted: ``(*S)`` bool.
        reference: ``(*S)`` bool.
        spacing: Edge of a pixel along each axis; distances have its unit.
        tolerance: Largest distance that NSD takes for right, in the same unit.
        empty: What empty masks score, as in ``segfocal.runs.scores``: both empty gives HD95 0 and NSD 1
            (``one``) or NaN (``nan``, ``exclude``); ``exclude`` gives NaN for an empty reference too.
        region: ``(*S)`` bool, where pixels are known; None: everywhere. Masks end at its edge, but their
            surfaces go on beyond it: a pixel of a mask is on its edge where a neighbour inside of the region
            (or the border of the image) is not of the mask. Where both masks have no other edge than that of
            the region they agree, HD95 0 and NSD 1; where one has no other, it stands in for both.

    Returns:
        HD95, the larger of the two directed 95th percentiles; and NSD, the share of both surfaces that lies
        within the tolerance of the other.

    Source:
        Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and neck
        anatomy", 2018, for NSD; pixels of the edge count alike, as in MONAI's default.

    Example:
        >>> square = torch.zeros(9, 9, dtype=torch.bool)
        >>> square[2:5, 2:5] = True
        >>> surface_scores(square.roll(2, 0), square, spacing=(1.0, 1.0), tolerance=1.0)
        (2.0, 0.625)
    """
    found, known = bool(predicted.any()), bool(reference.any())
    if not (found and known):
        return _without_surface(found, known, predicted.shape, spacing, empty)
    outside = None if region is None else ~region
    edges = _edges(predicted, reference, outside)
    if not any(bool(edge.any()) for edge in edges):
        return 0.0, 1.0
    if not all(bool(edge.any()) for edge in edges):
        edges = _edges(predicted, reference, None)
    there, back = (_distances(*pair, spacing) for pair in (edges, edges[::-1]))
    hd95 = max(float(np.percentile(way, 95)) for way in (there, back))
    right = sum(int(np.count_nonzero(way <= tolerance)) for way in (there, back))
    return hd95, right / (len(there) + len(back))


class SurfaceScores(MaskScores):
    """HD95 and NSD of every image and class; the background has none, nor a class in no image.

    Args:
        task: binary, multiclass or multilabel.
        num_classes: Channels of the probabilities.
        class_names: One per channel.
        ignore_index: The label of pixels that belong to neither mask.
        thresholds: As in ``MaskScores``.
        classes: As in ``MaskScores``.
        background: As in ``MaskScores``.
        tolerance: Of NSD, in mm where images have a spacing, else in pixels.
        empty: As in `surface_scores`.
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
        tolerance: float = 1.0,
        empty: Empty = "nan",
        background: Background = "auto",
    ) -> None:
        common: dict[str, Any] = {"class_names": class_names, "ignore_index": ignore_index}
        common["background"] = background
        super().__init__(task, num_classes, thresholds=thresholds, classes=classes, **common)
        check_choice("empty", empty, get_args(Empty))
        check_range("tolerance", tolerance, low=0.0)
        self.tolerance, self.empty = tolerance, empty
        self.add_rows("surface", torch.float64)
        self.add_rows("measured", torch.int64)

    def update(
        self,
        probabilities: Tensor,
        target: Tensor,
        names: Sequence[str],
        spacing: Tensor | None = None,
        regions: Sequence[Tensor] | None = None,
    ) -> None:
        """Compare a batch of whole images.

        Args:
            probabilities: ``(N, C, *S)``.
            target: Labels: ``(N, *S)``, for multilabel ``(N, C, *S)``.
            names: One per image.
            spacing: ``(N, axes)`` edges of a pixel in mm; None: distances are in pixels.
            regions: One per image, ``(*S)`` bool, where pixels count; their edges are no edges of masks.

        Raises:
            SegfocalError: As `SegmentationScores`.
        """
        probabilities, target = self.check(probabilities, target, names)
        axes = probabilities.ndim - 2
        edges = torch.ones(len(names), axes) if spacing is None else spacing
        if edges.shape != (len(names), axes):
            raise SegfocalError(f"spacing must have shape {(len(names), axes)}, got {tuple(edges.shape)}.")
        inside = [None] * len(names) if regions is None else [region.cpu() for region in regions]
        whole = zip(probabilities.cpu(), target.cpu(), edges.tolist(), inside, strict=True)
        for scores, labels, edge, region in whole:
            common: dict[str, Any] = {"spacing": edge, "tolerance": self.tolerance, "empty": self.empty}
            common["region"] = region
            rows = [
                surface_scores(predicted, known, **common)
                for _, predicted, known in self.pairs(scores, labels)
            ]
            self.append("surface", torch.tensor(rows, dtype=torch.float64))
            self.append("measured", torch.tensor([spacing is not None]))

    def compute(self) -> dict[str, Tensor]:
        """Return ``hd95`` and ``nsd``: means over images, ``.../<class>``, and their means over classes."""
        _, table = self.sorted_rows("surface", len(self.chosen), 2)
        absent = self.absent(empty=self.empty)
        found: dict[str, Tensor] = {}
        for column, name in enumerate(("hd95", "nsd")):
            values = np.where(absent, np.nan, mean_ignoring_nan(table[..., column].numpy()))
            found[name] = self._scalar(float(mean_ignoring_nan(values)))
            for index, value in zip(self.chosen, values.tolist(), strict=True):
                found[f"{name}/{self.class_names[index]}"] = self._scalar(value)
        return found

    def rows(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return hd95, nsd and distance_unit by image name and class number; a collective."""
        with self.sync_context():
            names, table = self.sorted_rows("surface", len(self.chosen), 2)
            _, measured = self.sorted_rows("measured")
        found = {}
        for name, values, known in zip(names, table.tolist(), measured.tolist(), strict=True):
            for index, (hd95, nsd) in zip(self.chosen, values, strict=True):
                numbers = {"hd95": None if np.isnan(hd95) else hd95, "nsd": None if np.isnan(nsd) else nsd}
                found[name, index] = numbers | {"distance_unit": "mm" if known else "px"}
        return found


def _edges(predicted: Tensor, reference: Tensor, outside: Tensor | None) -> tuple[Bools, Bools]:
    """Return the edges of two masks, cut to the box that holds both: MONAI's where nothing lies outside."""
    either = np.asarray(predicted | reference)
    box = tuple(
        slice(max(int(held.min()) - 1, 0), int(held.max()) + 2) for held in np.nonzero(either)
    )  # with the neighbours of its pixels
    beyond = None if outside is None else np.asarray(outside)[box]

    def edge(mask: Bools) -> Bools:
        reached = mask if beyond is None else mask | beyond
        found: Bools = mask & ~ndimage.binary_erosion(reached)
        return found

    return edge(np.asarray(predicted)[box]), edge(np.asarray(reference)[box])


def _distances(edge: Bools, other: Bools, spacing: Sequence[float]) -> NDArray[np.float64]:
    """Return how far each pixel of an edge is from the nearest of another."""
    from monai.metrics.utils import get_surface_distance  # seconds to import

    return np.asarray(get_surface_distance(edge, other, spacing=list(spacing)), dtype=np.float64)


def _without_surface(
    found: bool, known: bool, shape: Sequence[int], spacing: Sequence[float], empty: Empty
) -> tuple[float, float]:
    if not found and not known:
        return (0.0, 1.0) if empty == "one" else (np.nan, np.nan)
    if not known and empty == "exclude":
        return np.nan, np.nan
    edges = [(size - 1) * edge for size, edge in zip(shape, spacing, strict=True)]
    return float(np.linalg.norm(edges)), 0.0
