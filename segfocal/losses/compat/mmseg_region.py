"""mmsegmentation's Dice and Tversky losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.losses.compat.adapter import Call, PeerLoss, choice, evaluate, not_carried, per_class
from segfocal.losses.compat.inputs import check_shape, labels, logits_of
from segfocal.losses.compat.mmseg_pixel import REDUCTIONS, chosen, divided, mmseg_call, no_file
from segfocal.losses.compat.regions import one_less, tversky_parts
from segfocal.losses.needs import Needs
from segfocal.losses.overlap import Overlap, overlap
from segfocal.losses.primitive.sums import PixelSums


class RegionLoss(PeerLoss):
    """What both have in common: sums per image, and a class ``ignore_index`` that is left out as a column."""

    ignore_index: int | None

    def kept(self, sums: PixelSums, *, squared: bool) -> Overlap:
        """Return the sums per image without the column of ``ignore_index``, where there is such a class."""
        region = overlap(sums, per_image=True, squared=squared, include_background=True)
        classes = [c for c in range(region.target.shape[1]) if c != self.ignore_index]
        if not classes:
            raise SegfocalError(f"ignore_index={self.ignore_index} is the only class. Give it as None.")
        return Overlap(*(each[:, classes] for each in region))


class DiceLoss(RegionLoss):
    """Dice loss of mmsegmentation 1.2: one per image over all classes together, mean over images.

    ``1 - 2 I / (P2 + Y2 + 2 eps)``, with ``naive_dice`` ``1 - (2 I + eps) / (P + Y + eps)``. A pixel labelled
    ``ignore_index`` leaves all sums, where the peer leaves its prediction in the denominator.

    Args:
        use_sigmoid: Sigmoid, else softmax.
        activate: Whether ``pred`` is logits; else probabilities, which costs one tensor of their size.
        reduction: ``"none"`` gives one number per image.
        naive_dice: Without squares.
        loss_weight: Factor of the whole.
        ignore_index: Label left out; as a class it leaves the sum over classes.
        eps: See above.
        loss_name: Kept as ``loss_name``.

    Raises:
        SegfocalError: For settings out of range; when called, for softmax of one channel.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        activate: bool = True,
        reduction: str = "mean",
        naive_dice: bool = False,
        loss_weight: float = 1.0,
        ignore_index: int | None = 255,
        eps: float = 1e-3,
        loss_name: str = "loss_dice",
    ) -> None:
        super().__init__(locals())
        self.use_sigmoid, self.activate, self.naive_dice = use_sigmoid, activate, naive_dice
        self.reduction, self.loss_weight = choice("reduction", reduction, REDUCTIONS), loss_weight
        self.ignore_index, self.eps, self.loss_name = ignore_index, eps, loss_name

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
        """Return the loss: a scalar, or one number per image.

        Args:
            pred: ``(N, C, *S)``.
            target: Labels ``(N, *S)``, or masks ``(N, C, *S)``.
            weight: ``(N,)``, of the images.
            avg_factor: Divides the sum, with reduction "mean".
            reduction_override: Takes the place of ``reduction``.
            ignore_index: Not read, as at mmsegmentation: that of the constructor counts.
            kwargs: Not read, as at mmsegmentation.

        Raises:
            SegfocalError: For shapes and values that do not fit.
        """
        if not self.use_sigmoid and self.activate and pred.shape[1] == 1:
            raise not_carried("use_sigmoid", False, "the softmax of one channel is constant. Set it True.")
        if weight is not None:
            check_shape("weight", weight, (pred.shape[0],), pred, " It weighs images.")
        beyond = (
            self.ignore_index if self.ignore_index is None or self.ignore_index >= pred.shape[1] else None
        )
        call = mmseg_call(pred, target, None, beyond)
        if not self.activate:
            call = call._replace(logits=logits_of("pred", pred, "For logits set activate=True."))
        reduction = chosen(self.reduction, reduction_override, avg_factor)
        values = self.loss_weight * evaluate([self], call)[0]
        return divided(values if weight is None else values * weight, reduction, avg_factor)

    def needs(self, call: Call) -> Needs:
        """Return the region sums."""
        square = {"intersection", "prediction_squared", "target_squared"}
        want = frozenset({"intersection", "prediction", "target"} if self.naive_dice else square)
        sigmoid = self.use_sigmoid or not self.activate
        return Needs("sigmoid" if sigmoid else "softmax", want, None, call.ignore_index)

    def from_sums(self, sums: PixelSums, call: Call) -> Tensor:
        """Return the loss of every image, ``(N,)``."""
        i, p, y = (each.sum(1) for each in self.kept(sums, squared=not self.naive_dice))
        if self.naive_dice:
            return one_less(2 * i + self.eps, p + y + self.eps)
        return one_less(2 * i, p + y + 2 * self.eps)


class TverskyLoss(RegionLoss):
    """``1 - (I + smooth) / (I + alpha FP + beta FN + smooth)`` of mmsegmentation, softmax.

    The mean is over images, then over all classes, those that ``ignore_index`` leaves out too.

    Args:
        smooth: In pixels.
        reduction: Without effect on a number, as at mmsegmentation; "sum" excludes ``avg_factor``.
        class_weight: One number per class, or ``None``.
        loss_weight: Factor of the whole.
        ignore_index: Label left out.
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        loss_name: Kept as ``loss_name``.

    Raises:
        SegfocalError: For settings out of range, and a file of class weights.
    """

    class_weight: Tensor | None

    def __init__(
        self,
        smooth: float = 1,
        reduction: str = "mean",
        class_weight: Sequence[float] | str | None = None,
        loss_weight: float = 1.0,
        ignore_index: int | None = 255,
        alpha: float = 0.3,
        beta: float = 0.7,
        loss_name: str = "loss_tversky",
    ) -> None:
        super().__init__(locals())
        self.smooth, self.alpha, self.beta = smooth, alpha, beta
        self.reduction, self.loss_weight = choice("reduction", reduction, REDUCTIONS), loss_weight
        self.ignore_index, self.loss_name = ignore_index, loss_name
        self.register_buffer("class_weight", no_file(class_weight), persistent=False)

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the loss, a scalar.

        Args:
            pred: Logits ``(N, C, *S)``.
            target: Labels ``(N, *S)``.
            avg_factor: Divides the loss, with reduction "mean".
            reduction_override: Takes the place of ``reduction``.

        Raises:
            SegfocalError: For shapes and labels that do not fit.
        """
        check_shape("target", target, (pred.shape[0], *pred.shape[2:]), pred)
        reduction = chosen(self.reduction, reduction_override, avg_factor)
        value = self.loss_weight * evaluate([self], Call(pred, labels(target), self.ignore_index))[0]
        return value / avg_factor if avg_factor is not None and reduction == "mean" else value

    def needs(self, call: Call) -> Needs:
        """Return the region sums."""
        want = frozenset({"intersection", "prediction", "target"})
        return Needs("softmax", want, None, call.ignore_index)

    def from_sums(self, sums: PixelSums, call: Call) -> Tensor:
        """Return the weighted mean."""
        region = self.kept(sums, squared=False)
        top, bottom = tversky_parts(region, fp_weight=self.alpha, fn_weight=self.beta)
        values = one_less(top + self.smooth, bottom + self.smooth).mean(0)
        channels = call.logits.shape[1]
        if self.class_weight is not None:
            weights = per_class("class_weight", self.class_weight, channels).to(values)
            values = values * weights[[c for c in range(channels) if c != self.ignore_index]]
        return values.sum() / channels
