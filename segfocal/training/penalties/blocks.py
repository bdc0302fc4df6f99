"""Norms of weights, one per block of the network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from segfocal.models.parts import body
from segfocal.training.penalties.base import squared_norm


def block_of(name: str, *, prefix: str) -> str:
    """Return the top-level block that a parameter belongs to.

    Args:
        name: Of the parameter.
        prefix: Of wrappers that hold the whole network, see ``segfocal.models.parts.body``.

    Returns:
        The first part of the name.

    Example:
        >>> block_of("network.encoder.layer1.0.conv1.weight", prefix="network.")
        'encoder'
    """
    return name.removeprefix(prefix).split(".")[0]


def norms(network: nn.Module) -> dict[str, Tensor]:
    """Return the Euclidean norm of the weights of each top-level block, and of all.

    Args:
        network: Biases and normalisation layers (fewer than two axes) are left out.

    Returns:
        Block, and "all", to a scalar.

    Example:
        >>> norms(nn.Sequential(nn.Linear(1, 1), nn.ReLU())).keys()
        dict_keys(['0', 'all'])
    """
    return _per_block(network, _matrices(network))


def distances(network: nn.Module, start: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return how far the weights of each top-level block are from where training began.

    Args:
        network: As `norms`.
        start: Weights by name; those missing here (new ones) are left out.

    Returns:
        Block, and "all", to a scalar; empty without a start.
    """
    weights = _matrices(network)
    return _per_block(network, {name: weights[name] - start[name] for name in weights if name in start})


def _matrices(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in network.named_parameters() if weight.ndim > 1}


def _per_block(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = body(network)[1]
    grouped: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        grouped.setdefault(block_of(name, prefix=prefix), []).append(tensor)
    squares = {block: squared_norm(members) for block, members in grouped.items()}
    if squares:
        squares["all"] = sum(squares.values(), start=next(iter(squares.values())).new_zeros(()))
    return {block: square.sqrt() for block, square in squares.items()}
