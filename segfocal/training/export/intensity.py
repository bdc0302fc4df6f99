"""The intensity steps of preprocessing as tensor arithmetic, so that they travel inside an exported graph."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Scale(nn.Module):
    """Multiply and subtract constants, per channel.

    Args:
        factor: One number per channel, or one for all.
        offset: Likewise; subtracted after the multiplication.
        axes: Spatial axes of the images.
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, factor: Sequence[float], offset: Sequence[float], *, axes: int) -> None:
        super().__init__()
        shape = (1, -1, *(1,) * axes)
        for name, values in (("factor", factor), ("offset", offset)):
            constant = torch.tensor(values, dtype=torch.float64).float().reshape(shape)
            self.register_buffer(name, constant, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, C, *S)`` to the same shape."""
        return images * self.factor - self.offset


class Window(nn.Module):
    """Map an interval linearly to another, and cut what lies outside.

    Args:
        low: Stored value that becomes ``bottom``.
        high: Stored value that becomes ``top``.
        bottom: Smallest result.
        top: Largest result.
    """

    def __init__(self, low: float, high: float, *, bottom: float, top: float) -> None:
        super().__init__()
        self.low, self.high, self.bottom, self.top = low, high, bottom, top

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, C, *S)`` to the same shape."""
        share = (images - self.low) / (self.high - self.low)
        return (share * (self.top - self.bottom) + self.bottom).clamp(self.bottom, self.top)


class Standardize(nn.Module):
    """Subtract each channel's mean over its image, and divide by its standard deviation.

    Args:
        floor: Where the standard deviation is no larger, the channel counts as constant and becomes 0.
        nonzero: Whether mean and deviation are of voxels that are not 0, and the others stay 0.
    """

    def __init__(self, *, floor: float = 0.0, nonzero: bool = False) -> None:
        super().__init__()
        self.floor, self.nonzero = floor, nonzero

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, C, *S)`` to the same shape."""
        axes = tuple(range(2, images.ndim))
        inside = (images != 0).to(images.dtype) if self.nonzero else None
        # the smallest share of a volume that a voxel can be is larger than this
        share = 1.0 if inside is None else inside.mean(axes, keepdim=True).clamp(min=1e-12)
        if inside is None:
            # a constant channel is exactly 0 from here on, in whatever order a runtime sums
            images = images - _corner(images)
        for _ in range(2):  # the second mean is what float32 lost of the first
            images = images - images.mean(axes, keepdim=True) / share
            images = images if inside is None else images * inside
        spread = (images.square().mean(axes, keepdim=True) / share).sqrt()
        return images / torch.where(spread > self.floor, spread, 1.0)


def _corner(images: Tensor) -> Tensor:
    for axis in range(2, images.ndim):
        images = images.narrow(axis, 0, 1)
    return images
