"""segmentation-models-pytorch's Dice, Jaccard and Tversky losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_range
from segfocal.losses.compat.adapter import Call, PeerLoss, constants, evaluate, per_class
from segfocal.losses.compat.inputs import logits_of
from segfocal.losses.compat.regions import refuse_soft, soft_target, tversky_parts
from segfocal.losses.compat.smp_inputs import by_mode, check_mode
from segfocal.losses.needs import Needs
from segfocal.losses.overlap import overlap, raised
from segfocal.losses.primitive.sums import PixelSums


class RegionLoss(PeerLoss):
    """What the three have in common: one region per class over the batch, absent classes count as 0.

    The score is ``(I + smooth) / max(I + fp_weight FP + fn_weight FN + smooth, eps)``; ``log_loss`` is minus
    the log of it, at least eps. ``from_logits=False`` takes probabilities, which costs one tensor of their
    size.

    Raises:
        SegfocalError: For an unknown mode, and classes or class_weights in binary mode; when called, for soft
            targets, whose intersection is an L1 norm at smp.
    """

    class_weights: Tensor | None

    def __init__(self, given: Mapping[str, Any], *, fp_weight: float, fn_weight: float) -> None:
        super().__init__(given)
        self.mode: str = given["mode"]
        check_mode(self.mode, classes=given["classes"], class_weights=given["class_weights"])
        check_range("eps", given["eps"], low=0.0)
        classes = given["classes"]
        self.classes = None if classes is None else torch.as_tensor(classes).reshape(-1).tolist()
        self.log_loss, self.from_logits = bool(given["log_loss"]), bool(given["from_logits"])
        self.smooth, self.eps = float(given["smooth"]), float(given["eps"])
        self.ignore_index: int | None = given["ignore_index"]
        self.fp_weight, self.fn_weight = float(fp_weight), float(fn_weight)
        weights = constants("class_weights", given["class_weights"])
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            y_pred: Logits ``(N, C, *S)``, or probabilities where ``from_logits=False``.
            y_true: Binary: the shape of ``y_pred``, its channel axis may be missing. Multiclass: labels ``(N,
                *S)``. Multilabel: masks ``(N, C, *S)``.

        Raises:
            SegfocalError: For shapes and values that do not fit.
        """
        logits, target = by_mode(self.mode, y_pred, y_true)
        if not self.from_logits:
            logits = logits_of("y_pred", logits, "For logits set from_logits=True.")
        return evaluate([self], Call(logits, target, self.ignore_index))[0]

    def needs(self, call: Call) -> Needs:
        """Return the region sums, and what tells soft targets from hard ones."""
        want = {"intersection", "prediction", "target"}
        if call.target.is_floating_point():
            want.add("target_squared")
        softmax = self.mode == "multiclass" and self.from_logits
        return Needs("softmax" if softmax else "sigmoid", frozenset(want), None, call.ignore_index)

    def from_sums(self, sums: PixelSums, call: Call) -> Tensor:
        """Return the mean over classes."""
        region = overlap(sums, per_image=False, squared=False, include_background=True)
        top, bottom = tversky_parts(region, fp_weight=self.fp_weight, fn_weight=self.fn_weight)
        scores = (top + self.smooth) / (bottom + self.smooth).clamp(min=self.eps)
        values = -scores.clamp(min=self.eps).log() if self.log_loss else 1 - scores
        value = self.mean((values * (region.target > 0)).squeeze(0))
        return value if sums.target_squared is None else refuse_soft(value, soft_target(sums))

    def mean(self, values: Tensor) -> Tensor:
        """Average the chosen classes by their weights.

        Args:
            values: ``(C,)``.
        """
        weights = torch.ones_like(values)
        if self.class_weights is not None:
            weights = per_class("class_weights", self.class_weights, len(values)).to(values)
        if self.classes is not None:
            if not all(-len(values) <= each < len(values) for each in self.classes):
                raise SegfocalError(
                    f"classes must lie in [0, {len(values) - 1}] for these logits, got {self.classes}."
                )
            values, weights = values[self.classes], weights[self.classes]
        return (values * weights).sum() / weights.sum()


class DiceLoss(RegionLoss):
    """Dice loss with smp's arguments; see ``RegionLoss`` in this module.

    Example:
        >>> loss = DiceLoss("binary")
        >>> loss(torch.zeros(1, 1, 4), torch.tensor([[[1, 1, 0, 0]]]))  # 1 - 2 / (2 + 2)
        tensor(0.5000)
    """

    def __init__(
        self,
        mode: str,
        classes: Sequence[int] | None = None,
        log_loss: bool = False,
        from_logits: bool = True,
        smooth: float = 0.0,
        ignore_index: int | None = None,
        eps: float = 1e-7,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(locals(), fp_weight=0.5, fn_weight=0.5)


class JaccardLoss(RegionLoss):
    """Jaccard loss with smp's arguments; see ``RegionLoss`` in this module."""

    def __init__(
        self,
        mode: str,
        classes: Sequence[int] | None = None,
        log_loss: bool = False,
        from_logits: bool = True,
        smooth: float = 0.0,
        ignore_index: int | None = None,
        eps: float = 1e-7,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(locals(), fp_weight=1.0, fn_weight=1.0)


class TverskyLoss(RegionLoss):
    """Tversky loss with smp's arguments: alpha weighs false positives, beta false negatives.

    ``gamma`` is the exponent of the mean over classes; value and gradient are 0 where that mean is.
    """

    def __init__(
        self,
        mode: str,
        classes: Sequence[int] | None = None,
        log_loss: bool = False,
        from_logits: bool = True,
        smooth: float = 0.0,
        ignore_index: int | None = None,
        eps: float = 1e-7,
        alpha: float = 0.5,
        beta: float = 0.5,
        gamma: float = 1.0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        check_range("gamma", gamma, low=0.0, open_low=True)
        super().__init__(locals(), fp_weight=alpha, fn_weight=beta)
        self.gamma = gamma

    def mean(self, values: Tensor) -> Tensor:
        """Raise the mean to gamma."""
        mean = super().mean(values)
        return mean if self.gamma == 1 else raised(mean, self.gamma)
