"""mmsegmentation's focal loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.losses.compat.adapter import Call, choice, constants, evaluate, not_carried, per_class
from segfocal.losses.compat.inputs import check_shape
from segfocal.losses.compat.pixels import PixelLoss, Sides, ones
from segfocal.losses.needs import Activation

REDUCTIONS = ("none", "mean", "sum")


class FocalLoss(PixelLoss):
    """Sigmoid focal loss with mmsegmentation's arguments: every class against the rest.

    The mean is over all elements, ignored ones too, or the sum divided by ``avg_factor``.

    Args:
        use_sigmoid: ``True``.
        gamma: Focusing exponent >= 0.
        alpha: Weight of the positives in [0, 1], one or one per class; negatives get 1 - alpha.
        reduction: ``"none"``, ``"mean"`` or ``"sum"``.
        class_weight: One number per class, or ``None``.
        loss_weight: Factor of the whole.
        loss_name: Kept as ``loss_name``.

    Raises:
        SegfocalError: For ``use_sigmoid=False``, and settings out of range.
    """

    alpha: Tensor
    class_weight: Tensor | None

    def __init__(
        self,
        use_sigmoid: bool = True,
        gamma: float = 2.0,
        alpha: float | Sequence[float] = 0.5,
        reduction: str = "mean",
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = "loss_focal",
    ) -> None:
        if not use_sigmoid:
            remedy = 'the peer has sigmoid only. For softmax use segfocal.losses.FocalLoss("multiclass").'
            raise not_carried("use_sigmoid", use_sigmoid, remedy)
        super().__init__(locals(), gamma=gamma, soft=False)
        self.reduction, self.loss_weight = choice("reduction", reduction, REDUCTIONS), loss_weight
        self.loss_name = loss_name
        self.register_buffer("alpha", constants("alpha", alpha, high=1.0), persistent=False)
        self.register_buffer("class_weight", constants("class_weight", class_weight), persistent=False)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
        ignore_index: int = 255,
        **kwargs: Any,
    ) -> Tensor:
        """Return the loss: a scalar in nats, or a map ``(N, C, *S)``.

        Args:
            pred: Logits ``(N, C, *S)``.
            target: Labels ``(N, *S)``, or masks of 0 and 1 ``(N, C, *S)``.
            weight: ``(pixels,)`` or ``(pixels, C)``, pixels in the order of images, then space.
            avg_factor: Divides the sum, with reduction "mean".
            reduction_override: Takes the place of ``reduction``.
            ignore_index: Label left out of the sum.
            kwargs: Not read, as at mmsegmentation.

        Raises:
            SegfocalError: For shapes and values that do not fit.
        """
        call = mmseg_call(pred, target, weight, ignore_index)
        reduction = chosen(self.reduction, reduction_override, avg_factor)
        if reduction == "none":
            return self.loss_weight * self.map(call)
        total = self.loss_weight * evaluate([self], call)[0]
        if reduction == "sum":
            return total
        return total / (max(pred.numel(), 1) if avg_factor is None else avg_factor)

    def activation(self, channels: int) -> Activation:
        """Return sigmoid."""
        return "sigmoid"

    def sides(self, channels: int) -> Sides | None:
        """Return alpha times class weight."""
        alpha = per_class("alpha", self.alpha, channels)
        each = ones(self.gamma, channels)
        if self.class_weight is not None:
            each = per_class("class_weight", self.class_weight, channels)
        return Sides((1 - alpha) * each, alpha * each)

    def reduce(self, loss: Tensor, count: Tensor, call: Call) -> Tensor:
        """Sum; what divides is only known to the call."""
        return loss.sum()


def mmseg_call(pred: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int | None) -> Call:
    """Bring target and weight into the shapes of the pass.

    Args:
        pred: ``(N, C, *S)``.
        target: Labels ``(N, *S)`` or masks ``(N, C, *S)``.
        weight: ``(pixels,)``, ``(pixels, 1)`` or ``(pixels, C)``, or ``None``.
        ignore_index: Of labels; masks have none.

    Returns:
        The arguments of the pass.

    Raises:
        SegfocalError: For other shapes, and labels for one channel.
    """
    is_masks = target.shape == pred.shape
    if not is_masks:
        check_shape("target", target, (pred.shape[0], *pred.shape[2:]), pred)
        if pred.shape[1] == 1:
            raise SegfocalError(
                "target must be a mask of the shape of pred where there is one channel, got labels. "
                "Hand in target.unsqueeze(1)."
            )
    if weight is not None:
        pixels, channels = pred.numel() // max(pred.shape[1], 1), pred.shape[1]
        if tuple(weight.shape) not in ((pixels,), (pixels, 1), (pixels, channels)):
            raise SegfocalError(
                f"weight must have shape ({pixels},) or ({pixels}, {channels}), got {tuple(weight.shape)}."
            )
        weight = weight.reshape(pred.shape[0], *pred.shape[2:], -1).movedim(-1, 1)
    return Call(pred, target, None if is_masks else ignore_index, weight)


def chosen(reduction: str, override: str | None, avg_factor: float | None) -> str:
    """Return the reduction of one call.

    Args:
        reduction: Of the module.
        override: Takes its place, or ``None``.
        avg_factor: Whether the caller divides.

    Returns:
        ``"none"``, ``"mean"`` or ``"sum"``.

    Raises:
        SegfocalError: For an unknown one, and ``avg_factor`` with ``"sum"``.
    """
    found = reduction if override is None else choice("reduction_override", override, REDUCTIONS)
    if found == "sum" and avg_factor is not None:
        raise SegfocalError(f'avg_factor divides a "mean", got avg_factor={avg_factor} with reduction "sum".')
    return found


def divided(values: Tensor, reduction: str, avg_factor: float | None) -> Tensor:
    """Reduce terms of images as mmsegmentation does."""
    if reduction == "none":
        return values
    if reduction == "mean" and avg_factor is not None:
        return values.sum() / avg_factor
    return values.sum() if reduction == "sum" else values.mean()


def no_file(class_weight: object) -> torch.Tensor | None:
    """Return class weights as constants; the name of a file is refused."""
    if isinstance(class_weight, str):
        raise not_carried("class_weight", class_weight, "files are not read. Hand in the numbers.")
    return constants("class_weight", class_weight)
