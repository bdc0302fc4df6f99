"""kornia's Dice and Tversky losses."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from segfocal.errors import check_range
from segfocal.losses.compat.adapter import Call, PeerLoss, choice, constants, evaluate, per_class
from segfocal.losses.compat.inputs import check_shape
from segfocal.losses.compat.regions import tversky_parts
from segfocal.losses.needs import Needs
from segfocal.losses.overlap import Overlap, overlap
from segfocal.losses.primitive.sums import PixelSums
from segfocal.losses.reduction import ratio


class RegionLoss(PeerLoss):
    """What both have in common: softmax, sums per image, and a loss of 1 for an image that has no score."""

    ignore_index: int | None

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            pred: Logits ``(N, C, *S)``.
            target: Labels ``(N, *S)``, any integer dtype.

        Raises:
            SegfocalError: For shapes and labels that do not fit.
        """
        check_shape("target", target, (pred.shape[0], *pred.shape[2:]), pred)
        return evaluate([self], Call(pred, target, self.ignore_index))[0]

    def needs(self, call: Call) -> Needs:
        """Return the region sums."""
        want = frozenset({"intersection", "prediction", "target"})
        return Needs("softmax", want, None, call.ignore_index)

    def from_sums(self, sums: PixelSums, call: Call) -> Tensor:
        """Return one less the mean score of the images."""
        region = overlap(sums, per_image=True, squared=False, include_background=True)
        return 1 - self.scores(region).mean()

    @abstractmethod
    def scores(self, region: Overlap) -> Tensor:
        """Return the score of every image, ``(N,)``."""


class DiceLoss(RegionLoss):
    """``1 - 2 I / (P + Y + eps)`` with kornia's arguments, averaged over images.

    Args:
        average: ``"micro"``: weighted sums over all classes together; ``"macro"``: weighted mean over the
            classes present in the image.
        eps: Added to the denominator.
        weight: ``(C,)`` class weights, or ``None``.
        ignore_index: Label left out of all sums; an image that has no other scores a loss of 1.

    Raises:
        SegfocalError: For settings out of range.

    Example:
        >>> DiceLoss()(torch.zeros(1, 2, 4), torch.tensor([[0, 0, 1, 1]]))  # 1 - 2 * 2 / (4 + 4)
        tensor(0.5000)
    """

    weight: Tensor | None

    def __init__(
        self,
        average: str = "micro",
        eps: float = 1e-8,
        weight: Tensor | None = None,
        ignore_index: int | None = -100,
    ) -> None:
        super().__init__(locals())
        check_range("eps", eps, low=0.0)
        self.average, self.eps = choice("average", average, ("micro", "macro")), eps
        self.ignore_index = ignore_index
        self.register_buffer("weight", constants("weight", weight), persistent=False)

    def scores(self, region: Overlap) -> Tensor:
        """Return the Dice score of every image, ``(N,)``."""
        i, p, y = region
        weights = torch.ones_like(y[0])
        if self.weight is not None:
            weights = per_class("weight", self.weight, y.shape[1]).to(y)
        if self.average == "micro":
            both = (weights * (p + y)).sum(1)
            return ratio(2 * (weights * i).sum(1), torch.where(both > 0, both + self.eps, 0.0))
        present = weights * (y > 0)
        return ratio((present * ratio(2 * i, p + y + self.eps)).sum(1), present.sum(1))


class TverskyLoss(RegionLoss):
    """``1 - I / (I + alpha FP + beta FN + eps)`` with kornia's arguments.

    The mean is over the classes present in an image, then over images.

    Args:
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        eps: Added to the denominator.
        ignore_index: Label left out of all sums; an image that has no other scores a loss of 1.

    Raises:
        SegfocalError: For settings out of range.
    """

    def __init__(self, alpha: float, beta: float, eps: float = 1e-8, ignore_index: int | None = -100) -> None:
        super().__init__(locals())
        check_range("eps", eps, low=0.0)
        self.alpha, self.beta, self.eps, self.ignore_index = alpha, beta, eps, ignore_index

    def scores(self, region: Overlap) -> Tensor:
        """Return the Tversky score of every image, ``(N,)``."""
        top, bottom = tversky_parts(region, fp_weight=self.alpha, fn_weight=self.beta)
        present = (region.target > 0).to(top.dtype)
        return ratio((present * ratio(top, bottom + self.eps)).sum(1), present.sum(1))


def dice_loss(
    pred: Tensor,
    target: Tensor,
    average: str = "micro",
    eps: float = 1e-8,
    weight: Tensor | None = None,
    ignore_index: int | None = -100,
) -> Tensor:
    """Compute Dice loss; as ``DiceLoss``."""
    found: Tensor = DiceLoss(average, eps, weight, ignore_index).to(pred.device)(pred, target)
    return found


def tversky_loss(
    pred: Tensor,
    target: Tensor,
    alpha: float,
    beta: float,
    eps: float = 1e-8,
    ignore_index: int | None = -100,
) -> Tensor:
    """Compute Tversky loss; as ``TverskyLoss``."""
    found: Tensor = TverskyLoss(alpha, beta, eps, ignore_index)(pred, target)
    return found
