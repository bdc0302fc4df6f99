"""kornia's focal losses."""

from __future__ import annotations

from torch import Tensor

from segfocal.losses.compat.adapter import Call, choice, constants, evaluate, per_class
from segfocal.losses.compat.inputs import check_shape
from segfocal.losses.compat.pixels import PixelLoss, Sides, background_first, ones
from segfocal.losses.needs import Activation

REDUCTIONS = ("none", "mean", "sum")


def reduced(loss: Tensor, reduction: str, call: Call) -> Tensor:
    """Divide by all elements of the logits, those of other classes and ignored ones too."""
    return loss.sum() / (1 if reduction == "sum" else max(call.logits.numel(), 1))


class FocalLoss(PixelLoss):
    """Softmax focal loss with kornia's arguments and scalings.

    The mean divides by all elements of the logits: gamma = 0 is cross-entropy divided by C, and ignored
    pixels stay in it. ``alpha`` weighs all classes but the first, which gets 1 - alpha; ``None``: 1.

    Args:
        alpha: In [0, 1], or ``None``.
        gamma: Focusing exponent >= 0.
        reduction: ``"none"`` gives a map ``(N, C, *S)``, 0 but for the label's class.
        weight: ``(C,)`` class weights, or ``None``.
        ignore_index: Label left out of the sum.

    Raises:
        SegfocalError: For settings out of range.

    Example:
        >>> import torch
        >>> loss = FocalLoss(alpha=None, gamma=0.0, reduction="mean")
        >>> loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]))  # log 2 / 2
        tensor(0.3466)
    """

    alpha: Tensor | None
    weight: Tensor | None

    def __init__(
        self,
        alpha: float | None,
        gamma: float = 2.0,
        reduction: str = "none",
        weight: Tensor | None = None,
        ignore_index: int | None = -100,
    ) -> None:
        super().__init__(locals(), gamma=gamma, soft=True)
        self.reduction, self.ignore_index = choice("reduction", reduction, REDUCTIONS), ignore_index
        self.register_buffer("alpha", constants("alpha", alpha, high=1.0), persistent=False)
        self.register_buffer("weight", constants("weight", weight), persistent=False)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar in nats, or a map.

        Args:
            pred: Logits ``(N, C, *S)``.
            target: Labels ``(N, *S)``, any integer dtype.

        Raises:
            SegfocalError: For shapes and labels that do not fit.
        """
        check_shape("target", target, (pred.shape[0], *pred.shape[2:]), pred)
        call = Call(pred, target, self.ignore_index)
        return self.map(call) if self.reduction == "none" else evaluate([self], call)[0]

    def activation(self, channels: int) -> Activation:
        """Return softmax."""
        return "softmax"

    def sides(self, channels: int) -> Sides | None:
        """Return alpha times weight."""
        if self.alpha is None and self.weight is None:
            return None
        one = ones(self.gamma, channels)
        positive = one if self.alpha is None else background_first(self.alpha, channels)
        if self.weight is not None:
            positive = positive * per_class("weight", self.weight, channels)
        return Sides(one, positive)

    def reduce(self, loss: Tensor, count: Tensor, call: Call) -> Tensor:
        """Reduce as ``reduced`` does."""
        return reduced(loss, self.reduction, call)


class BinaryFocalLossWithLogits(PixelLoss):
    """Sigmoid focal loss with kornia's arguments; the mean is over all elements, ignored ones too.

    Args:
        alpha: Weight of the positives in [0, 1], negatives get 1 - alpha; ``None``: 1 for both.
        gamma: Focusing exponent >= 0.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        pos_weight: ``(C,)`` further weights of the positives, or ``None``.
        weight: ``(C,)`` weights of the channels, or ``None``.
        ignore_index: Target value left out of the sum.

    Raises:
        SegfocalError: For settings out of range.
    """

    alpha: Tensor | None
    pos_weight: Tensor | None
    weight: Tensor | None

    def __init__(
        self,
        alpha: float | None,
        gamma: float = 2.0,
        reduction: str = "none",
        pos_weight: Tensor | None = None,
        weight: Tensor | None = None,
        ignore_index: int | None = -100,
    ) -> None:
        super().__init__(locals(), gamma=gamma, soft=True)
        self.reduction, self.ignore_index = choice("reduction", reduction, REDUCTIONS), ignore_index
        self.register_buffer("alpha", constants("alpha", alpha, high=1.0), persistent=False)
        self.register_buffer("pos_weight", flat("pos_weight", pos_weight), persistent=False)
        self.register_buffer("weight", flat("weight", weight), persistent=False)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss: a scalar in nats, or a map ``(N, C, *S)``.

        Args:
            pred: Logits ``(N, C, *S)``.
            target: Masks of the same shape, hard or soft, any dtype.

        Raises:
            SegfocalError: For shapes and values that do not fit.
        """
        check_shape("target", target, tuple(pred.shape), pred)
        call = Call(pred, target, self.ignore_index)
        return self.map(call) if self.reduction == "none" else evaluate([self], call)[0]

    def activation(self, channels: int) -> Activation:
        """Return sigmoid."""
        return "sigmoid"

    def sides(self, channels: int) -> Sides | None:
        """Return alpha times both weights."""
        one = ones(self.gamma, channels)
        negative, positive = (one, one) if self.alpha is None else (one - self.alpha, one * self.alpha)
        if self.pos_weight is not None:
            positive = positive * per_class("pos_weight", self.pos_weight, channels)
        if self.weight is not None:
            each = per_class("weight", self.weight, channels)
            negative, positive = negative * each, positive * each
        return Sides(negative, positive)

    def reduce(self, loss: Tensor, count: Tensor, call: Call) -> Tensor:
        """Reduce as ``reduced`` does."""
        return reduced(loss, self.reduction, call)


def flat(argument: str, value: Tensor | None) -> Tensor | None:
    """Return weights ``(C, 1, ...)`` as constants ``(C,)``."""
    return constants(argument, value.flatten() if isinstance(value, Tensor) and value.ndim > 1 else value)


def focal_loss(
    pred: Tensor,
    target: Tensor,
    alpha: float | None,
    gamma: float = 2.0,
    reduction: str = "none",
    weight: Tensor | None = None,
    ignore_index: int | None = -100,
) -> Tensor:
    """Compute softmax focal loss; as ``FocalLoss``."""
    found: Tensor = FocalLoss(alpha, gamma, reduction, weight, ignore_index).to(pred.device)(pred, target)
    return found


def binary_focal_loss_with_logits(
    pred: Tensor,
    target: Tensor,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    reduction: str = "none",
    pos_weight: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int | None = -100,
) -> Tensor:
    """Compute sigmoid focal loss; as ``BinaryFocalLossWithLogits``."""
    loss = BinaryFocalLossWithLogits(alpha, gamma, reduction, pos_weight, weight, ignore_index)
    found: Tensor = loss.to(pred.device)(pred, target)
    return found
