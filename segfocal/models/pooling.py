"""Other down-sampling in an existing encoder: maximum, average, or anti-aliased."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError, check_choice
from segfocal.models.changes import Change
from segfocal.models.parts import Trace, children_of, trace

KINDS = ("max", "average", "blur")
_MAX = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Pooling(Change):
    """Replace how an encoder halves its feature maps.

    ``"max"`` and ``"average"`` exchange pooling layers, whatever they were; strided convolutions stay.
    ``"blur"`` lets pooling layers and convolutions of stride 2 run with stride 1 and then takes every second
    value of the blurred result (binomial 1-2-1 along each axis, borders repeated), so that a shift by one
    pixel changes less; a strided convolution costs four times as much then (eight in 3D). The sizes of all
    feature maps stay.

    Args:
        kind: ``"max"``, ``"average"`` or ``"blur"``.

    Raises:
        SegfocalError: For another kind.

    Source:
        Zhang, Making Convolutional Networks Shift-Invariant Again, 2019, section 3.2. There a strided
        convolution is blurred behind its activation, here in front of what follows it, so that it fits
        networks of any make.

    Example:
        >>> network = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 4, 1), nn.Upsample(scale_factor=2))
        >>> Pooling("average").apply(network)
        >>> network[0]
        AvgPool2d(kernel_size=2, stride=2, padding=0)
    """

    def __init__(self, kind: Literal["max", "average", "blur"]) -> None:
        check_choice("kind", kind, KINDS)
        self.kind = kind

    def __repr__(self) -> str:
        return f"Pooling({self.kind!r})"

    def apply(self, network: nn.Module) -> None:
        """Replace the down-sampling.

        Args:
            network: Changed in place; its weights stay.

        Raises:
            SegfocalError: If nothing of the kind is called in it, or its logits would get another size.
        """
        traced = trace(network)
        found = [module for module in traced.shapes if self._matches(module)]
        if not found:
            raise self._nothing(network)
        for module in found:
            if self.kind == "blur":
                _blur(module, _strides(module, traced))
            else:
                _replace(network, module, _like(module, _AVERAGE if self.kind == "average" else _MAX))
        if trace(network).logits != traced.logits:
            raise SegfocalError(
                f"Pooling({self.kind!r}) would change the size of the logits of {type(network).__name__}. "
                "Use kind='average', which leaves convolutions alone."
            )

    def _matches(self, module: nn.Module) -> bool:
        if self.kind != "blur":
            return _pools(module)
        halving = _pools(module) or isinstance(module, _CONVOLUTIONS)
        return halving and set(_tuple(module.stride)) in ({2}, {1, 2})

    def _nothing(self, network: nn.Module) -> SegfocalError:
        blur = self.kind == "blur"
        layers = "pooling layers or convolutions of stride 2" if blur else "pooling layers"
        hint = "" if blur else " Strided convolutions take kind='blur' only."
        return SegfocalError(
            f"Pooling({self.kind!r}) needs {layers}, found none in {type(network).__name__}. Its parts: "
            f"{children_of(network)}.{hint}"
        )


class BlurHook:
    """The hook behind a layer that no longer skips values.

    Args:
        strides: 1 or 2 per spatial axis.
        ceil: Whether sizes are rounded up, as ``ceil_mode`` of pooling layers does.
    """

    def __init__(self, strides: tuple[int, ...], *, ceil: bool) -> None:
        self.strides, self.ceil = strides, ceil

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Halve what the layer returns."""
        first = output.ndim - len(self.strides)
        for axis, stride in enumerate(self.strides, start=first):
            if stride == 2:
                output = blur_half(output, axis, ceil=self.ceil)
        return output


def blur_half(features: Tensor, axis: int, *, ceil: bool = False) -> Tensor:
    """Blur along an axis by 1-2-1 and take every second value, beginning with the first.

    Args:
        features: Any shape.
        axis: Which to halve, from 0.
        ceil: For an even length L, whether ``L / 2 + 1`` values are returned instead of ``L / 2``.

    Returns:
        ``ceil(L / 2)`` values along the axis; borders count as repeated.

    Example:
        >>> blur_half(torch.tensor([4.0, 0.0, 0.0, 8.0]), 0)
        tensor([3., 2.])
    """
    length = features.shape[axis]
    last = features.narrow(axis, length - 1, 1)
    repeated = [last] * (2 if ceil else 1)
    padded = torch.cat([features.narrow(axis, 0, 1), features, *repeated], dim=axis)
    count = (padded.shape[axis] - 3) // 2 + 1

    def every_second(start: int) -> Tensor:
        index = [slice(None)] * axis + [slice(start, start + 2 * count - 1, 2)]
        return padded[tuple(index)]

    return 0.5 * every_second(1) + 0.25 * (every_second(0) + every_second(2))


def _pools(module: nn.Module) -> bool:
    if not isinstance(module, (*_MAX, *_AVERAGE)) or getattr(module, "dilation", 1) not in (1, (1, 1)):
        return False
    return set(_tuple(module.stride)) != {1}


def _strides(module: nn.Module, traced: Trace) -> tuple[int, ...]:
    axes = len(traced.shapes[module]) - 2
    found = _tuple(module.stride)
    return found if len(found) == axes else found * axes


def _tuple(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (int(value),)


def _blur(module: Any, strides: tuple[int, ...]) -> None:
    module.stride = (1,) * len(strides)
    module.register_forward_hook(BlurHook(strides, ceil=bool(getattr(module, "ceil_mode", False))))


def _like(pool: Any, kinds: tuple[type[nn.Module], ...]) -> nn.Module:
    axes = [isinstance(pool, pair) for pair in zip(_MAX, _AVERAGE, strict=True)].index(True)
    settings = {"stride": pool.stride, "padding": pool.padding, "ceil_mode": pool.ceil_mode}
    if kinds is _AVERAGE:
        settings["count_include_pad"] = False
    return kinds[axes](pool.kernel_size, **settings)


def _replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    new.train(old.training)
    for parent in network.modules():
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)
