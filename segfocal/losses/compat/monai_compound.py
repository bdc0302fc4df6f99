"""MONAI's sums of two losses: DiceCELoss, DiceFocalLoss, GeneralizedDiceFocalLoss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from segfocal.errors import check_range
from segfocal.losses.compat.adapter import Adapter
from segfocal.losses.compat.monai_base import Weight
from segfocal.losses.compat.monai_joined import joined
from segfocal.losses.compat.monai_pixel import CrossEntropy, FocalLoss
from segfocal.losses.compat.monai_region import DiceLoss, GeneralizedDiceLoss


class DiceCELoss(Adapter):
    """``lambda_dice`` Dice + ``lambda_ce`` cross-entropy, MONAI's arguments.

    The cross-entropy is softmax, or binary for one channel, whatever the Dice term has: with
    ``softmax=True``, or ``sigmoid=True`` and one channel, both come from one pass. ``weight`` has one number
    per class, background included; for one channel it weighs the positives of the cross-entropy.

    Raises:
        SegfocalError: As ``DiceLoss``, and for negative lambdas; when called, for ``label_smoothing`` with
            one channel.
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[..., Any] | None = None,
        squared_pred: bool = False,
        jaccard: bool = False,
        reduction: str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        weight: Weight = None,
        lambda_dice: float = 1.0,
        lambda_ce: float = 1.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(locals())
        check_range("lambda_dice", lambda_dice, low=0.0)
        check_range("lambda_ce", lambda_ce, low=0.0)
        self.cross_entropy = CrossEntropy(weight, reduction, label_smoothing)
        of_dice = self.cross_entropy.weight
        if of_dice is not None and not include_background:
            of_dice = of_dice[1:]
        first = (include_background, to_onehot_y, sigmoid, softmax, other_act, squared_pred, jaccard)
        self.dice = DiceLoss(*first, reduction, smooth_nr, smooth_dr, batch, of_dice)
        self.lambda_dice, self.lambda_ce = lambda_dice, lambda_ce

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            input: Logits ``(N, C, *S)``.
            target: Masks ``(N, C, *S)``, or labels ``(N, 1, *S)`` with ``to_onehot_y``.
        """
        dice, cross_entropy = joined(self.dice, self.cross_entropy, input, target)
        return self.lambda_dice * dice + self.lambda_ce * cross_entropy


class DiceFocalLoss(Adapter):
    """``lambda_dice`` Dice + ``lambda_focal`` focal loss, MONAI's arguments.

    The focal term is sigmoid, one against the rest, with ``softmax=True`` too, as at MONAI: two passes then.
    ``segfocal.losses.FocalDiceLoss`` has the same activation in both. ``weight`` serves both terms.

    Raises:
        SegfocalError: As ``DiceLoss`` and ``FocalLoss``, and for negative lambdas.
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[..., Any] | None = None,
        squared_pred: bool = False,
        jaccard: bool = False,
        reduction: str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        gamma: float = 2.0,
        weight: Weight = None,
        lambda_dice: float = 1.0,
        lambda_focal: float = 1.0,
        alpha: float | None = None,
    ) -> None:
        super().__init__(locals())
        check_range("lambda_dice", lambda_dice, low=0.0)
        check_range("lambda_focal", lambda_focal, low=0.0)
        first = (include_background, to_onehot_y, sigmoid, softmax, other_act, squared_pred, jaccard)
        self.dice = DiceLoss(*first, reduction, smooth_nr, smooth_dr, batch, weight)
        self.focal = FocalLoss(include_background, to_onehot_y, gamma, alpha, weight, reduction)
        self.lambda_dice, self.lambda_focal = lambda_dice, lambda_focal

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar; with reduction "none" a map.

        Args:
            input: Logits ``(N, C, *S)``.
            target: Masks ``(N, C, *S)``, or labels ``(N, 1, *S)`` with ``to_onehot_y``.
        """
        dice, focal = joined(self.dice, self.focal, input, target)
        return self.lambda_dice * dice + self.lambda_focal * focal


class GeneralizedDiceFocalLoss(Adapter):
    """``lambda_gdl`` generalised Dice + ``lambda_focal`` focal loss, MONAI's arguments.

    The focal term is sigmoid whatever the Dice term has, see ``DiceFocalLoss``; ``weight`` serves it alone.

    Raises:
        SegfocalError: As ``GeneralizedDiceLoss`` and ``FocalLoss``, and for negative lambdas.
    """

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[..., Any] | None = None,
        w_type: str = "square",
        reduction: str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        gamma: float = 2.0,
        weight: Weight = None,
        lambda_gdl: float = 1.0,
        lambda_focal: float = 1.0,
    ) -> None:
        super().__init__(locals())
        check_range("lambda_gdl", lambda_gdl, low=0.0)
        check_range("lambda_focal", lambda_focal, low=0.0)
        first = (include_background, to_onehot_y, sigmoid, softmax, other_act, w_type, reduction)
        self.generalized_dice = GeneralizedDiceLoss(*first, smooth_nr, smooth_dr, batch)
        self.focal = FocalLoss(include_background, to_onehot_y, gamma, None, weight, reduction)
        self.lambda_gdl, self.lambda_focal = lambda_gdl, lambda_focal

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss, as ``DiceFocalLoss`` does."""
        dice, focal = joined(self.generalized_dice, self.focal, input, target)
        return self.lambda_gdl * dice + self.lambda_focal * focal
