"""A small U-Net that trains on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError, check_choice, check_range

_CONV = {2: nn.Conv2d, 3: nn.Conv3d}
_UPSAMPLE = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
_BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


class SmallUNet(nn.Module):
    """A residual U-Net that works at half the image's resolution and below.

    A 2x2 patch embedding halves the image before the first convolution, and a transposed convolution whose
    4x4 windows overlap restores it after the last one: most of a U-Net's time goes into its full-resolution
    layers, and thin structures survive, because the embedding keeps every pixel. Fastest in ``channels_last``
    memory format.

    Args:
        in_channels: Image channels.
        num_classes: Logit channels.
        channels: Width of each level from fine to coarse; each level halves the resolution again.
        spatial_dims: 2 or 3.
        dropout: Probability of dropping a whole feature map after each block of two convolutions.
        norm: ``"batch"``, ``"instance"``, or ``"group"`` (8 channels per group) for batches of one or two.

    Raises:
        SegfocalError: For settings out of range.

    Source:
        Ronneberger et al., U-Net, 2015; blocks as in He et al., Deep Residual Learning, 2016; the patch
        embedding as in Dosovitskiy et al., An Image is Worth 16x16 Words, 2021.

    Example:
        >>> network = SmallUNet(3, 2, channels=(4, 8))
        >>> network(torch.zeros(1, 3, 16, 24)).shape, network.stride
        (torch.Size([1, 2, 16, 24]), 4)
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        channels: Sequence[int] = (16, 32, 64, 128),
        spatial_dims: int = 2,
        dropout: float = 0.0,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        _check(in_channels, num_classes, channels, spatial_dims, dropout, norm)
        conv, upsample = _CONV[spatial_dims], _UPSAMPLE[spatial_dims]

        def block(before: int, after: int) -> nn.Module:
            return ResidualBlock(before, after, spatial_dims=spatial_dims, dropout=dropout, norm=norm)

        widths = list(channels)
        self.stem = conv(in_channels, widths[0], 2, stride=2, bias=False)
        self.encoder = nn.ModuleList(map(block, [widths[0], *widths[:-1]], widths))
        self.pool = _POOL[spatial_dims](2)
        self.upsample = nn.ModuleList(
            upsample(below, width, 2, stride=2)
            for width, below in zip(widths[-2::-1], widths[:0:-1], strict=True)
        )
        self.decoder = nn.ModuleList(block(2 * width, width) for width in widths[-2::-1])
        self.head = upsample(widths[0], num_classes, 4, stride=2, padding=1)

    @property
    def stride(self) -> int:
        """Multiple that the input sizes must have, in pixels."""
        return int(2 ** len(self.encoder))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``(N, in_channels, *S)`` to logits ``(N, num_classes, *S)``."""
        features = self.stem(images)
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            features = block(features if level == 0 else self.pool(features))
            skips.append(features)
        for upsample, block, skip in zip(self.upsample, self.decoder, skips[-2::-1], strict=True):
            features = block(torch.cat([upsample(features), skip], dim=1))
        logits: Tensor = self.head(features)
        return logits


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions beside a shortcut.

    Args:
        before: Channels that come in.
        after: Channels that go out; where they differ the shortcut is a 1x1 convolution.
        spatial_dims: 2 or 3.
        dropout: Probability of dropping a whole feature map at the end.
        norm: As in ``SmallUNet``.
    """

    def __init__(self, before: int, after: int, *, spatial_dims: int, dropout: float, norm: str) -> None:
        super().__init__()
        conv = _CONV[spatial_dims]
        self.body = nn.Sequential(
            conv(before, after, 3, padding=1, bias=False),
            _norm(after, spatial_dims=spatial_dims, norm=norm),
            nn.LeakyReLU(0.01, inplace=True),
            conv(after, after, 3, padding=1, bias=False),
            _norm(after, spatial_dims=spatial_dims, norm=norm),
        )
        self.shortcut = nn.Identity() if before == after else conv(before, after, 1, bias=False)
        self.end = nn.Sequential(nn.LeakyReLU(0.01, inplace=True))
        if dropout:
            self.end.append(_DROPOUT[spatial_dims](dropout))

    def forward(self, features: Tensor) -> Tensor:
        """Map ``(N, before, *S)`` to ``(N, after, *S)``."""
        result: Tensor = self.end(self.body(features) + self.shortcut(features))
        return result


def _norm(width: int, *, spatial_dims: int, norm: str) -> nn.Module:
    if norm == "batch":
        return _BATCH_NORM[spatial_dims](width)
    if norm == "instance":
        return _INSTANCE_NORM[spatial_dims](width, affine=True)
    return nn.GroupNorm(max(1, width // 8), width)


def _check(
    in_channels: int, num_classes: int, channels: Sequence[int], spatial_dims: int, dropout: float, norm: str
) -> None:
    check_range("in_channels", in_channels, low=1)
    check_range("num_classes", num_classes, low=1)
    check_range("dropout", dropout, low=0.0, high=1.0, open_high=True)
    check_choice("norm", norm, ("batch", "instance", "group"))
    if spatial_dims not in _CONV:
        raise SegfocalError(f"spatial_dims must be 2 or 3, got {spatial_dims}.")
    if not channels or any(width < 1 for width in channels):
        raise SegfocalError(f"channels must be positive widths from fine to coarse, got {tuple(channels)}.")
    if norm == "group" and any(width > 8 and width % 8 for width in channels):
        raise SegfocalError(f"norm='group' needs widths that 8 divides, got {tuple(channels)}.")
