"""Run a network to learn about it, and leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def probing(network: nn.Module) -> Iterator[Tensor]:
    """Put a network into evaluation mode without gradients for the length of a ``with`` block.

    Args:
        network: Any network; the mode of each of its parts is restored at the end.

    Yields:
        An empty tensor of the dtype and device of its parameters, to make inputs from.

    Example:
        >>> network = nn.Dropout()
        >>> with probing(network):
        ...     network.training
        False
        >>> network.training
        True
    """
    modes = [(module, module.training) for module in network.modules()]
    parameter = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
    network.eval()
    try:
        with torch.no_grad():
            yield parameter.detach().new_empty(0)
    finally:
        for module, training in modes:
            module.training = training
