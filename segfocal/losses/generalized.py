"""Generalised Dice loss: rare classes weigh more."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from segfocal.errors import check_choice
from segfocal.losses.overlap import ClassWeighting, Overlap, generalized_dice
from segfocal.losses.reduction import Task
from segfocal.losses.region import RegionLoss


class GeneralizedDiceLoss(RegionLoss):
    """Generalised Dice loss ``1 - (2 sum v I + s) / (sum v (P + Y) + s)``, averaged over images if per image.

    Args:
        task: As in ``DiceLoss``, like all further arguments that are not listed here.
        weighting: ``"square"``: v = 1 / Y^2; ``"simple"``: v = 1 / Y. An absent class takes the largest v.
        per_image: Whether every image is a region.
        smooth: In units of ``v Y``, which is 1 / Y for square weights: the default is far below that of any
            image, so that no class is smoothed away.
        include_background: Whether class 0 of a multiclass task takes part.
        ignore_index: Label left out.
        validate: Whether labels are checked; ``None``: on a CPU only.
        sync: Whether sums are added up over ranks, see ``SegmentationLoss``.

    Source:
        Sudre et al., "Generalised Dice overlap", 2017, eq. 1.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 0, 0, 1]])
        >>> GeneralizedDiceLoss("multiclass", weighting="simple")(logits, target)  # 1 - 2 / (2/3 + 2 + 2)
        tensor(0.5714)
    """

    def __init__(
        self,
        task: Task,
        *,
        weighting: ClassWeighting = "square",
        per_image: bool = False,
        smooth: float = 1e-12,
        include_background: bool = True,
        ignore_index: int | None = None,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        super().__init__(
            task,
            per_image=per_image,
            smooth=smooth,
            include_background=include_background,
            ignore_index=ignore_index,
            validate=validate,
            sync=sync,
        )
        check_choice("weighting", weighting, ("square", "simple"))
        self.weighting: ClassWeighting = weighting

    def term(self, region: Overlap) -> Tensor:
        """Return one generalised Dice loss per region, ``(R, 1)``."""
        return generalized_dice(region, weighting=self.weighting, smooth=self.smooth)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        settings = super().settings()
        unused = ("task", "squared", "absent")
        rest = {name: value for name, value in settings.items() if name not in unused}
        return {"task": self.task, "weighting": self.weighting, **rest}
