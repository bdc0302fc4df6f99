"""L1, L2 and L2-SP."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError, check_range
from segfocal.training.penalties.base import Named, WeightPenalty, squared_norm
from segfocal.training.penalties.proximal import shrink, step_size


class L1(WeightPenalty):
    """``strength * sum |w|``.

    Proximal (the default), it acts behind each step of the optimizer: every weight moves towards 0 by at most
    strength times the size of that step, and stops there, so that zeros are exact. The step's size is the
    optimizer's own: ``lr / (1 - momentum)`` for SGD, ``lr / (sqrt(v) + eps)`` per weight for AdamW; so both
    come to rest at the minimum of loss + penalty. Not proximal, ``strength * sign(w)`` is added to the
    gradient, and weights only come near 0. Gradient clipping does not see the proximal step. An average of
    weights (EMA) holds no exact zeros while an average of what was not zero is left in it.

    Logs ``penalty/L1`` and ``penalty/L1/sparsity``, the share of penalised weights that are exactly 0.

    Args:
        strength: At least 0, in units of the loss per unit of weight.
        proximal: Whether by proximal steps.
        norm_and_bias: As `WeightPenalty`.

    Raises:
        SegfocalError: For a negative strength.

    Source:
        Parikh and Boyd, Proximal Algorithms, 2014, section 4.2; with an adaptive step: Yun, Lozano and Yang,
        Adaptive Proximal Gradient Methods for Structured Neural Networks, 2021, eq. 5.
    """

    def __init__(self, strength: float, proximal: bool = True, *, norm_and_bias: bool = False) -> None:
        super().__init__(norm_and_bias=norm_and_bias)
        check_range("strength", strength, low=0.0, open_high=True)
        self.strength, self.proximal = strength, proximal

    def __repr__(self) -> str:
        return f"L1({self.strength}, proximal={self.proximal}, norm_and_bias={self.norm_and_bias})"

    @property
    def active(self) -> bool:
        """Whether the strength is not 0."""
        return self.strength > 0

    def value(self, weights: Named, start: Named) -> Tensor:
        """Return strength times the sum of absolute weights."""
        return self.strength * torch.stack([weight.detach().abs().sum() for weight in weights.values()]).sum()

    def gradients(self, weights: Named, start: Named) -> list[Tensor]:
        """Return ``strength * sign(w)``; nothing where steps are proximal."""
        if self.proximal:
            return []
        return [self.strength * weight.detach().sign() for weight in weights.values()]

    def step(self, optimizer: torch.optim.Optimizer, weights: Mapping[str, nn.Parameter]) -> None:
        """Shrink the weights where steps are proximal."""
        chosen = {id(weight) for weight in weights.values()} if self.proximal else set()
        for group in optimizer.param_groups:
            for weight in group["params"]:
                if id(weight) in chosen:
                    shrink(weight, self.strength * step_size(optimizer, group, weight))

    def details(self, weights: Named) -> dict[str, Tensor]:
        """Return the share of zeros."""
        zeros = torch.stack([(weight == 0).sum() for weight in weights.values()]).sum()
        return {"sparsity": zeros / sum(weight.numel() for weight in weights.values())}


class L2(WeightPenalty):
    """``strength / 2 * sum w^2``, coupled: its gradient ``strength * w`` passes through the optimizer.

    The convention of SGD's weight decay in torch. Beside AdamW it differs from ``model.weight_decay``, which
    is decoupled; set that to 0 for a run with this penalty alone.

    Args:
        strength: At least 0.
        norm_and_bias: As `WeightPenalty`.

    Raises:
        SegfocalError: For a negative strength.

    Source:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019, section 2 (coupled against
        decoupled).
    """

    def __init__(self, strength: float, *, norm_and_bias: bool = False) -> None:
        super().__init__(norm_and_bias=norm_and_bias)
        check_range("strength", strength, low=0.0, open_high=True)
        self.strength = strength

    def __repr__(self) -> str:
        return f"L2({self.strength}, norm_and_bias={self.norm_and_bias})"

    @property
    def active(self) -> bool:
        """Whether the strength is not 0."""
        return self.strength > 0

    def value(self, weights: Named, start: Named) -> Tensor:
        """Return half the strength times the sum of squares."""
        return 0.5 * self.strength * squared_norm(list(weights.values()))

    def gradients(self, weights: Named, start: Named) -> list[Tensor]:
        """Return ``strength * w``."""
        return [self.strength * weight.detach() for weight in weights.values()]


class L2SP(WeightPenalty):
    """``alpha / 2 * sum (w - start)^2`` over loaded weights, ``beta / 2 * sum w^2`` over new ones.

    The start is where training began: the weights of the checkpoint or the pretrained encoder that were
    loaded, or for a run from nothing its first random ones. It is kept in the run's own checkpoints, so that
    a resumed run is held to the same weights.

    Args:
        alpha: Pull towards the start, at least 0.
        beta: Pull of new weights (a re-initialised head) towards 0, at least 0.
        norm_and_bias: As `WeightPenalty`.

    Raises:
        SegfocalError: For a negative number.

    Source:
        Li, Grandvalet and Davoine, Explicit Inductive Bias for Transfer Learning with Convolutional Networks,
        2018, eq. 2.
    """

    def __init__(self, alpha: float, beta: float, *, norm_and_bias: bool = False) -> None:
        super().__init__(norm_and_bias=norm_and_bias)
        check_range("alpha", alpha, low=0.0, open_high=True)
        check_range("beta", beta, low=0.0, open_high=True)
        self.alpha, self.beta = alpha, beta

    def __repr__(self) -> str:
        return f"L2SP({self.alpha}, {self.beta}, norm_and_bias={self.norm_and_bias})"

    @property
    def active(self) -> bool:
        """Whether one of the two numbers is not 0."""
        return self.alpha > 0 or self.beta > 0

    def value(self, weights: Named, start: Named) -> Tensor:
        """Return the two sums."""
        return 0.5 * sum(
            (strength * squared_norm([shift]) for strength, shift in self._shifts(weights, start)),
            start=torch.zeros((), device=next(iter(weights.values())).device),
        )

    def gradients(self, weights: Named, start: Named) -> list[Tensor]:
        """Return ``alpha * (w - start)`` for loaded weights and ``beta * w`` for new ones."""
        return [strength * shift for strength, shift in self._shifts(weights, start)]

    def _shifts(self, weights: Named, start: Named) -> list[tuple[float, Tensor]]:
        shifts = []
        for name, weight in weights.items():
            loaded = start.get(name)
            if loaded is None:
                shifts.append((self.beta, weight.detach()))
            elif loaded.shape != weight.shape:
                raise SegfocalError(
                    f"L2SP needs start weights of the network's shapes, got {tuple(loaded.shape)} for {name} "
                    f"of shape {tuple(weight.shape)}. Name it among the new weights."
                )
            else:
                shifts.append((self.alpha, weight.detach() - loaded))
        return shifts
