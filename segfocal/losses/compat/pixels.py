"""Focal loss and cross-entropy with a weight per class and side, reduced as a peer reduces it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from segfocal.errors import SegfocalError
from segfocal.losses.checks import numbers
from segfocal.losses.compat.adapter import Call, PeerLoss
from segfocal.losses.compat.regions import refuse_soft, soft_target
from segfocal.losses.needs import Activation, Needs, PixelTerm, compute_map
from segfocal.losses.primitive.curve import Form
from segfocal.losses.primitive.sums import PixelSums


class Sides(NamedTuple):
    """Weights of negatives and of positives, ``(C,)`` each; under softmax those of negatives are unused."""

    negative: Tensor
    positive: Tensor


class PixelLoss(PeerLoss):
    """A peer's pixel loss.

    Args:
        given: The constructor's arguments.
        gamma: Focusing exponent, 0 for cross-entropy.
        soft: Whether soft targets mean at the peer what they mean here: expectations. Where not, they raise
            (on a CPU; elsewhere the loss is NaN).
        form: As in ``pixel_sums``.
        parameter: As in ``pixel_sums``.
        smoothing: As ``label_smoothing`` in ``pixel_sums``.
    """

    gamma: Tensor
    parameter: Tensor | None

    def __init__(
        self,
        given: Mapping[str, Any],
        *,
        gamma: float,
        soft: bool,
        form: Form = "focal",
        parameter: float | None = None,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__(given)
        self.soft, self.form, self.smoothing = soft, form, smoothing
        self.register_buffer("gamma", numbers("gamma", gamma), persistent=False)
        row = None if parameter is None else torch.tensor(parameter, dtype=torch.float64, device="cpu")
        self.register_buffer("parameter", row, persistent=False)

    @abstractmethod
    def activation(self, channels: int) -> Activation:
        """Return the activation for so many logits."""

    @abstractmethod
    def sides(self, channels: int) -> Sides | None:
        """Return the weights of both sides for so many logits; ``None``: all weigh 1."""

    @abstractmethod
    def reduce(self, loss: Tensor, count: Tensor, call: Call) -> Tensor:
        """Reduce the weighted loss.

        Args:
            loss: ``(N, C)``, in nats, summed over space.
            count: ``(N, C)`` elements that are not ignored; under softmax those of each label.
            call: For the sizes of its tensors.
        """

    def needs(self, call: Call) -> Needs:
        """Return numerator and counts, and what tells soft targets from hard ones."""
        want = {"loss", "count"}
        if self.check_soft(call):
            want |= {"target", "target_squared"}
        channels = call.logits.shape[1]
        sides = self.sides(channels) if self.activation(channels) == "softmax" else None
        return self.needs_of(call, frozenset(want), None if sides is None else sides.positive)

    def needs_of(self, call: Call, want: frozenset[str], alpha: Tensor | None) -> Needs:
        """Return the arguments of the pass."""
        term = PixelTerm(self.gamma, alpha, self.form, self.parameter, self.smoothing)
        return Needs(self.activation(call.logits.shape[1]), want, term, call.ignore_index)

    def check_soft(self, call: Call) -> bool:
        """Tell whether the target might be soft in a way that the peer reads otherwise."""
        return not self.soft and call.target.is_floating_point()

    def from_sums(self, sums: PixelSums, call: Call) -> Tensor:
        """Weigh the sides and reduce."""
        assert sums.loss is not None
        assert sums.count is not None
        loss, count = sums.loss, sums.count.to(sums.loss.dtype)
        if loss.ndim == 3:  # sigmoid; under softmax the weights are in the pass, where smoothing sees them
            sides = self.sides(call.logits.shape[1])
            weights = None if sides is None else torch.stack(sides, -1).to(loss)
            loss, count = (loss if weights is None else loss * weights).sum(-1), count.sum(-1)
        value = self.reduce(loss, count, call)
        if self.soft or sums.target is None or sums.target_squared is None:
            return value
        return refuse_soft(value, soft_target(sums))

    def map(self, call: Call) -> Tensor:
        """Return the weighted loss of every element, ``(N, C, *S)``; softmax: 0 but at the label's class.

        Raises:
            SegfocalError: Under softmax for masks, whose map has no single class per pixel.
        """
        sides = self.sides(call.logits.shape[1])
        if self.activation(call.logits.shape[1]) == "softmax":
            return self._map_of_labels(call, None if sides is None else sides.positive)
        alpha, scale = (None, None) if sides is None else alpha_and_scale(sides)
        needs = self.needs_of(call, frozenset(), alpha)
        values = compute_map(needs, call.logits, call.target, call.weight)
        if scale is not None:
            values = values * scale.to(values).view(-1, *[1] * (call.logits.ndim - 2))
        if not self.check_soft(call):
            return values
        target = call.target
        fraction = (target > 0) & (target < 1)
        return refuse_soft(values, fraction.any())

    def _map_of_labels(self, call: Call, weights: Tensor | None) -> Tensor:
        """Put the loss of every pixel into the channel of its label."""
        if call.target.ndim == call.logits.ndim:
            raise SegfocalError(
                'reduction="none" with softmax takes a label map, got masks. Hand in the labels: '
                "masks.argmax(1), where the adapter takes a label map."
            )
        needs = self.needs_of(call, frozenset(), weights)
        values = compute_map(needs, call.logits, call.target, None)
        index = call.target.unsqueeze(1).long()
        ignored = index == call.ignore_index if call.ignore_index is not None else torch.zeros_like(index) > 0
        index = index.masked_fill(ignored, 0).clamp(0, call.logits.shape[1] - 1)
        return torch.zeros_like(call.logits, dtype=values.dtype).scatter(1, index, values.unsqueeze(1))


def alpha_and_scale(sides: Sides) -> tuple[Tensor, Tensor]:
    """Write two weights as the primitive's alpha, which weighs negatives by 1 - alpha, times a factor.

    Args:
        sides: ``(C,)`` each.

    Returns:
        Two ``(C,)``.

    Example:
        >>> alpha_and_scale(Sides(torch.tensor([1.0]), torch.tensor([3.0])))
        (tensor([0.7500]), tensor([4.]))
    """
    scale = sides.negative + sides.positive
    return torch.where(scale > 0, sides.positive / scale, 0.5), scale


def background_first(alpha: Tensor, channels: int) -> Tensor:
    """Return ``[1 - alpha, alpha, ..., alpha]``: what a single alpha means to some peers under softmax.

    Args:
        alpha: ``()``.
        channels: C.

    Returns:
        ``(C,)``.

    Example:
        >>> background_first(torch.tensor(0.25), 3)
        tensor([0.7500, 0.2500, 0.2500])
    """
    return torch.cat([1 - alpha.reshape(1), alpha.expand(channels - 1)])


def ones(like: Tensor, channels: int) -> Tensor:
    """Return ``(C,)`` weights of 1 where another buffer lives."""
    return torch.ones(channels, dtype=like.dtype, device=like.device)
