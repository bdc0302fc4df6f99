"""Which blocks of a network belong to its encoder, its decoder and its head."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.models.head import CONVOLUTIONS, find_head
from segfocal.models.outputs import main_output
from segfocal.models.probe import probing
from segfocal.models.stride import size_divisor

# how children of a network are called that smp, MONAI, torchvision and this package make
_PREFIXES = {"encoder": ("encoder", "backbone", "down"), "decoder": ("decoder", "up")}
Named = tuple[str, nn.Module]


@dataclass(frozen=True, eq=False)
class Trace:
    """What happened when a network was run once on a small image of zeros.

    Args:
        shapes: Output shape of every module that was called and returned one tensor.
        logits: Shape of the logits.
        head: The last layer; None where none adds to the logits alone.
    """

    shapes: dict[nn.Module, torch.Size]
    logits: torch.Size
    head: nn.Module | None


def trace(network: nn.Module) -> Trace:
    """Run a network once and note which of its modules were called.

    Args:
        network: Images ``(N, Cin, *S)`` to logits ``(N, C, *S)``; Cin is what its first convolution takes.

    Returns:
        The trace.

    Raises:
        SegfocalError: If it has no convolution or cannot be run.

    Example:
        >>> layer = nn.Conv2d(3, 2, 1)
        >>> trace(nn.Sequential(layer, nn.ReLU())).shapes[layer]
        torch.Size([1, 2, 64, 64])
    """
    first = next((module for module in network.modules() if isinstance(module, CONVOLUTIONS[:3])), None)
    if first is None:
        raise SegfocalError(f"Expected a network with convolutions, got {type(network).__name__}.")
    channels, axes = int(first.in_channels), first.weight.ndim - 2
    divisor = size_divisor(network, in_channels=channels, spatial_dims=axes)
    shapes: dict[nn.Module, torch.Size] = {}

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            shapes[module] = output.shape

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    size = [divisor * max(1, -(-(64 if axes < 3 else 32) // divisor))] * axes
    try:
        with probing(network) as example:
            logits = main_output(network(example.new_zeros(1, channels, *size))).shape
    except RuntimeError as error:
        raise SegfocalError(
            f"{type(network).__name__} cannot be run on an image of size {tuple(size)}, which is how its "
            f"parts are found: {error}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(shapes, logits, _head(network, channels, axes, divisor))


def blocks(network: nn.Module, where: str, *, traced: Trace) -> list[Named]:
    """Find the blocks of an encoder or a decoder that are called one by one.

    A block holds at least one convolution; bare convolutions count only where there is no such block. What
    makes the logits is no block.

    Args:
        network: A network of this package, smp, or MONAI; others whose children are named alike.
        where: "encoder" or "decoder".
        traced: Its trace.

    Returns:
        Dotted names and modules, empty where nothing matches.
    """
    inner, prefix = body(network)
    found = [
        named
        for name, part in _parts(inner, where)
        for named in _called(f"{prefix}{name}", part, traced, expand=name == _PREFIXES[where][0])
        if traced.head is None or all(module is not traced.head for module in named[1].modules())
    ]
    return [named for named in found if not isinstance(named[1], CONVOLUTIONS)] or found


def children_of(network: nn.Module) -> str:
    """Return the parts of a network in words, for messages."""
    inner, prefix = body(network)
    listed = [f"{prefix}{name} ({type(child).__name__})" for name, child in inner.named_children()]
    return ", ".join(listed) or f"none in {type(network).__name__}"


def _head(network: nn.Module, channels: int, axes: int, divisor: int) -> nn.Module | None:
    try:
        return find_head(network, in_channels=channels, spatial_dims=axes, divisor=divisor)
    except (SegfocalError, RuntimeError):
        return None


def body(network: nn.Module) -> tuple[nn.Module, str]:
    """Go into wrappers that hold one network and nothing else.

    Args:
        network: Any.

    Returns:
        The innermost network, and what its parts' names begin with in the outer one.

    Example:
        >>> inner, prefix = body(nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())))
        >>> len(inner), prefix
        (2, '0.')
    """
    prefix = ""
    while not list(network.parameters(recurse=False)):
        children = list(network.named_children())
        if len(children) != 1:
            break
        prefix += f"{children[0][0]}."
        network = children[0][1]
    return network, prefix


def _parts(inner: nn.Module, where: str) -> Iterator[Named]:
    nested = list(_skip_connections(inner))
    if nested:
        yield from ((name, part) for name, part, place in nested if place == where)
        return
    for name, child in inner.named_children():
        if name.startswith(_PREFIXES[where]):
            yield name, child


def _skip_connections(network: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Walk MONAI's U-Net, whose levels lie inside one another: (down, SkipConnection(deeper), up)."""
    layers = sys.modules.get("monai.networks.layers.simplelayers")
    if layers is None:
        return
    for name, level in network.named_modules():
        children = list(level.named_children())
        if len(children) == 3 and isinstance(children[1][1], layers.SkipConnection):
            deeper = children[1][1].submodule
            start = f"{name}." if name else ""
            yield f"{start}{children[0][0]}", children[0][1], "encoder"
            yield f"{start}{children[2][0]}", children[2][1], "decoder"
            if not any(isinstance(part, layers.SkipConnection) for part in deeper.children()):
                yield f"{start}{children[1][0]}.submodule", deeper, "encoder"


def _called(name: str, module: nn.Module, traced: Trace, *, expand: bool) -> Iterator[Named]:
    """Yield the outermost blocks that were called, going into what was not."""
    bare = isinstance(module, CONVOLUTIONS)
    if module in traced.shapes and not expand:
        if bare or any(isinstance(part, CONVOLUTIONS) for part in module.modules()):
            yield name, module
        return
    for child_name, child in module.named_children():
        yield from _called(f"{name}.{child_name}", child, traced, expand=False)
