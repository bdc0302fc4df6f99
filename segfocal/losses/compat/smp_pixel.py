"""segmentation-models-pytorch's focal loss and cross-entropies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segfocal.errors import check_range
from segfocal.losses.compat.adapter import Call, constants, evaluate, not_carried, per_class
from segfocal.losses.compat.pixels import PixelLoss, Sides, ones
from segfocal.losses.compat.smp_inputs import by_mode, check_mode
from segfocal.losses.needs import Activation
from segfocal.losses.primitive.fields import work_dtype
from segfocal.losses.reduction import ratio

OWN_LOSS = "Use segfocal.losses.FocalLoss"


class FocalLoss(PixelLoss):
    """Sigmoid focal loss with smp's arguments: every class against the rest, in mode "multiclass" too.

    The mean of every class is over its elements that are not ignored, then over classes, by
    ``class_weights`` divided by their sum; "sum" is likewise a mean over classes of sums.
    ``reduced_threshold`` gives cross-entropy below it and ``((1 - p_t) / threshold)^gamma`` of it above.

    Raises:
        SegfocalError: For another reduction, ``normalized``, ``from_logits=False`` in mode "multiclass", and
            settings out of range; when called, for soft targets with gamma or alpha.

    Example:
        >>> FocalLoss("binary", gamma=0.0)(torch.zeros(1, 1, 4), torch.tensor([[0, 1, 1, 0]]))  # log 2
        tensor(0.6931)
    """

    alpha: Tensor | None
    class_weights: Tensor | None

    def __init__(
        self,
        mode: str,
        alpha: float | None = None,
        gamma: float | None = 2.0,
        ignore_index: int | None = None,
        from_logits: bool = True,
        eps: float = 1e-7,
        reduction: str | None = "mean",
        normalized: bool = False,
        reduced_threshold: float | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        check_mode(mode, class_weights=class_weights)
        check_carried(mode, from_logits, reduction, normalized)
        if reduced_threshold is not None:
            check_range(
                "reduced_threshold", reduced_threshold, low=0.0, high=1.0, open_low=True, open_high=True
            )
        super().__init__(
            locals(),
            gamma=gamma,  # type: ignore[arg-type]
            soft=gamma == 0 and alpha is None,
            form="focal" if reduced_threshold is None else "reduced",
            parameter=reduced_threshold,
        )
        self.mode, self.ignore_index, self.from_logits, self.eps = mode, ignore_index, from_logits, eps
        self.reduction = reduction
        self.register_buffer("alpha", constants("alpha", alpha, high=1.0), persistent=False)
        self.register_buffer("class_weights", constants("class_weights", class_weights), persistent=False)

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss, a scalar in nats.

        Args:
            y_pred: Logits ``(N, C, *S)``; probabilities where ``from_logits=False``, cut off at eps.
            y_true: As in ``DiceLoss``.

        Raises:
            SegfocalError: For shapes and values that do not fit.
        """
        logits, target = by_mode(self.mode, y_pred, y_true)
        if not self.from_logits:
            # in half precision 1 - eps is 1, and its logit infinite
            logits = torch.logit(logits.to(work_dtype(logits.dtype)), eps=self.eps)
        return evaluate([self], Call(logits, target, self.ignore_index))[0]

    def activation(self, channels: int) -> Activation:
        """Return sigmoid, for all modes."""
        return "sigmoid"

    def sides(self, channels: int) -> Sides | None:
        """Return alpha's weights."""
        one = ones(self.gamma, channels)
        return None if self.alpha is None else Sides(one - self.alpha, one * self.alpha)

    def reduce(self, loss: Tensor, count: Tensor, call: Call) -> Tensor:
        """Average over classes what each has over the batch."""
        each = loss.sum(0) if self.reduction == "sum" else ratio(loss.sum(0), count.sum(0))
        if self.class_weights is None:
            return each.mean()
        weights = per_class("class_weights", self.class_weights, len(each)).to(each)
        return (each * weights).sum() / weights.sum()


def check_carried(mode: str, from_logits: bool, reduction: str | None, normalized: bool) -> None:
    """Raise for settings of the focal loss that have no counterpart."""
    if reduction not in ("mean", "sum"):
        remedy = f'{OWN_LOSS} with reduction="none", which keeps the shape.'
        raise not_carried("reduction", reduction, remedy)
    if normalized:
        remedy = f'it divides by N a second time. {OWN_LOSS} with reduction="modulation".'
        raise not_carried("normalized", True, remedy)
    if mode == "multiclass" and not from_logits:
        remedy = "log-probabilities would go through a sigmoid. Hand in logits with from_logits=True."
        raise not_carried("from_logits", False, remedy)
