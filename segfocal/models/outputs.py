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
        f"{described(output)}. Where it returns a dict, wrap it: segfocal.models.TakeOutput(network, "
        "key='out'); in a configuration class_path: segfocal.models.TakeOutput with network and key below "
        "init_args."
    )


def as_supervised(output: Any, *, axes: int) -> Any:
    """Return a network's output as losses take it: a tensor, or a list for `DeepSupervision`.

    Args:
        output: What the network returned. Outputs that MONAI's ``DynUNet`` stacks along a second axis become
            a list, and a list of one tensor, as ``BasicUNetPlusPlus`` returns, that tensor.
        axes: Of the images, spatial ones.

    Example:
        >>> import torch
        >>> [tuple(each.shape) for each in as_supervised(torch.zeros(1, 2, 3, 8, 8), axes=2)]
        [(1, 3, 8, 8), (1, 3, 8, 8)]
    """
    if isinstance(output, Tensor) and output.ndim == axes + 3:
        return list(output.unbind(dim=1))
    if isinstance(output, (list, tuple)) and len(output) == 1:
        return output[0]
    return output


class TakeOutput(nn.Module):
    """Wrap a network that returns a dict or a tuple so that it returns one of its entries.

    Args:
        network: For example ``torchvision.models.segmentation.deeplabv3_resnet50(...)``.
        key: The entry that holds the logits; torchvision calls it ``"out"``. A number counts from 0.
    """

    def __init__(self, network: nn.Module, *, key: int | str = "out") -> None:
        super().__init__()
        self.network = network
        self.key = key

    def forward(self, images: Tensor) -> Tensor:
        """Return the chosen entry, shape ``(N, C, *S)``."""
        output = self.network(images)
        if isinstance(self.key, int):
            several = as_supervised(output, axes=images.ndim - 2)
            found = [several] if isinstance(several, Tensor) else several  # one in evaluation
            if isinstance(found, (list, tuple)) and 0 <= self.key < len(found):
                return main_output(found[self.key])
        if not isinstance(output, dict) or self.key not in output:
            wanted = "tuple" if isinstance(self.key, int) else "dict"
            raise SegfocalError(
                f"The wrapped network must return a {wanted} with {self.key!r}, got {described(output)}."
            )
        return main_output(output[self.key])


def described(output: Any) -> str:
    """Return in words what a network returned.

    Example:
        >>> import torch
        >>> described((torch.zeros(2, 1, 8, 8), None))
        'a tuple of a tensor (2, 1, 8, 8) and None'
    """
    kind = type(output).__name__
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, dict):
        return f"a {kind} with keys {sorted(map(str, output))}"
    if isinstance(output, (list, tuple)) and output:
        return f"a {kind} of {' and '.join(described(each) for each in output)}"
    return "None" if output is None else f"a {kind}"
