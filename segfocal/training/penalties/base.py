"""What a penalty is: a number added to the loss, or a step after the optimizer's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segfocal.training.optim import decays

Named = Mapping[str, Tensor]


class Penalty(ABC):
    """A term of a list such as ``model.penalties``; its strength 0 leaves a run as it would be without it."""

    @property
    def name(self) -> str:
        """The name it is logged under, behind ``penalty/``."""
        return type(self).__name__

    @property
    @abstractmethod
    def active(self) -> bool:
        """Whether it changes anything."""


class WeightPenalty(Penalty):
    """A penalty on trainable weights.

    Its gradient is added once per step of the optimizer, in front of clipping: to what was accumulated, and
    under data parallelism to what was averaged, so that it is the same on every rank.

    Args:
        norm_and_bias: Whether it acts on biases and normalisation layers as well (parameters with fewer than
            two axes, as ``model.decay_norm_and_bias`` for weight decay).
    """

    def __init__(self, *, norm_and_bias: bool = False) -> None:
        self.norm_and_bias = norm_and_bias

    def select(self, network: nn.Module) -> dict[str, nn.Parameter]:
        """Return the parameters it acts on, by name.

        Args:
            network: Whose; frozen parameters are left out.

        Returns:
            Name to parameter.

        Example:
            >>> from segfocal.training.penalties import L2
            >>> list(L2(0.1).select(nn.Linear(3, 2)))
            ['weight']
        """
        return {
            name: parameter
            for name, parameter in network.named_parameters()
            if decays(parameter, norm_and_bias=self.norm_and_bias)
        }

    def exempt(self, network: nn.Module) -> list[str]:
        """Return the names of the trainable parameters that it leaves alone."""
        chosen = self.select(network)
        return [name for name, p in network.named_parameters() if p.requires_grad and name not in chosen]

    @abstractmethod
    def value(self, weights: Named, start: Named) -> Tensor:
        """Return what it adds to the loss.

        Args:
            weights: What `select` chose.
            start: Where training began; weights that were new then are missing.

        Returns:
            Scalar.
        """

    @abstractmethod
    def gradients(self, weights: Named, start: Named) -> list[Tensor]:
        """Return the gradient of `value` with respect to each weight, in their order.

        Args:
            weights: As `value`.
            start: As `value`.

        Returns:
            Tensors of the weights' shapes; an empty list where there is a step after the optimizer's instead.
        """

    def step(self, optimizer: torch.optim.Optimizer, weights: Mapping[str, nn.Parameter]) -> None:
        """Change the weights behind a step of the optimizer; most penalties do not.

        Args:
            optimizer: That has just stepped.
            weights: What `select` chose.
        """

    def details(self, weights: Named) -> dict[str, Tensor]:
        """Return further scalars to log behind its name; most have none."""
        return {}


def squared_norm(tensors: list[Tensor]) -> Tensor:
    """Return the sum of the squares of all elements.

    Args:
        tensors: Any shapes, at least one.

    Returns:
        Scalar, float32 or wider.

    Example:
        >>> squared_norm([torch.tensor([3.0]), torch.tensor([[4.0]])])
        tensor(25.)
    """
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors], 2)
    return torch.stack([norm.float() if norm.dtype.itemsize < 4 else norm for norm in norms]).square().sum()
