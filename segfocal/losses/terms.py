"""Weighted sums of losses that share a pass over the pixels where they can."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import accumulate, count
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.losses.base import SegmentationLoss
from segfocal.losses.checks import numbers
from segfocal.losses.evaluation import Evaluation, Partial, Started, counts_of, result_dtype
from segfocal.losses.explain import LossShares
from segfocal.losses.foreign import call_foreign
from segfocal.losses.needs import Needs, plan, union
from segfocal.losses.pixelwise import PixelwiseLoss
from segfocal.losses.primitive.sums import PixelSums


class SumOfLosses(SegmentationLoss):
    """A weighted sum of losses.

    Terms of this package that ask for the same activation and at most one pixel loss share one pass. Any
    other ``nn.Module`` is called as it is with ``(logits, target)``.

    Args:
        terms: At least one of this package; all with the same task and ignore_index.
        weights: One finite number per term.

    Raises:
        SegfocalError: For terms that contradict one another or cannot be added.
    """

    weights: Tensor

    def __init__(self, terms: Sequence[nn.Module], weights: Sequence[float]) -> None:
        own = [term for term in terms if isinstance(term, SegmentationLoss)]
        _check_terms(terms, own)
        first, sync = own[0], any(term.sync for term in own)
        super().__init__(first.task, ignore_index=first.ignore_index, validate=first.validate, sync=sync)
        if len(weights) != len(terms):
            raise SegfocalError(f"weights must be one per term, got {len(weights)} for {len(terms)} terms.")
        self.ranks = next((term.ranks for term in own if term.sync), self.ranks)
        self.terms = nn.ModuleList(terms)
        self.register_buffer(
            "weights", numbers("weights", list(weights), low=-sys.float_info.max), persistent=False
        )
        self._names = _distinct(type(term).__name__ for term in terms)
        # positions only: a plan must survive deepcopy and devices
        channels = 1 if self.task == "binary" else 2
        per_term = [term.passes(channels) for term in own]
        self._ends = list(accumulate(len(each) for each in per_term))
        self._plan = plan([needs for each in per_term for needs in each])

    def needs(self) -> Needs:
        """Return the needs of the one pass that all terms share.

        Raises:
            SegfocalError: Where there is more than one pass, or a term from elsewhere.
        """
        if len(self._plan) > 1 or len(self.own_terms()) < len(self.terms):
            raise SegfocalError("these terms do not share one pass. Use passes() and from_passes().")
        return self.passes(1 if self.task == "binary" else 2)[0]

    def from_sums(self, sums: PixelSums) -> Tensor:
        """Return the weighted sum from the one pass that all terms share."""
        return self.from_passes((sums,))

    def passes(self, channels: int) -> tuple[Needs, ...]:
        """Return the merged needs of this package's terms."""
        needs = [each for _, term in self.own_terms() for each in term.passes(channels)]
        return tuple(union([needs[i] for i in group]) for group in self._plan)

    def from_passes(self, sums: tuple[PixelSums, ...]) -> Tensor:
        """Return the weighted sum of this package's terms."""
        return self._total(self._values(sums))

    def start(
        self, logits: Tensor, target: Tensor, weight: Tensor | None, *, counts: bool, shared: bool
    ) -> Started:
        """Run the passes of this package's terms, and the other terms."""
        sums = self.run(logits, target, weight, counts=counts)
        own = {i for i, _ in self.own_terms()}
        others = {
            i: call_foreign(term, logits, target, weight) for i, term in enumerate(self.terms) if i not in own
        }
        addends, values_of = self._partials(sums) if shared else ([], lambda _: self._values(sums))

        def finish(totals: Sequence[Tensor]) -> Evaluation:
            values = values_of(totals) | others
            parts = {self._names[i]: values[i].detach() for i in sorted(values)}
            value = self._total(values).to(result_dtype(logits))
            return Evaluation(value, parts, counts_of(sums[0]) if counts else None)

        return Started(addends, finish)

    def parts(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
        """Return the detached, unweighted value of each term by its class's name, for logging.

        Args:
            logits: As in ``forward``.
            target: As in ``forward``.
            weight: As in ``forward``.

        Returns:
            Scalars; the second term of a class is called ``Name_2``.
        """
        return self.evaluate(logits, target, weight).parts

    def posterior(self, scores: Tensor) -> Tensor:
        """Return the posterior of the one term, where there is no other."""
        return self.own_terms()[0][1].posterior(scores) if len(self.terms) == 1 else super().posterior(scores)

    def explain(self, logits: Tensor, target: Tensor, fractions: Iterable[float] | None = None) -> LossShares:
        """Return the shares of the one term, where there is no other."""
        if len(self.terms) > 1:
            raise SegfocalError(
                "a sum of losses has no loss per pixel. Explain one of its terms: loss.terms[0].explain(...)."
            )
        return self.own_terms()[0][1].explain(logits, target, fractions)

    def own_terms(self) -> list[tuple[int, SegmentationLoss]]:
        """Return the terms of this package with their positions."""
        return [(i, term) for i, term in enumerate(self.terms) if isinstance(term, SegmentationLoss)]

    def partial(self, sums: tuple[PixelSums, ...]) -> Partial:
        """Collect what adds up in each of this package's terms."""
        addends, values_of = self._partials(sums)
        return addends, lambda totals: self._total(values_of(totals))

    def _partials(
        self, sums: tuple[PixelSums, ...]
    ) -> tuple[list[Tensor], Callable[[Sequence[Tensor]], dict[int, Tensor]]]:
        """Return what adds up, and the values of the terms as a function of the totals."""
        partials = {i: term.partial(own) for i, term, own in self._sums_of_terms(sums)}

        def values_of(totals: Sequence[Tensor]) -> dict[int, Tensor]:
            left = iter(totals)
            return {i: finish([next(left) for _ in own]) for i, (own, finish) in partials.items()}

        return [each for own, _ in partials.values() for each in own], values_of

    def _values(self, sums: tuple[PixelSums, ...]) -> dict[int, Tensor]:
        """Return the unweighted value of each of this package's terms."""
        return {i: term.from_passes(own) for i, term, own in self._sums_of_terms(sums)}

    def _sums_of_terms(
        self, sums: tuple[PixelSums, ...]
    ) -> Iterator[tuple[int, SegmentationLoss, tuple[PixelSums, ...]]]:
        """Hand each of this package's terms the sums of its passes."""
        of_pass = {i: number for number, group in enumerate(self._plan) for i in group}
        start = 0
        for (i, term), end in zip(self.own_terms(), self._ends, strict=True):
            yield i, term, tuple(sums[of_pass[j]] for j in range(start, end))
            start = end

    def _total(self, values: dict[int, Tensor]) -> Tensor:
        """Return the weighted sum of values of any floating dtype."""
        return reduce(torch.add, [self.weights[i].to(value.device) * value for i, value in values.items()])


def _check_terms(terms: Sequence[nn.Module], own: Sequence[SegmentationLoss]) -> None:
    """Raise where the terms cannot be added."""
    for term in terms:
        if not isinstance(term, nn.Module):
            raise SegfocalError(f"a term must be an nn.Module, got {type(term).__name__}.")
        if isinstance(term, PixelwiseLoss) and term.reduction == "none":
            raise SegfocalError(
                f"{type(term).__name__} with reduction 'none' gives a map, which does not add to a number. "
                'Use reduction="mean".'
            )
    if not own:
        raise SegfocalError("a compound needs at least one loss of segfocal among its terms, got none.")
    settings: dict[str, list[Any]] = {
        "task": [term.task for term in own],
        "ignore_index": [term.ignore_index for term in own],
    }
    for argument, found in settings.items():
        if len(set(found)) > 1:
            listed = ", ".join(
                f"{type(term).__name__}: {value!r}" for term, value in zip(own, found, strict=True)
            )
            raise SegfocalError(f"terms must agree in {argument}, got {listed}.")


def _distinct(names: Iterable[str]) -> list[str]:
    """Number repeated names: Name, Name_2, ..."""
    distinct: list[str] = []
    for name in names:
        numbered = (f"{name}_{i}" for i in count(2))
        distinct.append(name if name not in distinct else next(n for n in numbered if n not in distinct))
    return distinct
