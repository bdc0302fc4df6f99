"""Deep supervision: one loss over the outputs of several resolutions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.losses.base import SegmentationLoss
from segfocal.losses.checks import numbers
from segfocal.losses.evaluation import Evaluation, Started
from segfocal.losses.explain import LossShares
from segfocal.losses.needs import Needs
from segfocal.losses.pixelwise import PixelwiseLoss
from segfocal.losses.primitive.sums import PixelSums


class DeepSupervision(SegmentationLoss):
    """Weighted sum of a loss over a list of outputs, each against the target resized to it.

    Args:
        loss: Any loss of this package.
        weights: One number >= 0 per output, used as they are; ``None``: 1, 1/2, 1/4, ... divided by their
            sum. A list of another length than the outputs is an error.

    Raises:
        SegfocalError: For a loss from elsewhere, or weights out of range.

    Source:
        Isensee et al., "nnU-Net", 2021 (halving weights; they leave out the lowest resolution).

    Example:
        >>> from segfocal.losses import CrossEntropyLoss
        >>> loss = DeepSupervision(CrossEntropyLoss("binary"))
        >>> outputs = [torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)]
        >>> loss(outputs, torch.zeros(1, 4, 4, dtype=torch.uint8))  # (2/3 + 1/3) log 2
        tensor(0.6931)
    """

    def __init__(self, loss: SegmentationLoss, weights: list[float] | None = None) -> None:
        check_wrapped(loss)
        super().__init__(loss.task, ignore_index=loss.ignore_index, validate=loss.validate, sync=loss.sync)
        self.loss, self.ranks = loss, loss.ranks
        row = None if weights is None else numbers("weights", weights).reshape(-1)
        self.weights: list[float] | None = None if row is None else row.tolist()

    def forward(
        self, logits: Sequence[Tensor] | Tensor, target: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """Return the weighted sum over the outputs.

        Args:
            logits: Outputs of the network, the full resolution first; a single tensor, which many networks
                return in evaluation, gives the loss itself.
            target: For the first output; resized to the others by nearest neighbour.
            weight: Pixel weights, resized likewise.

        Returns:
            A scalar.

        Raises:
            SegfocalError: Where outputs and weights differ in number.
        """
        return self.evaluate(logits, target, weight).value

    def evaluate(
        self,
        logits: Sequence[Tensor] | Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        *,
        counts: bool = False,
    ) -> Evaluation:
        """Return the loss with the parts and the counts of the first output."""
        return super().evaluate(logits, target, weight, counts=counts)  # type: ignore[arg-type]

    def start(
        self,
        logits: Sequence[Tensor] | Tensor,
        target: Tensor,
        weight: Tensor | None,
        *,
        counts: bool,
        shared: bool,
    ) -> Started:
        """Run the wrapped loss on every output."""
        if isinstance(logits, Tensor):
            return self.loss.start(logits, target, weight, counts=counts, shared=shared)
        shares = self._shares(len(logits))
        started = [self.loss.start(logits[0], target, weight, counts=counts, shared=shared)]
        for output in logits[1:]:
            size = output.shape[2:]
            smaller = None if weight is None else nearest(weight, size)
            started.append(
                self.loss.start(output, nearest(target, size), smaller, counts=False, shared=shared)
            )

        def finish(totals: Sequence[Tensor]) -> Evaluation:
            left = iter(totals)
            found = [each.finish([next(left) for _ in each.addends]) for each in started]
            values = [share * each.value for share, each in zip(shares, found, strict=True)]
            return Evaluation(reduce(torch.add, values), found[0].parts, found[0].counts)

        return Started([each for own in started for each in own.addends], finish)

    def needs(self) -> Needs:
        """Return what the wrapped loss needs of each output."""
        return self.loss.needs()

    def from_sums(self, sums: PixelSums) -> Tensor:
        """Return the wrapped loss of one output."""
        return self.loss.from_sums(sums)

    def passes(self, channels: int) -> tuple[Needs, ...]:
        """Refuse: each output has passes of its own."""
        raise SegfocalError(
            "DeepSupervision has passes per output, so it is no term of a sum. "
            "Wrap the sum: DeepSupervision(a + b)."
        )

    def posterior(self, scores: Tensor) -> Tensor:
        """Return the posterior of the wrapped loss."""
        return self.loss.posterior(scores)

    def explain(self, logits: Tensor, target: Tensor, fractions: Iterable[float] | None = None) -> LossShares:
        """Return the shares of the wrapped loss, for one output."""
        return self.loss.explain(logits, target, fractions)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"loss": self.loss, "weights": self.weights}

    def _shares(self, outputs: int) -> list[float]:
        """Return the weight of each output."""
        if outputs == 0:
            raise SegfocalError("outputs must hold at least one tensor, got an empty list.")
        if self.weights is None:
            return [2.0**-i / (2 - 2.0 ** (1 - outputs)) for i in range(outputs)]
        if len(self.weights) != outputs:
            raise SegfocalError(
                f"weights must be one per output, got {len(self.weights)} for {outputs} outputs. "
                "Give as many, or weights=None for 1, 1/2, 1/4, ..."
            )
        return self.weights


def check_wrapped(loss: nn.Module) -> None:
    """Raise where a loss is from elsewhere, or gives maps, which outputs of several sizes cannot add."""
    if not isinstance(loss, SegmentationLoss):
        raise SegfocalError(
            f"loss must be a loss of segfocal, got {type(loss).__name__}. Add it to one: "
            'DeepSupervision(DiceLoss("binary") + other).'
        )
    if isinstance(loss, PixelwiseLoss) and loss.reduction == "none":
        raise SegfocalError('loss has reduction "none", whose maps do not add up. Use reduction="mean".')


def nearest(values: Tensor, size: Sequence[int]) -> Tensor:
    """Resize the last axes by nearest neighbour, for any dtype and number of axes.

    Args:
        values: ``(..., *S)``.
        size: New lengths of the last axes.

    Returns:
        ``(..., *size)``; element i is taken from ``floor((i + 0.5) S / size)``, as "nearest-exact" does.

    Example:
        >>> nearest(torch.tensor([[0, 1, 2, 3]]), [2])
        tensor([[1, 3]])
    """
    for axis, length in enumerate(size, start=values.ndim - len(size)):
        old = values.shape[axis]
        if old != length:
            # integers keep (i + 1/2) old / length exact
            positions = (2 * torch.arange(length, device=values.device) + 1) * old // (2 * length)
            values = values.index_select(axis, positions)
    return values
