"""torchvision's focal loss: ``from segfocal.losses.compat.torchvision import sigmoid_focal_loss``.

Source: ``torchvision.ops.sigmoid_focal_loss`` of torchvision 0.29.
"""

from __future__ import annotations

from torch import Tensor

from segfocal.errors import check_range
from segfocal.losses.compat.adapter import Call, choice, evaluate
from segfocal.losses.compat.inputs import check_shape, elementwise
from segfocal.losses.compat.pixels import PixelLoss, Sides, ones
from segfocal.losses.needs import Activation
from segfocal.losses.reduction import ratio


class _SigmoidFocal(PixelLoss):
    """One channel; alpha below 0 for none."""

    def __init__(self, alpha: float, gamma: float, reduction: str) -> None:
        super().__init__(locals(), gamma=gamma, soft=gamma == 0 and alpha < 0)
        self.alpha, self.reduction = alpha, reduction

    def activation(self, channels: int) -> Activation:
        return "sigmoid"

    def sides(self, channels: int) -> Sides | None:
        one = ones(self.gamma, channels)
        return None if self.alpha < 0 else Sides(one * (1 - self.alpha), one * self.alpha)

    def reduce(self, loss: Tensor, count: Tensor, call: Call) -> Tensor:
        return loss.sum() if self.reduction == "sum" else ratio(loss.sum(), count.sum())


def sigmoid_focal_loss(
    inputs: Tensor,
    targets: Tensor,
    alpha: float = 0.25,
    gamma: float = 2,
    reduction: str = "none",
) -> Tensor:
    """Compute sigmoid focal loss ``alpha_t (1 - p_t)^gamma (-log p_t)``, torchvision's arguments.

    Args:
        inputs: Logits of any shape and floating dtype.
        targets: 0 and 1, the same shape, any dtype. Soft ones only with ``gamma=0, alpha=-1``.
        alpha: Weight of the positives in [0, 1], negatives get 1 - alpha; -1: weight 1 for both.
        gamma: Focusing exponent >= 0.
        reduction: ``"none"``, ``"mean"`` over all elements, or ``"sum"``.

    Returns:
        Nats: the inputs' shape, or a scalar; float32, or float64 for float64 inputs.

    Raises:
        SegfocalError: For shapes, settings out of range, and targets that are neither 0 nor 1.

    Example:
        >>> import torch
        >>> sigmoid_focal_loss(torch.zeros(2), torch.tensor([0, 1]))  # (1/2)^2 log 2, times 3/4 and 1/4
        tensor([0.1300, 0.0433])
    """
    choice("reduction", reduction, ("none", "mean", "sum"))
    if alpha != -1:
        check_range("alpha", alpha, low=0.0, high=1.0)
    check_shape("targets", targets, tuple(inputs.shape), inputs)
    loss = _SigmoidFocal(alpha, gamma, reduction).to(inputs.device)
    call = Call(*elementwise(inputs, targets))
    return loss.map(call).view(inputs.shape) if reduction == "none" else evaluate([loss], call)[0]
