"""The protocol of a loss: which sums it needs, and what it makes of them."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError, check_choice
from segfocal.losses.checks import check_channels, check_ignore_index
from segfocal.losses.evaluation import COUNTS, Evaluation, counts_of, result_dtype
from segfocal.losses.fields import sum_dtype
from segfocal.losses.needs import Activation, Needs, compute
from segfocal.losses.reduction import Task
from segfocal.losses.sums import PixelSums

if TYPE_CHECKING:
    from segfocal.losses.compound import CompoundLoss
    from segfocal.losses.explain import LossShares


class SegmentationLoss(nn.Module, ABC):
    """A loss that is arithmetic on sums over pixels.

    A subclass says which sums (:meth:`needs`) and what to make of them (:meth:`from_sums`); ``forward`` joins
    the two. Instances add and scale: ``FocalLoss(task) + 0.5 * DiceLoss(task)`` is one module that reads the
    logits once. Nothing is written to ``self`` in ``forward``. Numbers a schedule may move are float64
    buffers that are not saved, and that keep their precision when a network is cast to half.

    Args:
        task: ``"binary"`` (one logit, sigmoid), ``"multilabel"`` (K logits, sigmoid) or ``"multiclass"``
            (C logits with the background as class 0, softmax).
        ignore_index: Label left out of every sum and every count; ``None`` for none.
        validate: Whether labels are checked on each call; ``None``: on a CPU only, elsewhere an invalid label
            makes the loss NaN.

    Raises:
        SegfocalError: For an unknown task, or an ignore_index that is no label.
    """

    def __init__(self, task: Task, *, ignore_index: int | None = None, validate: bool | None = None) -> None:
        super().__init__()
        check_choice("task", task, ("binary", "multiclass", "multilabel"))
        check_ignore_index(ignore_index)
        self.task: Task = task
        self.ignore_index = ignore_index
        self.validate = validate

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain values; ``repr`` prints those that are not defaults."""

    @abstractmethod
    def needs(self) -> Needs:
        """Return which sums the loss is computed from."""

    @abstractmethod
    def from_sums(self, sums: PixelSums) -> Tensor:
        """Return the loss, a scalar in the dtype of the sums, from the sums that :meth:`needs` names."""

    def passes(self, channels: int) -> tuple[Needs, ...]:
        """Return the needs of every pass over pixels with so many logits: one, for most losses."""
        return (self.needs(),)

    def from_passes(self, sums: tuple[PixelSums, ...]) -> Tensor:
        """Return the loss from the sums of all passes, in the order of :meth:`passes`."""
        return self.from_sums(sums[0])

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss.

        Args:
            logits: ``(N, C, *S)``, any number of spatial axes (none too), any floating dtype.
            target: Label map ``(N, *S)`` of any integer dtype or bool, or hard or soft masks ``(N, C, *S)``.
            weight: Pixel weights ``(N, *S)``, for sigmoid also ``(N, C, *S)``, or ``None``.

        Returns:
            A scalar in nats or a Dice-like number; float32, or float64 for float64 logits.

        Raises:
            SegfocalError: For shapes, dtypes or labels that do not fit, and for an alpha still "balanced".
        """
        return self.evaluate(logits, target, weight).value

    def evaluate(
        self, logits: Tensor, target: Tensor, weight: Tensor | None = None, *, counts: bool = False
    ) -> Evaluation:
        """Return the loss together with its parts and, on request, the hard counts of the same pass."""
        self.check_call(logits)
        passes = self.passes(logits.shape[1])
        if counts:
            passes = (replace(passes[0], want=passes[0].want | COUNTS), *passes[1:])
        sums = tuple(compute(each, logits, target, weight) for each in passes)
        value = self.from_passes(sums).to(result_dtype(logits))
        return Evaluation(value, {}, counts_of(sums[0]) if counts else None)

    def posterior(self, scores: Tensor) -> Tensor:
        """Return class posteriors from the scores of a network trained with this loss."""
        raise SegfocalError(
            f"{type(self).__name__} has no exact posterior: only a pixel loss that stands alone has one. "
            "Calibrate the scores on held-out images instead, for example by temperature scaling."
        )

    def explain(self, logits: Tensor, target: Tensor, fractions: Iterable[float] | None = None) -> LossShares:
        """Return the share of the loss that the hardest pixels carry, see ``segfocal.losses.explain``."""
        raise SegfocalError(
            f"{type(self).__name__} has no loss per pixel to explain: it is a ratio of sums over regions."
        )

    def wants_counts(self) -> bool:
        """Tell whether some alpha is "balanced" and waits for :meth:`with_alpha`."""
        return any(term.waits_for_alpha() for term in self.modules() if isinstance(term, SegmentationLoss))

    def waits_for_alpha(self) -> bool:
        """Tell whether this very module's own alpha is still "balanced"."""
        return False

    def with_alpha(self, counts: Any) -> SegmentationLoss:
        """Return a copy with every ``alpha="balanced"`` replaced by numbers.

        Args:
            counts: Labels of the training split: ``(C,)`` for multiclass, ``(K, 2)`` = (negatives, positives)
                per channel for binary (K = 1) and multilabel; tensor, array or nested list.

        Returns:
            A deep copy; multiclass: 1 / count scaled to mean 1 over the classes that occur (weight 1 for one
            that does not); sigmoid: alpha = 1 - foreground fraction.

        Raises:
            SegfocalError: For counts of the wrong shape, negative ones, or a channel with one side only.
        """
        resolved = copy.deepcopy(self)
        for term in resolved.modules():
            if isinstance(term, SegmentationLoss) and term.waits_for_alpha():
                term.resolve_alpha(counts)
        return resolved

    def resolve_alpha(self, counts: Any) -> None:
        """Replace this module's own balanced alpha; does nothing where there is none."""

    @property
    def activation(self) -> Activation:
        """Return what turns logits into scores: softmax for multiclass, sigmoid otherwise."""
        return "softmax" if self.task == "multiclass" else "sigmoid"

    def check_call(self, logits: Tensor) -> None:
        """Raise where the logits do not fit the task or alpha has no numbers yet."""
        if self.wants_counts():
            raise SegfocalError(
                'alpha is "balanced" but has no numbers yet. Call loss.with_alpha(counts) with the counts of '
                "labels in the training split, and use the loss that it returns."
            )
        check_channels(logits, self.task)

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        shown = [f"{k}={v!r}" for k, v in self.settings().items() if v != defaults[k].default]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __add__(self, other: nn.Module) -> CompoundLoss:
        from segfocal.losses.compound import add  # compound is built on this class

        return add(self, other)

    def __radd__(self, other: nn.Module | int) -> SegmentationLoss:
        from segfocal.losses.compound import add

        if isinstance(other, nn.Module):
            return add(other, self)
        if other == 0:  # where sum() starts
            return self
        raise SegfocalError(f"a loss adds to a loss, got {other!r}.")

    def __mul__(self, factor: float) -> CompoundLoss:
        from segfocal.losses.compound import scale

        return scale(self, factor)

    __rmul__ = __mul__

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SegmentationLoss:
        # gamma = 0.3 rounded to bf16 is another loss: buffers follow the device of the network, not its dtype
        for child in self.children() if recurse else ():
            child._apply(fn)
        for name, buffer in self.named_buffers(recurse=False):
            device = fn(torch.zeros((), device=buffer.device)).device
            setattr(self, name, buffer.to(device, sum_dtype(device)))
        return self
