"""Run a network to learn about it, and leave no trace."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call


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
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            yield parameter.detach().new_empty(0)
    finally:
        for module, training in modes:
            module.training = training


def try_out(network: nn.Module, shape: Sequence[int], *, training: bool) -> Any:
    """Return what a network makes of images of a shape, which leaves no trace in it.

    Shapes alone are computed first, which costs no time; images of noise are computed only where a network
    cannot do that. Statistics of its layers, modes and the states of all random generators stay.

    Args:
        network: Images to logits.
        shape: Of the images, ``(N, Cin, *S)``.
        training: Whether it runs as in training, or as in validation.

    Returns:
        Its output; tensors may have shapes without content.

    Raises:
        Exception: Whatever the network raises.

    Example:
        >>> try_out(nn.Conv2d(3, 2, 1), (4, 3, 8, 8), training=True).shape
        torch.Size([4, 2, 8, 8])
    """
    with probing(network) as example, _same_randomness():
        network.train(training)
        held = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        try:
            empty = {name: tensor.to("meta") for name, tensor in held.items()}
            with _same_attributes(network):
                images = example.new_empty(*shape, device="meta")
                # tied, torch would put back the wrong ones in modules of two names, as DynUNet's
                return functional_call(network, empty, (images,), tie_weights=False)
        except Exception:
            # an operation without shapes, or a fault: running it tells
            kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
            noise = torch.randn(*shape).to(example)
            with _same_attributes(network):
                return functional_call(network, kept, (noise,), tie_weights=False)


@contextmanager
def _same_attributes(network: nn.Module) -> Iterator[None]:
    """Put back what a network notes in itself, such as the list of outputs of MONAI's ``DynUNet``."""
    modules = list(network.modules())
    before = [dict(vars(module)) for module in modules]
    lists = {id(value): value for own in before for value in own.values() if isinstance(value, list)}
    held = [(value, list(value)) for value in lists.values()]
    try:
        yield
    finally:
        for value, content in held:
            value[:] = content
        for module, own in zip(modules, before, strict=True):
            vars(module).clear()
            vars(module).update(own)


@contextmanager
def _same_randomness() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - the global one
