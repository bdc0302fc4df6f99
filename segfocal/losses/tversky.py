"""Losses that weigh false positives against false negatives."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segfocal.errors import SegfocalError, check_range
from segfocal.losses.overlap import Absent, Overlap, raised, tversky
from segfocal.losses.reduction import Task
from segfocal.losses.region import RegionLoss


class TverskyLoss(RegionLoss):
    """Tversky loss ``1 - (I + s) / (I + fp_weight FP + fn_weight FN + s)``, averaged over classes.

    Args:
        task: As in ``DiceLoss``, like all further arguments that are not listed here.
        fp_weight: Weight of false positives, >= 0. Both 0.5 is Dice, both 1 is Jaccard (but for smooth).
        fn_weight: Weight of false negatives, >= 0; larger for recall.
        per_image: Whether every image is a region.
        smooth: Added to numerator and denominator, in pixels.
        include_background: Whether class 0 of a multiclass task takes part.
        absent: ``"include"`` or ``"skip"``.
        ignore_index: Label left out.
        validate: Whether labels are checked; ``None``: on a CPU only.
        sync: Whether sums are added up over ranks, see ``SegmentationLoss``.

    Source:
        Salehi et al., "Tversky loss function", 2017, eq. 3. They call fp_weight alpha and fn_weight beta;
        others mean the opposite, hence the names.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 1], [0, 0]]])
        >>> TverskyLoss("binary", 0.3, 0.7, smooth=0.0)(logits, target)  # 1 - 1 / (1 + .3 + .7)
        tensor(0.5000)
    """

    def __init__(
        self,
        task: Task,
        fp_weight: float,
        fn_weight: float,
        *,
        per_image: bool = False,
        smooth: float = 1.0,
        include_background: bool = True,
        absent: Absent = "include",
        ignore_index: int | None = None,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        super().__init__(
            task,
            per_image=per_image,
            smooth=smooth,
            include_background=include_background,
            absent=absent,
            ignore_index=ignore_index,
            validate=validate,
            sync=sync,
        )
        check_weights(fp_weight, fn_weight)
        self.fp_weight = float(fp_weight)
        self.fn_weight = float(fn_weight)

    def term(self, region: Overlap) -> Tensor:
        """Return ``(R, C)`` Tversky losses."""
        return tversky(region, fp_weight=self.fp_weight, fn_weight=self.fn_weight, smooth=self.smooth)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return weighted_settings(
            super().settings(), {"fp_weight": self.fp_weight, "fn_weight": self.fn_weight}
        )


class FocalTverskyLoss(RegionLoss):
    """Focal Tversky loss: the Tversky loss of each class raised to ``exponent``, then averaged.

    Value and gradient are 0 where the Tversky loss is 0, also for exponents below 1.

    Args:
        task: As in ``DiceLoss``, like all further arguments that are not listed here.
        fp_weight: Weight of false positives, >= 0.
        fn_weight: Weight of false negatives, >= 0.
        exponent: Above 0. The paper's 1 / gamma: 0.75 is their gamma = 4/3.
        per_image: Whether every image is a region.
        smooth: Added to numerator and denominator, in pixels.
        include_background: Whether class 0 of a multiclass task takes part.
        absent: ``"include"`` or ``"skip"``.
        ignore_index: Label left out.
        validate: Whether labels are checked; ``None``: on a CPU only.
        sync: Whether sums are added up over ranks, see ``SegmentationLoss``.

    Source:
        Abraham and Khan, "A novel focal Tversky loss function", 2019, eq. 4, with their weights.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 1], [0, 0]]])
        >>> FocalTverskyLoss("binary", smooth=0.0, exponent=2.0)(logits, target)  # 0.5 squared
        tensor(0.2500)
    """

    def __init__(
        self,
        task: Task,
        fp_weight: float = 0.3,
        fn_weight: float = 0.7,
        exponent: float = 0.75,
        *,
        per_image: bool = False,
        smooth: float = 1.0,
        include_background: bool = True,
        absent: Absent = "include",
        ignore_index: int | None = None,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        super().__init__(
            task,
            per_image=per_image,
            smooth=smooth,
            include_background=include_background,
            absent=absent,
            ignore_index=ignore_index,
            validate=validate,
            sync=sync,
        )
        check_weights(fp_weight, fn_weight)
        check_range("exponent", exponent, low=0.0, open_low=True, open_high=True)
        self.fp_weight = float(fp_weight)
        self.fn_weight = float(fn_weight)
        self.exponent = float(exponent)

    def term(self, region: Overlap) -> Tensor:
        """Return ``(R, C)`` focal Tversky losses."""
        term = tversky(region, fp_weight=self.fp_weight, fn_weight=self.fn_weight, smooth=self.smooth)
        return raised(term, self.exponent)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"fp_weight": self.fp_weight, "fn_weight": self.fn_weight, "exponent": self.exponent}
        return weighted_settings(super().settings(), own)


def check_weights(fp_weight: float, fn_weight: float) -> None:
    """Raise where a weight is negative, or both are 0."""
    check_range("fp_weight", fp_weight, low=0.0, open_high=True)
    check_range("fn_weight", fn_weight, low=0.0, open_high=True)
    if fp_weight == 0 and fn_weight == 0:
        raise SegfocalError(
            "fp_weight and fn_weight must not both be 0: the loss would be constant. Raise one of them."
        )


def weighted_settings(settings: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Put a loss's own settings behind the task and drop ``squared``, which only Dice has."""
    rest = {name: value for name, value in settings.items() if name not in ("task", "squared")}
    return {"task": settings["task"], **own, **rest}
