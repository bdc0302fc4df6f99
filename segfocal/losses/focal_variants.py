"""Two variants of focal loss: convex in the logit, and with a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from segfocal.errors import SegfocalError, check_range
from segfocal.losses.pixelwise import Alpha, PixelwiseLoss
from segfocal.losses.reduction import Reduction, Task


class ConvexFocalLoss(PixelwiseLoss):
    """Convex focal loss ``tail CE + (1 - tail) softplus(-(gamma m + shift)) / gamma``, m the logit.

    The logit m is positive where right. Convex in it everywhere, slope at most 1. With shift = 0 and tail = 0
    it is cross-entropy on logits scaled by gamma: the control that tells focusing from a mere change of step.

    Args:
        task: ``"binary"``; the form has no multiclass counterpart.
        gamma: Steepness > 0; the paper uses (gamma, shift) = (2, 1) and (4, 0).
        shift: The paper's beta.
        tail: Share of cross-entropy, in [0, 1].
        alpha: As in ``FocalLoss``.
        reduction: As in ``FocalLoss``; ``mean`` divides by the pixels that are not ignored.
        ignore_index: Label left out.
        label_smoothing: In [0, 1).
        validate: Whether labels are checked; ``None``: on a CPU only.
        sync: Whether sums are added up over ranks, see ``SegmentationLoss``.

    Raises:
        SegfocalError: For another task or settings out of range.

    Source:
        Lin et al., "Focal Loss for Dense Object Detection", 2017, appendix A, FL*. The mix with CE is ours.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)
        >>> ConvexFocalLoss("binary", gamma=4.0, shift=0.0)(logits, target)  # log 2 / 4
        tensor(0.1733)
    """

    def __init__(
        self,
        task: Literal["binary"] = "binary",
        gamma: float = 2.0,
        shift: float = 1.0,
        *,
        tail: float = 0.0,
        alpha: Alpha = None,
        reduction: Reduction = "mean",
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        if task != "binary":
            raise SegfocalError(
                f'ConvexFocalLoss exists for task "binary" only, got {task!r}. Use FocalLoss.'
            )
        if reduction == "modulation":
            raise SegfocalError(
                'ConvexFocalLoss has no modulating factor, got reduction="modulation". Use reduction="mean".'
            )
        check_range("tail", tail, low=0.0, high=1.0)
        check_range("shift", shift, open_low=True, open_high=True)
        super().__init__(
            task,
            gamma=gamma,
            alpha=alpha,
            form="convex",
            parameter=[shift, tail],
            reduction=reduction,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            validate=validate,
            sync=sync,
        )
        self.check_gamma(self.gamma)

    def check_gamma(self, gamma: Tensor) -> None:
        """Raise where gamma is 0, which the loss divides by, or not a single number."""
        if gamma.ndim != 0:
            raise SegfocalError(f"gamma must be one number, got {gamma.tolist()}.")
        check_range("gamma", gamma.item(), low=0.0, open_low=True)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        assert self.parameter is not None
        shift, tail = self.parameter.tolist()
        common = self.pixel_settings()
        return {
            "task": common.pop("task"),
            "gamma": self.gamma.item(),
            "shift": shift,
            "tail": tail,
            **common,
        }


class ReducedFocalLoss(PixelwiseLoss):
    """Reduced focal loss: cross-entropy where ``p_t < threshold``, else ``((1 - p_t) / th)^gamma`` CE.

    Hard pixels keep the whole cross-entropy. Continuous only at ``threshold=0.5``: above 0.5 the loss drops
    at the threshold, below 0.5 it jumps up there and **amplifies** the easy pixels just above it. It has no
    posterior. ``FocalLoss(knee=...)`` or ``FocalLoss(tail=...)`` are continuous everywhere.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        gamma: Focusing exponent >= 0, a number or one per class.
        alpha: As in ``FocalLoss``.
        threshold: In (0, 1).
        reduction: As in ``FocalLoss``; ``mean`` divides by the elements that are not ignored.
        ignore_index: Label left out.
        label_smoothing: In [0, 1).
        validate: Whether labels are checked; ``None``: on a CPU only.
        sync: Whether sums are added up over ranks, see ``SegmentationLoss``.

    Raises:
        SegfocalError: For settings out of range, or reduction "modulation".

    Source:
        Sergievskiy and Ponamarev, "Reduced Focal Loss", 2019, eq. 3 and 4.

    Example:
        >>> import torch
        >>> logits, target = torch.full((1, 1, 1), 3.0).log(), torch.tensor([[1], [0]], dtype=torch.uint8)
        >>> loss = ReducedFocalLoss("binary", reduction="none")
        >>> loss(logits.expand(2, 1, 1), target)  # p_t = 3/4: log(4/3) / 4; p_t = 1/4: log 4
        tensor([[0.0719],
                [1.3863]])
    """

    def __init__(
        self,
        task: Task,
        gamma: float | Sequence[float] = 2.0,
        alpha: Alpha = None,
        *,
        threshold: float = 0.5,
        reduction: Reduction = "mean",
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        check_range("threshold", threshold, low=0.0, high=1.0, open_low=True, open_high=True)
        if reduction == "modulation":
            raise SegfocalError(
                'ReducedFocalLoss has a changed factor, got reduction="modulation". Use reduction="mean".'
            )
        super().__init__(
            task,
            gamma=gamma,
            alpha=alpha,
            form="reduced",
            parameter=threshold,
            reduction=reduction,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            validate=validate,
            sync=sync,
        )

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        assert self.parameter is not None
        common = self.pixel_settings()
        head = {"task": common.pop("task"), "gamma": self.gamma.tolist(), "alpha": common.pop("alpha")}
        return {**head, "threshold": self.parameter.item(), **common}
