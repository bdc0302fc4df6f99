"""Threshold-free and calibration scores, pooled over the pixels of all images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segfocal.errors import check_range
from segfocal.imbalance.background import Background
from segfocal.metrics.band import boundary_band
from segfocal.metrics.batch import Channel, Task, channels
from segfocal.metrics.bins import (
    COARSE_PR_BINS,
    PR_BINS,
    RELIABILITY_BINS,
    average_precision,
    average_precision_of_33,
    pr_bin,
    pr_edges,
)
from segfocal.metrics.calibration import (
    GROUPS,
    REGIONS,
    SUMS,
    Array,
    calibration,
    group_sums,
    image_columns,
    region_bins,
    true_class_nll,
)
from segfocal.metrics.images import ImageMetric
from segfocal.runs.scores import mean_over_classes


class PixelCurves(ImageMetric):
    """Area under the precision-recall curve, calibration error, Brier score and likelihood.

    Each class is a yes-or-no question about each pixel (multiclass: one against the rest). Everything is
    pooled: summed over the pixels of all images, then divided. The regions are all pixels; the foreground,
    the pixels labelled with the class; and the band, those within ``band_px`` of both sides of the class's
    boundary in the reference (``boundary_band``).

    - ``aupr``: average precision from 2^16 bins (``pr_bin``), all pixels; ``aupr33``: IDRiD's 33 thresholds.
    - ``ece``: expected calibration error, sum over 15 equal-width bins of |sum of p - positives| / pixels.
    - ``brier``: mean squared error of p. In multiclass the usual score, summed over classes, is C times it.
    - ``nll``: mean of -log of the probability of what the label says, in nats, at most 15.9 per pixel.

    Memory: 1 MiB per class, and 3 KiB per image and class.

    Args:
        task: binary, multiclass or multilabel.
        num_classes: Channels of the probabilities: 1 for binary, else the number of classes.
        class_names: One per channel; by default their numbers.
        ignore_index: The label of pixels that count nowhere.
        band_px: Half-width of the band, in pixels.
        precision_recall: Whether to gather the bins of ``aupr`` as well.
        background: As in ``ImageMetric``.

    Example:
        >>> curves = PixelCurves("binary", 1)
        >>> curves.update(torch.tensor([[[0.1, 0.4, 0.35, 0.8]]]), torch.tensor([[0, 0, 1, 1]]), ["a"])
        >>> curves.compute()["aupr"]
        tensor(0.8333)
    """

    def __init__(
        self,
        task: Task,
        num_classes: int,
        *,
        class_names: Sequence[str] | None = None,
        ignore_index: int | None = None,
        band_px: int = 5,
        precision_recall: bool = True,
        background: Background = "auto",
    ) -> None:
        super().__init__(
            task, num_classes, class_names=class_names, ignore_index=ignore_index, background=background
        )
        check_range("band_px", band_px, low=1)
        self.band_px = band_px
        self.precision_recall = precision_recall
        pr_counts = torch.zeros(num_classes, 2, PR_BINS if precision_recall else 0, dtype=torch.int64)
        self.pr_counts: Tensor
        self.add_state("pr_counts", pr_counts, dist_reduce_fx="sum")
        self.add_rows("coarse_pr", torch.int32)
        self.add_rows("sums", torch.float64)

    def update(self, probabilities: Tensor, target: Tensor, names: Sequence[str]) -> None:
        """Add a batch of whole images; args as ``SegmentationScores.update``."""
        probabilities, target = self.check(probabilities, target, names)
        space = probabilities.shape[2:]
        for channel in channels(probabilities, target, task=self.task, ignore_index=self.ignore_index):
            band = boundary_band(
                channel.positive.view(space), channel.negative.view(space), radius_px=self.band_px
            )
            sums = torch.zeros(GROUPS, RELIABILITY_BINS, SUMS, dtype=torch.float64, device=band.device)
            counts = torch.zeros_like(self.pr_counts[0])
            for piece, inside in channel.pieces(band.flatten()):
                sums += group_sums(piece, inside)
                if self.precision_recall:
                    counts += _pr_counts(piece)
            self.append("sums", sums)
            if self.precision_recall:
                self.append("coarse_pr", counts.view(2, COARSE_PR_BINS, -1).sum(-1))
                self.pr_counts[channel.class_index] += counts

    def compute(self) -> dict[str, Tensor]:
        """Return every score: ``aupr``, and ``ece``, ``brier``, ``nll`` of all pixels, as means over classes.

        Returns:
            Means over all classes but the background. Also ``<score>/<class>``, and for regions
            ``<score>_foreground`` and ``<score>_band``. In
            multiclass ``nll`` is the usual -log of the true class's probability, each pixel once: all
            pixels, over the foreground those of all classes but the background. NaN where there is nothing
            to score.
        """
        _, rows = self.sorted_rows("sums", self.num_classes, GROUPS, RELIABILITY_BINS, SUMS)
        groups = rows.numpy().sum(axis=0)
        found: dict[str, Tensor] = {}
        if self.precision_recall:
            for name, area in (("aupr", average_precision), ("aupr33", average_precision_of_33)):
                values = area(*self.pr_counts.cpu().unbind(1)).numpy()
                found |= self._named(name, values, mean_over_classes(values, background=self.background))
        for region in REGIONS:
            suffix = "" if region == "all" else f"_{region}"
            for name, values in calibration(groups, region).items():
                found |= self._named(name + suffix, values, self._mean(name, region, values, groups))
        return found

    def curves(self) -> dict[str, Any]:
        """Return the bins of each image, class and region as columns for ``segfocal.runs.curves``.

        A collective: call it on every process. Empty bins are left out; precision-recall bins are 256, joined
        from the fine ones, and cover all pixels.

        Returns:
            Columns name, class_index, class_name, region, curve, low, high, pixels, positives and
            probability_sum.
        """
        with self.sync_context():
            names, sums = self.sorted_rows("sums", self.num_classes, GROUPS, RELIABILITY_BINS, SUMS)
            bins = COARSE_PR_BINS if self.precision_recall else 0
            _, coarse = self.sorted_rows("coarse_pr", self.num_classes, 2, bins)
        parts = [self._columns(names, region_bins(sums.numpy(), region), region) for region in REGIONS]
        table = np.zeros((len(names), self.num_classes, bins, 3))
        table[..., 0], table[..., 1], table[..., 2] = coarse.sum(2), coarse[:, :, 1], np.nan
        parts.append(self._columns(names, table, "all", edges=pr_edges(COARSE_PR_BINS).numpy()))
        return {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}

    def likelihoods(self) -> dict[str, Any]:
        """Return exact sums of each image, class and region as columns for ``segfocal.runs.calibration``.

        A collective: call it on every process.
        """
        with self.sync_context():
            names, sums = self.sorted_rows("sums", self.num_classes, GROUPS, RELIABILITY_BINS, SUMS)
        return image_columns(sums.numpy(), names=names, class_names=self.class_names)

    def _columns(
        self,
        names: list[str],
        table: Array,
        region: str,
        *,
        edges: Array | None = None,
    ) -> dict[str, Any]:
        """One column per key from (images, classes, bins, 3): pixels, positives, sum of p."""
        curve = "reliability" if edges is None else "pr"
        edges = np.arange(RELIABILITY_BINS + 1) / RELIABILITY_BINS if edges is None else edges
        image, index, place = np.nonzero(table[..., 0])
        cells = table[image, index, place]
        return {
            "name": np.array(names, dtype=object)[image],
            "class_index": index,
            "class_name": np.array(self.class_names, dtype=object)[index],
            "region": np.full(len(image), region, dtype=object),
            "curve": np.full(len(image), curve, dtype=object),
            "low": edges[place],
            "high": edges[place + 1],
            "pixels": cells[:, 0].astype(np.int64),
            "positives": cells[:, 1].astype(np.int64),
            "probability_sum": cells[:, 2],
        }

    def _mean(self, name: str, region: str, values: Array, groups: Array) -> float:
        if self.task == "multiclass" and name == "nll":
            kept = [i for i in range(self.num_classes) if region != "foreground" or i != self.background]
            return true_class_nll(groups[kept], region)
        return mean_over_classes(values, background=self.background)

    def _named(self, name: str, values: Array, mean: float) -> dict[str, Tensor]:
        labels = [f"{name}/{label}" for label in self.class_names]
        numbers = zip([name, *labels], [mean, *values.tolist()], strict=True)
        return {key: self._scalar(value) for key, value in numbers}


def _pr_counts(channel: Channel) -> Tensor:
    """Return (2, 2^16): pixels labelled otherwise, and with the class."""
    cells = pr_bin(channel.probability) + PR_BINS * channel.positive.int()
    cells.masked_fill_(~(channel.positive | channel.negative), 2 * PR_BINS)
    return torch.bincount(cells, minlength=2 * PR_BINS + 1)[:-1].view(2, PR_BINS)
