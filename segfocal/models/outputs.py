"""The logits among whatever a network returns."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from segfocal.errors import SegfocalError


def main_output(output: Any) -> Tensor:
    """Return the full-resolution logits of a network's output.

    Args:
        output: A tensor, or a list or tuple of tensors with the full resolution first (deep supervision).

    Returns:
        The logits, shape ``(N, C, *S)``.

    Raises:
        SegfocalError: For anything else, such as the dicts of torchvision.

    Example:
        >>> import torch
        >>> main_output([torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4)]).shape
        torch.Size([1, 2, 8, 8])
    """
    if isinstance(output, (list, tuple)) and output:
        output = output[0]
    if isinstance(output, Tensor):
        return output
    raise SegfocalError(
        f"The network must return a tensor of logits or a list that begins with one, got "
        f"{_describe(output)}. Where it returns a dict, wrap it: segfocal.models.TakeOutput(network, "
        "key='out')."
    )


class TakeOutput(nn.Module):
    """Wrap a network that returns a dict so that it returns one of its entries.

    Args:
        network: For example ``torchvision.models.segmentation.deeplabv3_resnet50(...)``.
        key: The entry that holds the logits; torchvision calls it ``"out"``.
    """

    def __init__(self, network: nn.Module, *, key: str = "out") -> None:
        super().__init__()
        self.network = network
        self.key = key

    def forward(self, images: Tensor) -> Tensor:
        """Return the chosen entry, shape ``(N, C, *S)``."""
        output = self.network(images)
        if not isinstance(output, dict) or self.key not in output:
            raise SegfocalError(
                f"The wrapped network must return a dict with {self.key!r}, got {_describe(output)}."
            )
        return main_output(output[self.key])


def _describe(output: Any) -> str:
    kind = type(output).__name__
    return f"a {kind} with keys {sorted(map(str, output))}" if isinstance(output, dict) else f"a {kind}"
