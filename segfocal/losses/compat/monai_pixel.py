"""MONAI's focal loss, and the cross-entropy inside its DiceCELoss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.errors import check_range
from segfocal.losses.compat.adapter import Call, choice, constants, evaluate, not_carried, per_class
from segfocal.losses.compat.monai_base import Weight, monai_target
from segfocal.losses.compat.pixels import PixelLoss, Sides, background_first, ones
from segfocal.losses.needs import Activation
from segfocal.losses.reduction import ratio


class FocalLoss(PixelLoss):
    """Focal loss with MONAI's arguments and scalings.

    The mean is over all elements, channels included, also under softmax, where gamma = 0 is therefore
    cross-entropy divided by C; with ``ignore_index`` it is over the valid pixels only, which makes it C times
    as large. ``"sum"`` is the sum over images and channels of a mean over space. A single ``alpha`` weighs
    the positives under sigmoid, and all classes but the first under softmax; the rest gets 1 - alpha. A list
    multiplies the positives of each class and leaves the negatives at 1.

    Raises:
        SegfocalError: For settings out of range, and softmax with ``include_background=False``; when called,
            for one channel with softmax or a list of weights, and for soft targets with a gamma or alpha.

    Example:
        >>> FocalLoss(gamma=0.0)(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4))  # log 2
        tensor(0.6931)
    """

    alpha: Tensor | None
    weight: Tensor | None

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        gamma: float = 2.0,
        alpha: float | Sequence[float] | None = None,
        weight: Weight = None,
        reduction: str = "mean",
        use_softmax: bool = False,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(locals(), gamma=gamma, soft=use_softmax or (gamma == 0 and alpha is None))
        if use_softmax and not include_background:
            raise not_carried(
                "include_background",
                False,
                "it drops the background before the softmax, so that false positives cost nothing. Leave it "
                "True, or give the background a small weight.",
            )
        self.include_background, self.to_onehot_y = include_background, to_onehot_y
        self.reduction = choice("reduction", reduction, ("mean", "sum", "none"))
        self.use_softmax, self.ignore_index = use_softmax, ignore_index
        single = alpha is None or isinstance(alpha, int | float)
        found = constants("alpha", alpha, high=1.0 if single else float("inf"))
        self.register_buffer("alpha", found, persistent=False)
        self.register_buffer("weight", constants("weight", weight), persistent=False)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Args:
            input: Logits ``(N, C, *S)``.
            target: Masks ``(N, C, *S)``, or labels ``(N, 1, *S)`` with ``to_onehot_y``.

        Returns:
            A scalar in nats; with reduction "none" a map ``(N, C, *S)``, without the background if so asked.

        Raises:
            SegfocalError: For shapes and values that do not fit.
        """
        call = self.call(input, target)
        return self.map(call) if self.reduction == "none" else evaluate([self], call)[0]

    def call(self, input: Tensor, target: Tensor) -> Call:
        """Return the arguments of the pass."""
        masks = monai_target(input, target, to_onehot_y=self.to_onehot_y, ignore_index=self.ignore_index)
        self.check_channels(input.shape[1])
        return Call(input, masks, self.ignore_index)

    def check_channels(self, channels: int) -> None:
        """Raise for what one channel cannot have."""
        if channels == 1 and self.use_softmax:
            raise not_carried("use_softmax", True, "the softmax of one channel is constant. Leave it False.")
        if channels == 1 and not self.include_background:
            raise not_carried("include_background", False, "one channel has no background. Leave it True.")
        left = channels if self.include_background else channels - 1
        if left == 1 and self.weight is not None and self.weight.ndim:
            raise not_carried("weight", self.weight, "a single channel takes a single number.")

    def activation(self, channels: int) -> Activation:
        """Return softmax where it is asked for."""
        return "softmax" if self.use_softmax else "sigmoid"

    def sides(self, channels: int) -> Sides | None:
        """Return alpha times weight; the background weighs 0 where it is left out."""
        if self.alpha is None and self.weight is None and self.include_background:
            return None
        left = channels if self.include_background else channels - 1
        one = ones(self.gamma, left)
        negative, positive = one, one
        if self.alpha is not None and self.alpha.ndim:
            positive = per_class("alpha", self.alpha, left)
        elif self.alpha is not None and self.use_softmax:
            positive = background_first(self.alpha, left)
        elif self.alpha is not None:
            negative, positive = one - self.alpha, one * self.alpha
        if self.weight is not None:
            each = per_class("weight", self.weight, left)
            negative, positive = negative * each, positive * each
        skipped = ones(self.gamma, channels - left) * 0
        return Sides(torch.cat([skipped, negative]), torch.cat([skipped, positive]))

    def reduce(self, loss: Tensor, count: Tensor, call: Call) -> Tensor:
        """Divide by elements, by pixels, or every image by its own pixels."""
        pixels = count.sum(1) if self.use_softmax else count[:, 0]
        if self.reduction == "sum":
            return ratio(loss.sum(1), pixels).sum()
        channels = loss.shape[1] - (0 if self.include_background else 1)
        return ratio(loss.sum(), pixels.sum() * (channels if self.ignore_index is None else 1))

    def map(self, call: Call) -> Tensor:
        """Return the map, without the background where it is left out."""
        found = super().map(call)
        return found if self.include_background else found[:, 1:]


class CrossEntropy(PixelLoss):
    """The cross-entropy inside DiceCELoss: softmax, or binary where there is one channel.

    Args:
        weight: Of the classes; for one channel, of the positives.
        reduction: ``"mean"`` divides by the class weights of all pixels, by the pixels where the target is
            masks; or ``"sum"``.
        label_smoothing: In [0, 1].
    """

    weight: Tensor | None

    def __init__(self, weight: Weight, reduction: str, label_smoothing: float) -> None:
        check_range("label_smoothing", label_smoothing, low=0.0, high=1.0)
        super().__init__(locals(), gamma=0.0, soft=True, smoothing=float(label_smoothing))
        self.reduction = choice("reduction", reduction, ("mean", "sum"))
        self.register_buffer("weight", constants("weight", weight), persistent=False)

    def activation(self, channels: int) -> Activation:
        """Return sigmoid for one channel."""
        return "softmax" if channels > 1 else "sigmoid"

    def check_channels(self, channels: int) -> None:
        """Raise for what one channel cannot have."""
        if channels == 1 and self.smoothing:
            raise not_carried("label_smoothing", self.smoothing, "one channel has none. Leave it 0.")

    def sides(self, channels: int) -> Sides | None:
        """Return the class weights, for one channel the weight of its positives."""
        if self.weight is None:
            return None
        return Sides(ones(self.gamma, channels), per_class("weight", self.weight, channels))

    def reduce(self, loss: Tensor, count: Tensor, call: Call) -> Tensor:
        """Divide by pixels, each with its class's weight where the target is labels."""
        if self.reduction == "sum":
            return loss.sum()
        if self.weight is not None and call.target.ndim < call.logits.ndim:
            count = count * per_class("weight", self.weight, call.logits.shape[1]).to(count)
        return ratio(loss.sum(), count.sum())
