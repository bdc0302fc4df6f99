"""MONAI's Dice, Tversky and generalised Dice losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from segfocal.losses.compat.adapter import choice, constants, per_class
from segfocal.losses.compat.monai_base import RegionLoss, Weight
from segfocal.losses.compat.regions import one_less, tversky_parts
from segfocal.losses.overlap import Overlap


class DiceLoss(RegionLoss):
    """``1 - (2 I + smooth_nr) / (P + Y + smooth_dr)``, MONAI's arguments; mean over images and classes.

    ``jaccard``: ``1 - (2 I + smooth_nr) / (2 (P + Y - I) + smooth_dr)``. ``weight`` multiplies the classes
    that take part, unless there is only one, as at MONAI.

    Example:
        >>> loss = DiceLoss(sigmoid=True, smooth_nr=0, smooth_dr=0)
        >>> loss(torch.zeros(1, 1, 4), torch.tensor([[[1, 1, 0, 0]]]))  # 1 - 2 / (2 + 2)
        tensor(0.5000)
    """

    weight: Tensor | None

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
        soft_label: bool = False,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(locals())
        self.jaccard = jaccard
        self.register_buffer("weight", constants("weight", weight), persistent=False)

    def term(self, region: Overlap) -> Tensor:
        """Return ``(R, C)`` Dice or Jaccard losses."""
        i, p, y = region
        both = 2 * (p + y - i) if self.jaccard else p + y
        values = one_less(2 * i + self.smooth_nr, both + self.smooth_dr)
        classes = values.shape[1]
        if self.weight is None or classes == 1:
            return values
        return values * per_class("weight", self.weight, classes).to(values)


class TverskyLoss(RegionLoss):
    """``1 - (I + smooth_nr) / (I + alpha FP + beta FN + smooth_dr)``, MONAI's arguments."""

    def __init__(
        self,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: Callable[..., Any] | None = None,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str = "mean",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        soft_label: bool = False,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(locals())
        self.alpha, self.beta = alpha, beta

    def term(self, region: Overlap) -> Tensor:
        """Return ``(R, C)`` Tversky losses."""
        top, bottom = tversky_parts(region, fp_weight=self.alpha, fn_weight=self.beta)
        return one_less(top + self.smooth_nr, bottom + self.smooth_dr)

    def shaped(self, values: Tensor, axes: int) -> Tensor:
        """Return the values without axes of space, as this loss alone does."""
        return values


class GeneralizedDiceLoss(RegionLoss):
    """``1 - (2 sum v I + smooth_nr) / (sum v (P + Y) + smooth_dr)``, MONAI's arguments.

    ``w_type``: v = 1 / Y^2 ("square"), 1 / Y ("simple") or 1 ("uniform"); an absent class takes the largest
    v. Where all are absent v is 0, so that the loss is 0 whatever is predicted, as at MONAI;
    ``segfocal.losses.GeneralizedDiceLoss`` does better.
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
        soft_label: bool = False,
    ) -> None:
        super().__init__(locals())
        self.w_type = choice("w_type", w_type, ("square", "simple", "uniform"))

    def term(self, region: Overlap) -> Tensor:
        """Return one loss per region, ``(R, 1)``."""
        i, p, y = region
        v = self.class_weights(y)
        top, bottom = 2 * (v * i).sum(1, keepdim=True), (v * (p + y)).sum(1, keepdim=True)
        return one_less(top + self.smooth_nr, bottom + self.smooth_dr)

    def class_weights(self, y: Tensor) -> Tensor:
        """Return v, ``(R, C)``."""
        if self.w_type == "uniform":
            return torch.ones_like(y)
        occurs = y > 0
        inverse = torch.where(occurs, y, 1.0).reciprocal()
        v = torch.where(occurs, inverse if self.w_type == "simple" else inverse**2, 0.0)
        return torch.where(occurs, v, v.amax(1, keepdim=True))
