"""What to copy into each tensor of a network, and the first convolution for other image channels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError, check_choice
from segfocal.models.weights_match import fits

FIRST_CONV = ("sum", "cycle")
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Plan:
    """Every tensor of a network whose name the file knows, in one of three groups.

    Args:
        loaded: Values of the same shape, by the network's names.
        adapted: Values made from the file's for other image channels.
        reinitialised: Names whose shape differs, and what is in the same layer.
    """

    loaded: dict[str, Tensor]
    adapted: dict[str, Tensor]
    reinitialised: list[str]

    @property
    def values(self) -> dict[str, Tensor]:
        """What is to be copied, by the network's names."""
        return self.loaded | self.adapted


def plan_values(
    network: nn.Module,
    found: Mapping[str, Tensor],
    *,
    first_conv: str = "sum",
    in_channels: int | None = None,
    renew: Collection[str] = (),
) -> Plan:
    """Decide for each tensor that the file knows whether it is copied, adapted or left as it was built.

    Args:
        network: Not changed.
        found: The file's tensors by the network's names.
        first_conv: "sum" or "cycle", see ``adapt_channels``.
        in_channels: Channels of the images; None takes those of the network's first convolution.
        renew: Names that stay as they were built whatever the file holds.

    Returns:
        The plan. Where one tensor of a layer does not fit, none of that layer is copied: a trained bias
        means nothing to new weights.

    Raises:
        SegfocalError: If a value is no finite number.
    """
    own = tensors_of(network)
    adapted = {
        name: adapt_channels(found[name], own[name].shape[1], mode=first_conv)
        for name in _reading_images(network, own, found, in_channels)
        if name not in renew
    }
    others = {name: value for name, value in found.items() if name not in adapted}
    wrong = {name for name, value in others.items() if name in renew or not fits(own[name], value)}
    fresh = _unfit(network, wrong, others)
    loaded = {name: value for name, value in others.items() if name not in fresh}
    plan = Plan(loaded, adapted, fresh)
    _check_finite({name: value.to(own[name].dtype) for name, value in plan.values.items()})
    return plan


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers that a network would save.

    Args:
        network: Any network.

    Returns:
        Its state dict without what is no tensor.
    """
    return {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}


def adapt_channels(weight: Tensor, channels: int, *, mode: str = "sum") -> Tensor:
    """Give a convolution's weight another number of input channels.

    Args:
        weight: Shape ``(O, I, *K)``.
        channels: J, the channels wanted.
        mode: "sum": each channel gets the sum over the old ones divided by J, so that the response to a grey
            image (all channels equal) stays what it was. "cycle": the old channels in turn, times I / J;
            that keeps the response to a grey image where J is a multiple of I, else its size on average.

    Returns:
        Shape ``(O, J, *K)``, same dtype.

    Raises:
        SegfocalError: For another mode.

    Example:
        >>> adapt_channels(torch.tensor([[1.0, 2.0, 3.0]]), 2)
        tensor([[3., 3.]])
    """
    check_choice("first_conv", mode, FIRST_CONV)
    exact = weight.double()
    if mode == "sum":
        one = exact.sum(dim=1, keepdim=True) / channels
        new = one.expand(-1, channels, *weight.shape[2:])
    else:
        order = torch.arange(channels) % weight.shape[1]
        new = exact[:, order] * (weight.shape[1] / channels)
    return new.to(weight.dtype).contiguous()


def image_convolution(network: nn.Module) -> nn.Module | None:
    """Return the first convolution as registered; in nearly all networks it reads the image.

    Args:
        network: Any network.

    Returns:
        A convolution, or None where there is none.
    """
    return next((module for module in network.modules() if isinstance(module, _CONVOLUTIONS)), None)


def _reading_images(
    network: nn.Module, own: Mapping[str, Tensor], found: Mapping[str, Tensor], in_channels: int | None
) -> list[str]:
    """Names of convolution weights that read the image and differ from the file in its channels alone."""
    first = image_convolution(network)
    channels = in_channels if in_channels is not None else getattr(first, "in_channels", None)
    layers = dict(network.named_modules(remove_duplicate=False))
    names = [
        name
        for name in own
        if name in found
        and isinstance(layer := layers.get(_layer(name)), _CONVOLUTIONS)
        and layer.groups == 1
        and layer.in_channels == channels
        and _differ_in_channels(own[name], found[name])
    ]
    return [name for name in names if found[name].shape[1] == found[names[0]].shape[1]]


def _unfit(network: nn.Module, wrong: set[str], names: Iterable[str]) -> list[str]:
    """The names that do not fit, and what stands beside one in a layer without parts."""
    layers = dict(network.named_modules(remove_duplicate=False))
    broken = {
        _layer(name) for name in wrong if _layer(name) in layers and not any(layers[_layer(name)].children())
    }
    return [name for name in names if name in wrong or _layer(name) in broken]


def _differ_in_channels(own: Tensor, found: Tensor) -> bool:
    return (
        own.dim() == found.dim() >= 3
        and own.is_floating_point() == found.is_floating_point()
        and own.shape[1] != found.shape[1] > 0
        and own.shape[0] == found.shape[0]
        and own.shape[2:] == found.shape[2:]
    )


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _check_finite(values: Mapping[str, Tensor]) -> None:
    wrong = [name for name, value in values.items() if not bool(torch.isfinite(value).all())]
    if wrong:
        raise SegfocalError(
            f"Expected finite weights, found NaN or infinity in {len(wrong)} tensors, first "
            f"{', '.join(wrong[:4])}. That training diverged: take an earlier checkpoint."
        )
