"""The module that is exported: preprocessing, network and activation, for images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segfocal.models.outputs import main_output
from segfocal.models.stride import crop_to


class ExportGraph(nn.Module):
    """Map images as they are stored to probabilities.

    Args:
        network: Images ``(N, C, *S)`` to logits ``(N, K, *S)``.
        entry: The steps of preprocessing inside the graph.
        task: ``"multiclass"`` has a softmax, all others a sigmoid.
        divisor: Multiple of the sizes that the network takes; smaller images are padded by their last row and
            column, as in prediction, and the scores of the padding are cut off.
        tile: Sizes below which images are padded with zeros, as small patches were in training; None: not.

    Example:
        >>> graph = ExportGraph(nn.MaxPool2d(1), entry=nn.Identity(), task="binary", divisor=4, tile=None)
        >>> graph(torch.zeros(1, 1, 3, 5)).shape
        torch.Size([1, 1, 3, 5])
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        entry: nn.Module,
        task: str,
        divisor: int,
        tile: Sequence[int] | None,
    ) -> None:
        super().__init__()
        self.entry, self.network = entry, network
        self.task, self.divisor, self.tile = task, divisor, tile

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, C, *S)`` to probabilities ``(N, K, *S)``."""
        logits = main_output(self.network(self._grown(self.entry(images)))).float()
        scores = logits.softmax(dim=1) if self.task == "multiclass" else logits.sigmoid()
        return crop_to(scores, images.shape[2:])

    def _grown(self, images: Tensor) -> Tensor:
        if self.tile is not None:
            amounts: list[Any] = []  # numbers, or torch's symbols for them
            for edge, size in zip(self.tile, images.shape[2:], strict=True):
                amounts = [0, torch.sym_max(0, edge - size), *amounts]
            images = F.pad(images, amounts)
        if self.divisor > 1:
            for axis in range(2, images.ndim):
                size = images.shape[axis]
                whole = (size + self.divisor - 1) // self.divisor * self.divisor
                # pad_to_multiple asks for the sizes; this takes whatever they are when the graph runs
                index = torch.arange(whole, device=images.device).clamp(max=size - 1)
                images = images.index_select(axis, index)
        return images
