"""Focal loss with its tails, and cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from segfocal.errors import SegfocalError, check_range
from segfocal.losses.pixelwise import Alpha, PixelwiseLoss
from segfocal.losses.posterior import amplified_below
from segfocal.losses.reduction import Reduction, Task


class FocalLoss(PixelwiseLoss):
    """Focal loss ``alpha_t (1 - p_t)^gamma (-log p_t)``, softmax or sigmoid.

    gamma = 0, alpha = None is ``F.cross_entropy`` (multiclass) or ``F.binary_cross_entropy_with_logits``,
    value and gradient, ignored pixels and weights included. Soft targets are expectations: the loss of each
    class, weighted by its mass.

    Args:
        task: ``"binary"``, ``"multiclass"`` (softmax, class 0 is the background) or ``"multilabel"``.
        gamma: Focusing exponent >= 0; a number, or one per class (by label; by channel for multilabel).
        alpha: Binary and multilabel: weight of the positives in [0, 1], negatives get 1 - alpha, so 0.5
            halves the loss. Multiclass: one weight per class. ``"balanced"``: from counts, see
            ``with_alpha``. ``None``: weight 1 for everything.
        reduction: ``mean`` divides by the elements that are not ignored (pixels for softmax, pixel x channel
            for sigmoid), ``weighted_mean`` by the sum of alpha times pixel weight, ``positives`` by the
            foreground elements (at least 1), ``class_sum`` and ``class_mean`` take the mean per class first,
            ``modulation`` divides by the sum of ``(1 - p_t)^gamma``; ``sum`` by nothing; ``none`` is a map.
        ignore_index: Label left out, also of the denominators.
        label_smoothing: e in [0, 1): the target becomes ``(1 - e) onehot + e / C`` (C = 2 for sigmoid).
        knee: Focal loss up to this p_t, above it cross-entropy scaled to the slope that focal had there, so
            that confident pixels go on learning. In (p0, 1), p0 = .4215, .3679, .2976, .1968 for gamma .5, 1,
            2, 5: below p0 focal loss is steeper than cross-entropy.
        tail: Share of cross-entropy mixed in, ``tail CE + (1 - tail) focal``, in [0, 1].
        poly: Poly-1 term ``+ poly (1 - p_t)^(gamma + 1)``. knee, tail and poly exclude one another.
        validate: Whether labels are checked; ``None``: on a CPU only.
        sync: Whether sums are added up over ranks, see ``SegmentationLoss``.

    Raises:
        SegfocalError: For settings out of range, two of knee, tail and poly, or a scalar multiclass alpha.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, eq. 4 and 5. Poly-1: Leng et al.,
        "PolyLoss", 2022, eq. 8. Knee and tail are ours.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)
        >>> FocalLoss("binary", gamma=2.0)(logits, target)  # (1/2)^2 log 2
        tensor(0.1733)
    """

    def __init__(
        self,
        task: Task,
        gamma: float | Sequence[float] = 2.0,
        alpha: Alpha = None,
        *,
        reduction: Reduction = "mean",
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        knee: float | None = None,
        tail: float = 0.0,
        poly: float = 0.0,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        given = {"knee": knee is not None, "tail": tail != 0.0, "poly": poly != 0.0}
        if sum(given.values()) > 1:
            names = " and ".join(name for name, there in given.items() if there)
            raise SegfocalError(f"knee, tail and poly exclude one another, got {names}. Keep one.")
        check_range("tail", tail, low=0.0, high=1.0)
        check_range("poly", poly, low=float("-inf"), open_low=True, open_high=True)
        form, parameter = "focal", None
        if knee is not None:
            check_range("knee", knee, low=0.0, high=1.0, open_low=True, open_high=True)
            form, parameter = "knee", knee
        elif tail != 0.0:
            form, parameter = "tail", tail
        elif poly != 0.0:
            form, parameter = "poly", poly
        super().__init__(
            task,
            gamma=gamma,
            alpha=alpha,
            form=form,  # type: ignore[arg-type]
            parameter=parameter,
            reduction=reduction,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            validate=validate,
            sync=sync,
        )
        self.check_gamma(self.gamma)

    def check_gamma(self, gamma: Tensor) -> None:
        """Raise where the knee would lie at or below p0(gamma), where focal is steeper than cross-entropy."""
        if self.form != "knee" or self.parameter is None:
            return
        for each in gamma.reshape(-1).tolist():
            lowest = amplified_below(each)
            if self.parameter.item() <= lowest:
                raise SegfocalError(
                    f"knee must lie above p0 = {lowest:.4f} for gamma = {each:g}, got "
                    f"{self.parameter.item():g}: below p0 focal loss is steeper than cross-entropy. "
                    "A knee of 0.75 suits most gammas."
                )

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        value = None if self.parameter is None else self.parameter.item()
        common = self.pixel_settings()
        return {
            "task": common.pop("task"),
            "gamma": self.gamma.tolist(),
            **common,
            "knee": value if self.form == "knee" else None,
            "tail": value if self.form == "tail" else 0.0,
            "poly": value if self.form == "poly" else 0.0,
        }


class CrossEntropyLoss(PixelwiseLoss):
    """Cross-entropy ``-alpha_t log p_t``: focal loss with gamma = 0, arguments as in ``FocalLoss``.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        alpha: As in ``FocalLoss``. ``F.cross_entropy(weight=w)`` is ``alpha=w, reduction="weighted_mean"``.
        reduction: As in ``FocalLoss``; ``mean`` divides by the elements that are not ignored.
        ignore_index: Label left out.
        label_smoothing: In [0, 1).
        validate: Whether labels are checked; ``None``: on a CPU only.
        sync: Whether sums are added up over ranks, see ``SegmentationLoss``.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 4, 2), torch.tensor([[0, 3]])
        >>> CrossEntropyLoss("multiclass")(logits, target)  # log 4
        tensor(1.3863)
    """

    def __init__(
        self,
        task: Task,
        alpha: Alpha = None,
        *,
        reduction: Reduction = "mean",
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        super().__init__(
            task,
            gamma=0.0,
            alpha=alpha,
            reduction=reduction,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            validate=validate,
            sync=sync,
        )

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return self.pixel_settings()
