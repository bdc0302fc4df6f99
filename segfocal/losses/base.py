"""The protocol of a loss: which sums it needs, and what it makes of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice
from segfocal.losses.alpha import WithAlpha
from segfocal.losses.checks import check_channels, check_ignore_index
from segfocal.losses.evaluation import (
    COUNTS,
    Evaluation,
    Partial,
    Started,
    counts_of,
    partial_of_batch,
    result_dtype,
)
from segfocal.losses.module import LossModule
from segfocal.losses.needs import Activation, Needs, compute
from segfocal.losses.primitive.sums import PixelSums
from segfocal.losses.ranks import Ranks
from segfocal.losses.reduction import Task

if TYPE_CHECKING:
    from segfocal.losses.explain import LossShares


class SegmentationLoss(WithAlpha, LossModule, ABC):
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
        sync: Whether sums and denominators are added up over all ranks before the loss is made of them, so
            that data parallelism gives loss and gradient of the whole batch. Every rank must then call the
            loss; without gradients or in ``eval()`` nothing is exchanged. See also :meth:`synchronize`.

    Raises:
        SegfocalError: For an unknown task, or an ignore_index that is no label.
    """

    def __init__(
        self,
        task: Task,
        *,
        ignore_index: int | None = None,
        validate: bool | None = None,
        sync: bool = False,
    ) -> None:
        super().__init__()
        check_choice("task", task, ("binary", "multiclass", "multilabel"))
        check_ignore_index(ignore_index)
        self.task: Task = task
        self.ignore_index = ignore_index
        self.validate = validate
        self.sync = sync
        self.ranks = Ranks()

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
        shared = self.sync and self.training and torch.is_grad_enabled() and self.ranks.several()
        started = self.start(logits, target, weight, counts=counts, shared=shared)
        return started.finish(self.ranks.add_up(started.addends))

    def start(
        self, logits: Tensor, target: Tensor, weight: Tensor | None, *, counts: bool, shared: bool
    ) -> Started:
        """Run the passes of this rank, up to what adds up over ranks; nothing does unless ``shared``."""
        sums = self.run(logits, target, weight, counts=counts)
        addends, finish = self.partial(sums) if shared else ([], lambda _: self.from_passes(sums))
        found = counts_of(sums[0]) if counts else None
        return Started(addends, lambda totals: Evaluation(finish(totals).to(result_dtype(logits)), {}, found))

    def run(
        self, logits: Tensor, target: Tensor, weight: Tensor | None, *, counts: bool
    ) -> tuple[PixelSums, ...]:
        """Compute the sums of all passes, hard counts with those of the first on request."""
        self.check_call(logits, target)
        passes = self.passes(logits.shape[1])
        if counts:
            passes = (replace(passes[0], want=passes[0].want | COUNTS, per_image=True), *passes[1:])
        return tuple(compute(each, logits, target, weight) for each in passes)

    def partial(self, sums: tuple[PixelSums, ...]) -> Partial:
        """Split :meth:`from_passes` into what adds up over images and ranks, and what is made of the totals.

        Right for every loss of the batch's sums; one of each image's sums has its own.
        """
        return partial_of_batch(sums, self.from_passes)

    def synchronize(self, on: bool = True, *, process_group: Any = None) -> None:
        """Set ``sync`` here and in all terms.

        Args:
            on: As the argument ``sync``.
            process_group: Ranks to add up over; ``None``: all.
        """
        for term in self.modules():
            if isinstance(term, SegmentationLoss):
                term.sync, term.ranks = on, Ranks(process_group)

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

    @property
    def activation(self) -> Activation:
        """Return what turns logits into scores: softmax for multiclass, sigmoid otherwise."""
        return "softmax" if self.task == "multiclass" else "sigmoid"

    def check_call(self, logits: Tensor, target: Tensor) -> None:
        """Raise where the logits do not fit the task or alpha has no numbers yet."""
        if self.wants_counts():
            raise SegfocalError(
                'alpha is "balanced" but has no numbers yet. Call loss.with_alpha(counts) with the counts of '
                "labels in the training split, and use the loss that it returns."
            )
        check_channels(logits, self.task, target)
