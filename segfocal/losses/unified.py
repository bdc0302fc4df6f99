"""Unified focal loss: a focal pixel term and a focal region term under two parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_range
from segfocal.losses.base import SegmentationLoss
from segfocal.losses.checks import numbers
from segfocal.losses.evaluation import Partial
from segfocal.losses.needs import Needs, PixelTerm
from segfocal.losses.overlap import Overlap, overlap, raised, shares, tversky
from segfocal.losses.primitive.sums import PixelSums
from segfocal.losses.reduction import ratio

WANT = frozenset({"loss", "count", "weight", "intersection", "prediction", "target"})


class UnifiedFocalLoss(SegmentationLoss):
    """Unified focal loss, ``pixel_weight * pixel + region_weight * region``.

    Pixel: cross-entropy weighted by delta for the foreground and 1 - delta for the background, with the
    factor ``(1 - p_t)^gamma`` on both (symmetric) or on the background only (asymmetric); mean over the
    pixels that are not ignored. Region: ``1 - TI`` per class with fp_weight 1 - delta and fn_weight delta,
    raised to 1 - gamma for all classes (symmetric) or for the foreground only (asymmetric); mean over
    classes, the background one of them, and over images with ``per_image=True``.

    Args:
        task: ``"binary"`` (the background is 1 - p) or ``"multiclass"`` (class 0 is the background). A
            multilabel task has no single background.
        symmetric: Which of the two variants. Asymmetric binary takes two passes over the logits.
        delta: Weight of the foreground, and of false negatives, in [0, 1].
        gamma: Focusing of both parts, in [0, 1).
        pixel_weight: Weight of the pixel part (1 - lambda in the authors' code).
        region_weight: Weight of the region part (lambda in the authors' code).
        per_image: Whether every image is a region, as in the authors' code.
        smooth: Added to numerator and denominator of TI; the default is the authors'.
        ignore_index: Label left out.
        validate: Whether labels are checked; ``None``: on a CPU only.
        sync: Whether sums are added up over ranks, see ``SegmentationLoss``.

    Raises:
        SegfocalError: For a multilabel task or settings out of range.

    Source:
        Yeung et al., "Unified Focal loss", 2022, eq. 17 and 18, and the authors' code where they differ.

    Example:
        >>> logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[1, 1], [0, 0]]])
        >>> UnifiedFocalLoss("binary", gamma=0.0, delta=0.5)(logits, target)  # (log 2 / 2 + 1 / 2) / 2
        tensor(0.4233)
    """

    gamma: Tensor

    def __init__(
        self,
        task: Literal["binary", "multiclass"],
        *,
        symmetric: bool = False,
        delta: float = 0.6,
        gamma: float = 0.5,
        pixel_weight: float = 0.5,
        region_weight: float = 0.5,
        per_image: bool = True,
        smooth: float = 1e-7,
        ignore_index: int | None = None,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        super().__init__(task, ignore_index=ignore_index, validate=validate, sync=sync)
        if self.task == "multilabel":
            raise SegfocalError('UnifiedFocalLoss has no multilabel form. Use task "binary" per label.')
        check_range("delta", delta, low=0.0, high=1.0)
        check_range("gamma", gamma, low=0.0, high=1.0, open_high=True)
        for name, value in (
            ("pixel_weight", pixel_weight),
            ("region_weight", region_weight),
            ("smooth", smooth),
        ):
            check_range(name, value, low=0.0, open_high=True)
        self.symmetric = symmetric
        self.delta = float(delta)
        self.pixel_weight = float(pixel_weight)
        self.region_weight = float(region_weight)
        self.per_image = per_image
        self.smooth = float(smooth)
        self.register_buffer("gamma", numbers("gamma", gamma), persistent=False)

    def needs(self) -> Needs:
        """Return the needs of the symmetric form; the asymmetric one depends on the number of classes.

        Raises:
            SegfocalError: For the asymmetric form.
        """
        if not self.symmetric:
            raise SegfocalError("the asymmetric form needs the number of logits. Use passes(channels).")
        return self._needs(self.gamma, WANT)

    def from_sums(self, sums: PixelSums) -> Tensor:
        """Return the loss from the sums of one pass."""
        return self.from_passes((sums,))

    def passes(self, channels: int) -> tuple[Needs, ...]:
        """Return one pass, or two for the asymmetric binary form, whose two sides differ in gamma."""
        if self.symmetric:
            return (self.needs(),)
        if self.task == "binary":
            return (
                self._needs(self.gamma, WANT),
                self._needs(torch.zeros_like(self.gamma), frozenset({"loss"})),
            )
        per_class = torch.cat([self.gamma.reshape(1), self.gamma.new_zeros(channels - 1)])
        return (self._needs(per_class, WANT),)

    def from_passes(self, sums: tuple[PixelSums, ...]) -> Tensor:
        """Return the weighted sum of the pixel part and the region part."""
        return self.pixel_weight * self._pixel(sums) + self.region_weight * self._region(sums[0])

    def _needs(self, gamma: Tensor, want: frozenset[str]) -> Needs:
        """Ask for focal loss without alpha: delta is applied to the sums, which keep the sides apart."""
        term = PixelTerm(gamma, None, "focal", None, 0.0)
        return Needs(self.activation, want, term, self.ignore_index, self.validate, self.per_image)

    def _pixel(self, sums: tuple[PixelSums, ...]) -> Tensor:
        """Return the mean over pixels of the weighted cross-entropies."""
        first, last = sums[0], sums[-1]
        assert first.loss is not None
        assert last.loss is not None
        assert first.count is not None
        if self.task == "binary":
            background, foreground = first.loss[..., 0].sum(), last.loss[..., 1].sum()
        else:
            background, foreground = first.loss[:, 0].sum(), first.loss[:, 1:].sum()
        total = (1 - self.delta) * background + self.delta * foreground
        return ratio(total, first.count.sum().to(total.dtype))

    def partial(self, sums: tuple[PixelSums, ...]) -> Partial:
        """Add up the pixel part's sums, and the region part's terms where each image is a region."""
        if not self.per_image:
            return super().partial(sums)
        losses = [each.loss.sum(0, keepdim=True) for each in sums if each.loss is not None]
        count = sums[0].count
        assert count is not None

        def finish(totals: Sequence[Tensor]) -> Tensor:
            numerator, denominator, number, *rest = totals
            pixel = self._pixel(tuple(PixelSums(loss=loss, count=number) for loss in rest))
            return self.pixel_weight * pixel + self.region_weight * ratio(numerator, denominator)

        return [*self._region_shares(sums[0]), count.sum(0, keepdim=True), *losses], finish

    def _region(self, sums: PixelSums) -> Tensor:
        """Return the mean over classes, and images, of the focal Tversky losses."""
        return ratio(*self._region_shares(sums))

    def _region_shares(self, sums: PixelSums) -> tuple[Tensor, Tensor]:
        """Return the sum of the focal Tversky losses, and their number."""
        classes = overlap(sums, per_image=self.per_image, squared=False, include_background=True)
        if self.task == "binary":
            classes = self._with_background(classes, sums)
        term = tversky(classes, fp_weight=1 - self.delta, fn_weight=self.delta, smooth=self.smooth)
        exponent = 1 - self.gamma.to(term)
        first = raised(term[:, :1], exponent) if self.symmetric else term[:, :1]
        focal = torch.cat([first, raised(term[:, 1:], exponent)], dim=1)
        return shares(focal, classes.target, "include")

    def _with_background(self, foreground: Overlap, sums: PixelSums) -> Overlap:
        """Put the sums of the background, 1 - p and 1 - t, before those of the only channel."""
        assert sums.weight is not None
        whole = sums.weight.sum(-1).to(foreground.prediction)
        whole = whole if self.per_image else whole.sum(0, keepdim=True)
        i, p, y = foreground
        background = (whole - p - y + i, whole - p, whole - y)
        return Overlap(*(torch.cat(pair, dim=1) for pair in zip(background, foreground, strict=True)))

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "task": self.task,
            "symmetric": self.symmetric,
            "delta": self.delta,
            "gamma": self.gamma.item(),
            "pixel_weight": self.pixel_weight,
            "region_weight": self.region_weight,
            "per_image": self.per_image,
            "smooth": self.smooth,
            "ignore_index": self.ignore_index,
            "validate": self.validate,
            "sync": self.sync,
        }
