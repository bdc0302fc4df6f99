"""How far every pixel is from its label: histograms of the margin, in bins that add up over images."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

Array = NDArray[np.float64]

# log 3 nats are 256 bins, so that p_t = .1, .25, .5, .75 and .9 are edges of bins
PER_LOG3 = 256
WIDTH = math.log(3.0) / PER_LOG3
_REACH = 64.0  # beyond it all is one bin: a pixel's slope is below 2e-28 there, or its loss linear
_HALF = math.ceil(_REACH / WIDTH)
BINS = 2 * _HALF
_SMALLEST = torch.finfo(torch.float32).tiny


class Histograms(NamedTuple):
    """What `MarginHistograms` counted.

    Args:
        elements: int64 ``(groups, bins)``, the easiest (most negative margin) first.
        margins: float64 ``(groups, bins)``, the mean margin in nats of each bin's elements; 0 where none is.
    """

    elements: NDArray[np.int64]
    margins: Array


class MarginHistograms(Metric):
    """Numbers of elements by group and margin, and the exact sum of the margins in every bin.

    The margin is ``-logit(p_t)``: negative where the label is more likely than all else together. Bins are
    0.0043 nats wide; a smooth function of the margin, taken at each bin's mean margin, sums up to what it
    sums up to over the pixels, within ``f'' / f * width^2 / 24`` (1e-5 for focal loss of gamma 5). So every
    loss can be studied afterwards, and nothing is kept of the pixels.

    Memory: 0.5 MiB per group, whatever the images.

    Args:
        groups: How many groups of elements are counted apart.

    Example:
        >>> found = MarginHistograms(2)
        >>> found.update(torch.tensor([0.1054, 2.3026]), torch.tensor([0, 1]))  # p_t = .9 and .1
        >>> histograms = found.histograms()
        >>> histograms.elements.sum(1).tolist(), histograms.margins.sum(1).round(2).tolist()
        ([1, 1], [-2.2, 2.2])
    """

    full_state_update = False

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.elements: Tensor
        self.sums: Tensor
        self.add_state("elements", torch.zeros(groups * BINS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(groups * BINS, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, nll: Tensor, group: Tensor) -> None:
        """Add elements.

        Args:
            nll: -log p_t of each, in nats, finite, any shape.
            group: Integers of the same shape, in [0, groups).
        """
        # log(e^nll - 1) without overflow; the loss keeps its relative precision where p_t rounds to 1
        nll = nll.detach().float().clamp(min=_SMALLEST).flatten()
        margin = nll + torch.log(-torch.expm1(-nll))
        cells = (margin.double() / WIDTH).floor_().add_(_HALF).clamp_(0, BINS - 1).long()
        cells += group.flatten().long() * BINS
        self.elements += torch.zeros_like(self.elements).index_add_(0, cells, torch.ones_like(cells))
        self.sums += torch.zeros_like(self.sums).index_add_(0, cells, margin.double())

    def compute(self) -> Tensor:
        """Return the number of elements of each group."""
        return self.elements.view(self.groups, BINS).sum(1)

    def histograms(self) -> Histograms:
        """Return elements and mean margins of every group and bin; collective."""
        with self.sync_context():
            elements = self.elements.cpu().numpy().reshape(self.groups, BINS)
            sums = self.sums.cpu().numpy().reshape(self.groups, BINS)
        return Histograms(elements.copy(), sums / np.maximum(elements, 1))


def bin_at(p: float) -> int:
    """Return the bin whose upper edge is p_t, or the edge nearest to it: those before it are easier.

    Example:
        >>> bool(np.isclose((bin_at(0.9) - _HALF) * WIDTH, -math.log(9)))
        True
    """
    return round((math.log1p(-p) - math.log(p)) / WIDTH) + _HALF
