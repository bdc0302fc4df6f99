"""segmentation-models-pytorch's cross-entropies with smoothed targets."""

from __future__ import annotations

from torch import Tensor

from segfocal.errors import check_range
from segfocal.losses.compat.adapter import Call, choice, evaluate, not_carried
from segfocal.losses.compat.inputs import check_shape, elementwise, labels
from segfocal.losses.compat.pixels import PixelLoss, Sides
from segfocal.losses.needs import Activation


class SoftBCEWithLogitsLoss(PixelLoss):
    """Binary cross-entropy with smp's arguments; the mean is over all elements, ignored ones too.

    Args:
        weight: ``None``.
        ignore_index: Target value left out of the sum.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        smooth_factor: s in [0, 1/2]: the target becomes ``y (1 - s) + (1 - y) s``.
        pos_weight: ``None``.

    Raises:
        SegfocalError: For weights, and settings out of range.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int | None = -100,
        reduction: str = "mean",
        smooth_factor: float | None = None,
        pos_weight: Tensor | None = None,
    ) -> None:
        for argument, value in (("weight", weight), ("pos_weight", pos_weight)):
            if value is not None:
                remedy = "Use segfocal.losses.CrossEntropyLoss with alpha, or with weight when it is called."
                raise not_carried(argument, value, remedy)
        smooth = 0.0 if smooth_factor is None else smooth_factor
        check_range("smooth_factor", smooth, low=0.0, high=0.5)
        super().__init__(locals(), gamma=0.0, soft=True, smoothing=2.0 * smooth)
        self.ignore_index = ignore_index
        self.reduction = choice("reduction", reduction, ("mean", "sum", "none"))

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss: a scalar in nats, or a map.

        Args:
            y_pred: Logits of any shape.
            y_true: The same shape, values in [0, 1] or ``ignore_index``.
        """
        check_shape("y_true", y_true, tuple(y_pred.shape), y_pred)
        call = Call(*elementwise(y_pred, y_true), self.ignore_index)
        return self.map(call).view(y_pred.shape) if self.reduction == "none" else evaluate([self], call)[0]

    def activation(self, channels: int) -> Activation:
        """Return sigmoid."""
        return "sigmoid"

    def sides(self, channels: int) -> Sides | None:
        """Return no weights."""
        return None

    def reduce(self, loss: Tensor, count: Tensor, call: Call) -> Tensor:
        """Divide by all elements."""
        return loss.sum() / (1 if self.reduction == "sum" else max(call.logits.numel(), 1))


class SoftCrossEntropyLoss(PixelLoss):
    """Softmax cross-entropy with smp's arguments; the mean is over all pixels, ignored ones too.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        smooth_factor: e: the target becomes ``(1 - e) onehot + e / C``; ``None``: 0.
        ignore_index: Label left out of the sum.
        dim: 1, where the classes are.

    Raises:
        SegfocalError: For another ``dim``, and settings out of range.
    """

    def __init__(
        self,
        reduction: str = "mean",
        smooth_factor: float | None = None,
        ignore_index: int | None = -100,
        dim: int = 1,
    ) -> None:
        if dim != 1:
            raise not_carried("dim", dim, "classes lie along axis 1. Move them: y_pred.movedim(dim, 1).")
        smooth = 0.0 if smooth_factor is None else smooth_factor
        check_range("smooth_factor", smooth, low=0.0, high=1.0)
        super().__init__(locals(), gamma=0.0, soft=True, smoothing=float(smooth))
        self.ignore_index = ignore_index
        self.reduction = choice("reduction", reduction, ("mean", "sum", "none"))

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss: a scalar in nats, or a map ``(N, 1, *S)``, without the 1 where nothing is ignored.

        Args:
            y_pred: Logits ``(N, C, *S)``.
            y_true: Labels ``(N, *S)``.
        """
        check_shape("y_true", y_true, (y_pred.shape[0], *y_pred.shape[2:]), y_pred)
        call = Call(y_pred, labels(y_true), self.ignore_index)
        if self.reduction != "none":
            return evaluate([self], call)[0]
        values = self.map(call).sum(1, keepdim=True)
        return values if self.ignore_index is not None else values.squeeze(1)

    def activation(self, channels: int) -> Activation:
        """Return softmax."""
        return "softmax"

    def sides(self, channels: int) -> Sides | None:
        """Return no weights."""
        return None

    def reduce(self, loss: Tensor, count: Tensor, call: Call) -> Tensor:
        """Divide by all pixels."""
        return loss.sum() / (1 if self.reduction == "sum" else max(call.target.numel(), 1))
