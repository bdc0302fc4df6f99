"""Outputs of several resolutions that a network returns in one tensor."""

from __future__ import annotations

from torch import Tensor, nn


class Unstack(nn.Module):
    """Wrap a network that stacks its outputs along a new second axis, so that it returns a list of them.

    MONAI's ``DynUNet(deep_supervision=True)`` does so in training; ``DeepSupervision`` takes the list.

    Args:
        network: Images ``(N, Cin, *S)`` to ``(N, outputs, C, *S)`` in training, ``(N, C, *S)`` otherwise.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Return the outputs, the full resolution first, or the only one."""
        output: Tensor = self.network(images)
        return list(output.unbind(dim=1)) if output.ndim == images.ndim + 1 else output
