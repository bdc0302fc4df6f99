"""Adding up over the ranks of a process group, with the gradient that data parallelism needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


class AddUp(torch.autograd.Function):
    """All-reduce whose gradient is the own one times the number of ranks.

    Every rank makes the same loss of the totals, so all arriving gradients are equal, and averaging the
    gradients of the parameters over R ranks takes the factor R back.
    """

    @staticmethod
    def forward(ctx: Any, packed: Tensor, group: Any) -> Tensor:
        """Sum over the ranks."""
        ctx.ranks = dist.get_world_size(group)
        total = packed.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Scale; nothing is sent."""
        return grad * ctx.ranks, None


class Ranks:
    """The ranks that a loss adds up over; copies of the loss share them, and a pickle forgets them.

    Args:
        group: Process group; ``None``: all ranks.
    """

    def __init__(self, group: Any = None) -> None:
        self.group = group

    def __deepcopy__(self, memo: dict[int, Any]) -> Ranks:
        return self

    def __reduce__(self) -> tuple[type[Ranks], tuple[()]]:
        return Ranks, ()

    def several(self) -> bool:
        """Return whether there is more than one rank."""
        return dist.is_available() and dist.is_initialized() and dist.get_world_size(self.group) > 1

    def add_up(self, addends: Sequence[Tensor]) -> list[Tensor]:
        """Add up tensors over the ranks in one collective; none where there are none.

        Args:
            addends: Of the same shapes on every rank; integers stay below 2^53.

        Returns:
            Totals of the same shapes, float64 (float32 where the addends are), differentiable.
        """
        if not addends:
            return []
        dtype = next((each.dtype for each in addends if each.is_floating_point()), torch.float64)
        packed = torch.cat([each.to(dtype).flatten() for each in addends])
        parts = AddUp.apply(packed, self.group).split([each.numel() for each in addends])
        return [part.view(each.shape) for part, each in zip(parts, addends, strict=True)]
