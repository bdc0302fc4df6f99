"""MONAI's wrappers around a loss: deep supervision; the one that masks logits is refused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.losses.checks import numbers
from segfocal.losses.compat.adapter import Adapter, choice
from segfocal.losses.deep import nearest


class DeepSupervisionLoss(Adapter):
    """Sum of a loss over the outputs of several resolutions, each against the target resized to it.

    Args:
        loss: Called as ``loss(input, target)``.
        weight_mode: Weights by level: ``"exp"``: 1, 1/2, 1/4, 1/8, then 1/16; ``"two"``: 1, then 1/2;
            ``"same"``: 1. Not divided by their sum.
        weights: Numbers in place of ``weight_mode``, at least as many as outputs.

    Raises:
        SegfocalError: For an unknown mode; when called, for too few weights.
    """

    def __init__(
        self, loss: nn.Module, weight_mode: str = "exp", weights: Sequence[float] | None = None
    ) -> None:
        super().__init__(locals())
        self.loss = loss
        self.weight_mode = choice("weight_mode", weight_mode, ("same", "exp", "two"))
        self.weights: list[float] | None = (
            None if weights is None else numbers("weights", list(weights)).tolist()
        )

    def forward(self, input: Sequence[Tensor] | Tensor, target: Tensor) -> Tensor:
        """Return the weighted sum.

        Args:
            input: Outputs, the full resolution first; a single tensor gives the loss itself.
            target: As the loss takes it, ``(N, C, *S)`` or ``(N, 1, *S)``, of any dtype.

        Returns:
            A scalar.
        """
        if isinstance(input, Tensor):
            return self._value(input, target)
        values = [self._value(output, nearest(target, output.shape[2:])) for output in input]
        shares = self.get_weights(len(input))
        return reduce(torch.add, [share * value for share, value in zip(shares, values, strict=True)])

    def _value(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of one output."""
        value: Tensor = self.loss(input, target)
        return value

    def get_weights(self, levels: int) -> list[float]:
        """Return the weight of each level."""
        if self.weights is None:
            least = {"same": 1.0, "two": 0.5, "exp": 0.0625}[self.weight_mode]
            return [max(0.5**level, least) for level in range(levels)]
        if len(self.weights) < levels:
            raise SegfocalError(
                f"weights must hold one number per output, got {len(self.weights)} for {levels} outputs. "
                "Give as many, or weights=None for those of weight_mode."
            )
        return self.weights[:levels]


class MaskedLoss:
    """Refused: a mask that multiplies logits does not take pixels out, it sets their logits to 0."""

    def __init__(self, loss: Any, *loss_args: Any, **loss_kwargs: Any) -> NoReturn:
        name = getattr(loss, "__name__", type(loss).__name__)
        raise SegfocalError(
            f"MaskedLoss(loss={name}) is not carried over: multiplying logits by a mask does not take pixels "
            "out. Give the mask as weight to a loss of segfocal.losses, or mark pixels with ignore_index."
        )
