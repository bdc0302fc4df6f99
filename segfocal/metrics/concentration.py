"""How the loss is spread over the pixels of all images: histograms whose bins add up over processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

# float32 keeps 23 bits of fraction; the top 4 of them make 16 bins per factor of 2
_SHIFT = 19
_PIECE = 2**22  # elements; the memory does not grow with the image
_FIRST = (127 - 100) << (23 - _SHIFT)  # 2^-100 and all below it, zero too, are the first bin
_LAST = (127 + 28) << (23 - _SHIFT)  # 2^28 nats and all above are the last
BINS = _LAST - _FIRST + 1
SIDES = ("negative", "positive")


class LossConcentration(Metric):
    """Numbers of elements and exact sums of their loss, by size of the loss, positives and negatives apart.

    Memory: 64 KiB, whatever the images.

    Example:
        >>> spread = LossConcentration()
        >>> labels = torch.tensor([True, False, False])
        >>> spread.update(torch.tensor([0.5, 2.0, 9.0]), labels, torch.tensor([True, True, False]))
        >>> spread.histograms()["loss"].tolist()
        [2.0, 0.5]
    """

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.elements: Tensor
        self.sums: Tensor
        self.add_state("elements", torch.zeros(2 * BINS, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(2 * BINS, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, values: Tensor, foreground: Tensor, kept: Tensor) -> None:
        """Add the elements of a batch.

        Args:
            values: The loss of every element, in nats, any shape.
            foreground: bool, same shape: which are positives.
            kept: bool, same shape: which are not ignored.
        """
        pieces = (part.flatten().split(_PIECE) for part in (values.detach(), foreground, kept))
        for losses, positive, counted in zip(*pieces, strict=True):
            self._add(losses.float().clamp(min=0.0), positive, counted)

    def _add(self, losses: Tensor, foreground: Tensor, kept: Tensor) -> None:
        cells = (losses.view(torch.int32) >> _SHIFT).sub_(_FIRST).clamp_(0, BINS - 1)
        cells = cells.add_(foreground.int() * BINS)[kept].long()
        self.elements += torch.zeros_like(self.elements).index_add_(0, cells, torch.ones_like(cells))
        self.sums += torch.zeros_like(self.sums).index_add_(0, cells, losses[kept].double())

    def compute(self) -> Tensor:
        """Return the share of the whole loss that the positives carry; NaN where there is no loss."""
        positive = self.sums[BINS:].sum()
        share: Tensor = positive / self.sums.sum()
        return share.float()

    def histograms(self) -> dict[str, Any]:
        """Return the bins that hold something as columns for ``segfocal.runs.concentration``; collective.

        Returns:
            Columns side, low, high (nats), elements and loss.
        """
        with self.sync_context():
            elements = self.elements.cpu().numpy().reshape(2, BINS)
            sums = self.sums.cpu().numpy().reshape(2, BINS)
        codes = np.arange(_FIRST, _LAST + 2, dtype=np.int32) << _SHIFT
        edges = codes.view(np.float32).astype(np.float64)
        edges[0], edges[-1] = 0.0, np.inf
        side, place = np.nonzero(elements)
        return {
            "side": np.array(SIDES, dtype=object)[side],
            "low": edges[place],
            "high": edges[place + 1],
            "elements": elements[side, place],
            "loss": sums[side, place],
        }
