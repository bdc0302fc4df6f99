"""Losses of regions: Dice, log-cosh Dice and Jaccard."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.losses.base import SegmentationLoss
from segfocal.losses.evaluation import Partial
from segfocal.losses.needs import Needs
from segfocal.losses.overlap import Absent, Overlap, dice, jaccard, overlap, shares
from segfocal.losses.primitive.sums import PixelSums
from segfocal.losses.reduction import Task, ratio


class RegionLoss(SegmentationLoss):
    """A loss made of intersection, prediction and target sums.

    Args:
        task: As in ``DiceLoss``, like all further arguments.
        per_image: See there.
        squared: See there.
        smooth: See there.
        include_background: See there.
        absent: See there.
        ignore_index: See there.
        validate: See there.
        sync: See there.

    Raises:
        SegfocalError: For settings out of range, or ``include_background=False`` where there is none.
    """

    def __init__(
        self,
        task: Task,
        *,
        per_image: bool = False,
        squared: bool = False,
        smooth: float = 1.0,
        include_background: bool = True,
        absent: Absent = "include",
        ignore_index: int | None = None,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        super().__init__(task, ignore_index=ignore_index, validate=validate, sync=sync)
        check_range("smooth", smooth, low=0.0, open_high=True)
        check_choice("absent", absent, ("include", "skip"))
        if task != "multiclass" and not include_background:
            raise SegfocalError(
                f"include_background=False needs a background class, which task {task!r} does not have. "
                "Leave include_background=True."
            )
        self.per_image = per_image
        self.squared = squared
        self.smooth = float(smooth)
        self.include_background = include_background
        self.absent: Absent = absent

    @abstractmethod
    def term(self, region: Overlap) -> Tensor:
        """Return the loss of every region and class, ``(R, C)``."""

    def needs(self) -> Needs:
        """Return the region sums."""
        square = {"intersection", "prediction_squared", "target_squared"}
        want = frozenset(square if self.squared else {"intersection", "prediction", "target"})
        return Needs(self.activation, want, None, self.ignore_index, self.validate, self.per_image)

    def from_sums(self, sums: PixelSums) -> Tensor:
        """Return the mean of the term over regions and classes."""
        return ratio(*self.shares(sums))

    def shares(self, sums: PixelSums) -> tuple[Tensor, Tensor]:
        """Return the sum of the terms, and how many there are."""
        region = overlap(
            sums,
            per_image=self.per_image,
            squared=self.squared,
            include_background=self.include_background,
        )
        return shares(self.term(region), region.target, self.absent)

    def partial(self, sums: tuple[PixelSums, ...]) -> Partial:
        """Add up terms of images where each image is a region, else the sums that the region's term needs."""
        if not self.per_image:
            return super().partial(sums)
        return list(self.shares(sums[0])), lambda totals: ratio(*totals)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "task": self.task,
            "per_image": self.per_image,
            "squared": self.squared,
            "smooth": self.smooth,
            "include_background": self.include_background,
            "absent": self.absent,
            "ignore_index": self.ignore_index,
            "validate": self.validate,
            "sync": self.sync,
        }


class DiceLoss(RegionLoss):
    """Soft Dice loss ``1 - (2 I + s) / (P + Y + s)``; the mean is over classes, and images if ``per_image``.

    Args:
        task: ``"binary"``, ``"multiclass"`` (softmax, class 0 is the background) or ``"multilabel"``.
        per_image: Whether every image is a region; else the batch is one.
        squared: Whether P and Y are sums of squares.
        smooth: Added to numerator and denominator, in pixels. It saves truly empty predictions only: an
            absent class at p = .001 over 2^20 pixels still costs .999 with smooth = 1.
        include_background: Whether class 0 of a multiclass task takes part in the mean; the softmax always
            sees it.
        absent: ``"include"``: the mean is over all classes (and images); ``"skip"``: over those present in
            the reference, 0 where none is.
        ignore_index: Label left out of all sums.
        validate: Whether labels are checked; ``None``: on a CPU only.
        sync: Whether sums are added up over ranks, see ``SegmentationLoss``.

    Source:
        Milletari et al., "V-Net", 2016, section 3: ``squared=True, smooth=0``.

    Example:
        >>> logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 1], [0, 0]]])
        >>> DiceLoss("binary", smooth=0.0)(logits, target)  # 1 - 2 / (2 + 2)
        tensor(0.5000)
    """

    def term(self, region: Overlap) -> Tensor:
        """Return ``(R, C)`` Dice losses."""
        return dice(region, smooth=self.smooth)


class LogCoshDiceLoss(RegionLoss):
    """Log-cosh Dice loss ``log cosh(Dice loss)`` of each class, averaged; arguments as in ``DiceLoss``.

    Source:
        Jadon, "A survey of loss functions for semantic segmentation", 2020, eq. 17.

    Example:
        >>> logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 1], [0, 0]]])
        >>> LogCoshDiceLoss("binary", smooth=0.0)(logits, target)  # log cosh 0.5
        tensor(0.1201)
    """

    def term(self, region: Overlap) -> Tensor:
        """Return ``(R, C)`` log-cosh Dice losses."""
        return torch.log(torch.cosh(dice(region, smooth=self.smooth)))


class JaccardLoss(RegionLoss):
    """Soft Jaccard loss ``1 - (I + s) / (P + Y - I + s)``, arguments as in ``DiceLoss``.

    Example:
        >>> logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 1], [0, 0]]])
        >>> JaccardLoss("binary", smooth=0.0)(logits, target)  # 1 - 1 / 3
        tensor(0.6667)
    """

    def __init__(
        self,
        task: Task,
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

    def term(self, region: Overlap) -> Tensor:
        """Return ``(R, C)`` Jaccard losses."""
        return jaccard(region, smooth=self.smooth)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {name: value for name, value in super().settings().items() if name != "squared"}
