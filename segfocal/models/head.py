"""The last layer: its width, and its bias set to the class prior."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.models.outputs import main_output
from segfocal.models.probe import probing
from segfocal.models.stride import other_channels, size_divisor

CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)


def head_width(
    network: nn.Module,
    *,
    in_channels: int,
    spatial_dims: int = 2,
    divisor: int | None = None,
    size: Sequence[int] | None = None,
) -> int:
    """Return the number of logit channels, measured by running the network on a small image of zeros.

    Args:
        network: Images ``(N, in_channels, *S)`` to logits ``(N, C, *S)``.
        in_channels: Channels of its images.
        spatial_dims: 2 or 3.
        divisor: Multiple of the input sizes, found by ``size_divisor`` where not given.
        size: Of the image, where the network does not take a small one.

    Returns:
        C.

    Raises:
        SegfocalError: If the network cannot be run with ``in_channels`` channels.

    Example:
        >>> head_width(nn.Conv2d(3, 5, 1), in_channels=3)
        5
    """
    images = small_input(network, in_channels, spatial_dims=spatial_dims, divisor=divisor, size=size)
    with probing(network):
        return main_output(network(images)).shape[1]


def find_head(
    network: nn.Module,
    *,
    in_channels: int,
    spatial_dims: int = 2,
    divisor: int | None = None,
    size: Sequence[int] | None = None,
) -> nn.Module:
    """Find the layer whose bias adds to the logits and to nothing else.

    Layers are tried in the reverse order of their execution: the first one as wide as the logits whose bias,
    raised by one, raises every logit by one.

    Args:
        network: As in ``head_width``.
        in_channels: As in ``head_width``.
        spatial_dims: As in ``head_width``.
        divisor: As in ``head_width``.
        size: As in ``head_width``.

    Returns:
        The convolution, transposed convolution or linear layer.

    Raises:
        SegfocalError: If there is none.

    Example:
        >>> find_head(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1)), in_channels=3)
        Conv2d(8, 2, kernel_size=(1, 1), stride=(1, 1))
    """
    images = small_input(network, in_channels, spatial_dims=spatial_dims, divisor=divisor, size=size)
    with probing(network):
        executed, logits = _trace(network, images)
        for layer in reversed(executed):
            bias = layer.bias
            if not isinstance(bias, Tensor) or len(bias) != logits.shape[1]:
                continue
            if _bias_adds_to_logits(network, images, bias, logits):
                return layer
    raise SegfocalError(
        f"Expected a last layer with {logits.shape[1]} outputs whose bias adds to the logits, found none "
        f"among {len(executed)} convolutions and linear layers of {type(network).__name__}. Give the last "
        f"layer a bias (bias=True), or turn the bias prior off."
    )


def set_head_bias(
    network: nn.Module,
    prior: Sequence[float] | Tensor,
    *,
    in_channels: int,
    spatial_dims: int = 2,
    divisor: int | None = None,
    size: Sequence[int] | None = None,
) -> None:
    """Set the bias of the last layer, so that a new head starts at the class frequencies.

    For new heads only: a trained head has learnt its bias. Source: Lin et al., Focal Loss for Dense Object
    Detection, 2017, section 3.3; the values come from ``segfocal.imbalance.bias_prior``.

    Args:
        network: Changed in place.
        prior: One bias per logit channel, in nats.
        in_channels: As in ``head_width``.
        spatial_dims: As in ``head_width``.
        divisor: As in ``head_width``.
        size: As in ``head_width``.

    Raises:
        SegfocalError: If ``prior`` is not finite or not as long as the logits are wide, or no such layer
            exists.

    Example:
        >>> network = nn.Conv2d(1, 1, 1)
        >>> set_head_bias(network, [-4.6], in_channels=1)
        >>> round(network.bias.item(), 2)
        -4.6
    """
    values = torch.as_tensor(prior, dtype=torch.float64).flatten()
    if not bool(torch.isfinite(values).all()):
        raise SegfocalError(
            f"The bias prior must be finite, got {values.tolist()}. A class without a single pixel has none: "
            f"give its frequency, or leave the class out."
        )
    layer = find_head(network, in_channels=in_channels, spatial_dims=spatial_dims, divisor=divisor, size=size)
    bias = layer.bias
    assert isinstance(bias, Tensor)
    if len(values) != len(bias):
        raise SegfocalError(
            f"The bias prior must have {len(bias)} values, one per logit channel, got {len(values)}."
        )
    with torch.no_grad():
        bias.copy_(values)


def small_input(
    network: nn.Module,
    in_channels: int,
    *,
    spatial_dims: int,
    divisor: int | None,
    size: Sequence[int] | None = None,
) -> Tensor:
    """Return an image of zeros that the network takes, a small one where it can be.

    Args:
        network: As in ``head_width``.
        in_channels: As in ``head_width``.
        spatial_dims: As in ``head_width``.
        divisor: As in ``head_width``.
        size: As in ``head_width``.

    Raises:
        SegfocalError: With the network's own complaint.
    """
    multiple = size_divisor(network, in_channels=in_channels, spatial_dims=spatial_dims, divisor=divisor)
    edge = multiple * max(1, -(-32 // multiple))
    # twice as long along one axis: instance norms refuse a single pixel at the bottom
    sizes = [(2 * edge, *[edge] * (spatial_dims - 1)), *([] if size is None else [tuple(size)])]
    with probing(network) as example:
        for tried in sizes:
            images = example.new_zeros(1, in_channels, *tried)
            try:
                network(images)
                return images
            except (RuntimeError, ValueError, AssertionError, IndexError) as error:
                complaint = error
        raise other_channels(str(complaint), in_channels) or SegfocalError(
            f"The network cannot be run on an image of shape {tuple(images.shape)}: {complaint}"
        ) from complaint


def _trace(network: nn.Module, images: Tensor) -> tuple[list[nn.Module], Tensor]:
    executed: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda layer, _inputs, _output: executed.append(layer))
        for module in network.modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    try:
        logits = main_output(network(images))
    finally:
        for hook in hooks:
            hook.remove()
    return executed, logits


def _bias_adds_to_logits(network: nn.Module, images: Tensor, bias: Tensor, logits: Tensor) -> bool:
    kept = bias.clone()
    try:
        bias.add_(1.0)
        raised = main_output(network(images))
    finally:
        bias.copy_(kept)
    return torch.allclose(raised - logits, torch.ones_like(logits), atol=1e-3)
