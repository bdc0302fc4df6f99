"""What a loss holds in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def kept_mib(loss: Callable[[Tensor, Tensor], Tensor], leaf: Tensor, target: Tensor) -> float:
    """Return the MiB kept between the passes besides logits and target, each storage counted once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    # the loss is held so that no storage is freed and its address taken by another
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = loss(leaf, target)
    given = {leaf.untyped_storage().data_ptr(), target.untyped_storage().data_ptr()}
    del held
    return sum(size for pointer, size in kept.items() if pointer not in given) / 2**20


def peak_mib(step: Callable[[], object]) -> float:
    """Return the peak of CUDA memory above the inputs in MiB, the gradient included."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20
