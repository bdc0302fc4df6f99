"""What the losses of single pixels share: settings, reductions, the posterior, the explanation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.losses.alpha import alpha_numbers, balanced_alpha
from segfocal.losses.base import SegmentationLoss
from segfocal.losses.checks import numbers
from segfocal.losses.evaluation import COUNTS, Evaluation, Started, counts_of
from segfocal.losses.explain import FRACTIONS, LossShares, loss_shares
from segfocal.losses.needs import Needs, PixelTerm, compute, compute_map
from segfocal.losses.posterior import check_invertible, invert
from segfocal.losses.primitive.curve import Form
from segfocal.losses.primitive.sums import PixelSums
from segfocal.losses.reduction import SUMS_OF_REDUCTION, Reduction, Task, reduce_sums

Alpha = float | Sequence[float] | Literal["balanced"] | None


class PixelwiseLoss(SegmentationLoss):
    """A loss that every pixel has by itself, reduced to one number; see ``FocalLoss`` for the arguments."""

    gamma: Tensor
    alpha: Tensor | None
    parameter: Tensor | None

    def __init__(
        self,
        task: Task,
        *,
        gamma: float | Sequence[float],
        alpha: Alpha,
        form: Form = "focal",
        parameter: float | Sequence[float] | None = None,
        reduction: Reduction = "mean",
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        super().__init__(task, ignore_index=ignore_index, validate=validate, sync=sync)
        check_choice("reduction", reduction, SUMS_OF_REDUCTION)
        check_range("label_smoothing", label_smoothing, low=0.0, high=1.0, open_high=True)
        self.reduction: Reduction = reduction
        self.label_smoothing = float(label_smoothing)
        self.form: Form = form
        self._balanced = isinstance(alpha, str) and alpha == "balanced"
        known = None if alpha is None or self._balanced else alpha_numbers(alpha, task)
        shape = None if parameter is None else torch.tensor(parameter, dtype=torch.float64, device="cpu")
        self.register_buffer("gamma", numbers("gamma", gamma), persistent=False)
        self.register_buffer("alpha", known, persistent=False)
        self.register_buffer("parameter", shape, persistent=False)

    def needs(self) -> Needs:
        """Return the sums of the reduction's numerator and denominator."""
        want = SUMS_OF_REDUCTION[self.reduction]
        term = self.pixel_term()
        return Needs(self.activation, want, term, self.ignore_index, self.validate, per_image=False)

    def pixel_term(self) -> PixelTerm:
        """Return the settings of the pixel loss."""
        return PixelTerm(self.gamma, self.alpha, self.form, self.parameter, self.label_smoothing)

    def from_sums(self, sums: PixelSums) -> Tensor:
        """Return the reduced loss, a scalar in nats."""
        if self.reduction == "none":
            raise SegfocalError('reduction "none" gives a map, not a number from sums. Call the loss itself.')
        return reduce_sums(sums, self.reduction, task=self.task, alpha=self.alpha)

    def start(
        self, logits: Tensor, target: Tensor, weight: Tensor | None, *, counts: bool, shared: bool
    ) -> Started:
        """Run the pass; reduction "none" has nothing to add up, and takes a pass more for counts."""
        if self.reduction != "none":
            return super().start(logits, target, weight, counts=counts, shared=shared)
        self.check_call(logits, target)
        value, found = self.map(logits, target, weight), None
        if counts:
            needs = Needs(self.activation, COUNTS, None, self.ignore_index, self.validate)
            found = counts_of(compute(needs, logits, target, None))
        return Started([], lambda _: Evaluation(value, {}, found))

    def map(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of every element.

        Args:
            logits: ``(N, C, *S)``.
            target: As in ``forward``.
            weight: As in ``forward``.

        Returns:
            Nats, 0 where ignored: ``(N, *S)`` for multiclass, ``(N, K, *S)`` for multilabel, the target's
            shape for binary.
        """
        values = compute_map(self.needs(), logits, target, weight)
        return values.squeeze(1) if self.task == "binary" and target.ndim < logits.ndim else values

    def set_gamma(self, gamma: float | Sequence[float]) -> None:
        """Change gamma in place, for schedules: nothing is compiled anew.

        Args:
            gamma: A number or, where gamma has one per class, as many; at least 0.

        Raises:
            SegfocalError: For another shape or a number out of range.
        """
        values = numbers("gamma", gamma)
        if values.ndim > self.gamma.ndim or (values.ndim and values.shape != self.gamma.shape):
            raise SegfocalError(
                f"gamma must keep its shape {tuple(self.gamma.shape)}, got {tuple(values.shape)}. "
                "Build the loss with one gamma per class to schedule them apart."
            )
        self.check_gamma(values)
        self.gamma.copy_(values)

    def check_gamma(self, gamma: Tensor) -> None:
        """Raise where the form does not exist at this gamma; any gamma >= 0 does unless overridden."""

    def waits_for_alpha(self) -> bool:
        """Tell whether alpha is still "balanced"."""
        return self._balanced

    def resolve_alpha(self, counts: Any) -> None:
        """Replace the balanced alpha by the numbers that follow from the counts."""
        self.alpha = balanced_alpha(counts, self.task).to(self.gamma)
        self._balanced = False

    def posterior(self, scores: Tensor) -> Tensor:
        """Return the class posteriors that the scores of a trained network stand for.

        Args:
            scores: Probabilities from the network: classes along axis 1 for multiclass, else elementwise.

        Returns:
            Posteriors of the same shape; label smoothing and alpha are undone.

        Raises:
            SegfocalError: Where no exact inverse exists: reduced focal, poly below 0, a reduction per class,
                an alpha of 0.

        Source:
            Charoenphakdee et al., "On Focal Loss for Class-Posterior Probability Estimation", 2021, Th. 11.
        """
        if self.wants_counts():
            raise SegfocalError(
                'alpha is "balanced" but has no numbers yet. Call loss.with_alpha(counts) first.'
            )
        if self.reduction in ("class_sum", "class_mean"):
            raise SegfocalError(
                f"reduction {self.reduction!r} weighs classes by how often each batch holds them, so scores "
                "have no fixed posterior. Train with another reduction and an alpha."
            )
        check_invertible(self.form, self.parameter, self.alpha, self.task)
        return invert(scores, self.task, self.pixel_term())

    def explain(self, logits: Tensor, target: Tensor, fractions: Iterable[float] | None = None) -> LossShares:
        """Return the share of the loss that the hardest pixels carry.

        Args:
            logits: ``(N, C, *S)``.
            target: As in ``forward``.
            fractions: Hardest parts of the pixels, each in (0, 1]; ``None``: 0.001, 0.01, 0.1, 0.5, 1.

        Returns:
            Shares for foreground and background apart.
        """
        self.check_call(logits, target)
        values = compute_map(self.needs(), logits.detach(), target, None)
        return loss_shares(
            values,
            target,
            task=self.task,
            ignore_index=self.ignore_index,
            fractions=FRACTIONS if fractions is None else fractions,
        )

    def pixel_settings(self) -> dict[str, Any]:
        """Return the settings that every pixel loss has, as plain values."""
        alpha = "balanced" if self._balanced else None if self.alpha is None else self.alpha.tolist()
        return {
            "task": self.task,
            "alpha": alpha,
            "reduction": self.reduction,
            "ignore_index": self.ignore_index,
            "label_smoothing": self.label_smoothing,
            "validate": self.validate,
            "sync": self.sync,
        }
