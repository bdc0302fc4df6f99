"""The layers of a network in their order, from the image to the logits."""

from __future__ import annotations

from torch import nn

from segfocal.models.parts import blocks, body, trace


def layer_of_parameters(network: nn.Module) -> dict[str, int]:
    """Number the layers of a network and say in which of them each parameter is.

    A layer is a block of the encoder or of the decoder (see ``segfocal.models.parts.blocks``), and what lies
    before, between and behind them: the stem, the head. Layers are counted in the order in which the network
    registers its parameters, which in nearly all networks is the order from image to logits.

    Args:
        network: Images to logits.

    Returns:
        Parameter name to number of the layer, 0 next to the image; the head has the highest.

    Raises:
        SegfocalError: If the network has no convolution or cannot be run.

    Example:
        >>> layers = layer_of_parameters(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)))
        >>> layers
        {'0.weight': 0, '0.bias': 0, '2.weight': 1, '2.bias': 1}
    """
    traced, prefix = trace(network), body(network)[1]
    named = [name for where in ("encoder", "decoder") for name, _ in blocks(network, where, traced=traced)]
    numbers: dict[str, int] = {}
    last, number = "", -1
    for name, _ in network.named_parameters():
        block = next((block for block in named if name.startswith(f"{block}.")), None)
        block = block or prefix + name.removeprefix(prefix).split(".")[0]
        number += block != last
        last, numbers[name] = block, number
    return numbers
