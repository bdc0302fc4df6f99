"""Dropout inside a network that has none, without a new name among its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.models.changes import Change
from segfocal.models.parts import blocks, children_of, trace

PLACES = ("decoder", "encoder", "head")
KINDS = ("spatial", "element", "block")
_SPATIAL: dict[int, Callable[[Tensor, float], Tensor]] = {4: F.dropout2d, 5: F.dropout3d}
_POOL = {4: F.max_pool2d, 5: F.max_pool3d}


class Dropout(Change):
    """Drop features after each block of the encoder or the decoder, or in front of the last layer.

    Active in ``train()`` only, by the mode of the very block it follows; what is kept is scaled by
    ``1 / (1 - p)``. Logits are never dropped. With ``p=0`` the network stays the plain one, bit for bit.

    Args:
        p: Probability that a value is dropped, in [0, 1).
        where: ``"decoder"``, ``"encoder"`` (both after each block) or ``"head"`` (the input of the last
            layer).
        kind: ``"spatial"`` whole feature maps, ``"element"`` single values, ``"block"`` contiguous squares
            or cubes of each feature map.
        block_size: Their side in pixels of the feature map, cut to its size; ``kind="block"`` only.

    Raises:
        SegfocalError: For settings out of range.

    Source:
        Srivastava et al., 2014 (element); Tompson et al., 2015 (spatial); Ghiasi et al., DropBlock, 2018
        (block). Here blocks may stick out over the border and are scaled by ``1 / (1 - p)``, so that every
        value is dropped with probability p and the expectation is kept exactly; the paper keeps blocks
        inside and scales by the share that is left.

    Example:
        >>> from segfocal.models import SmallUNet
        >>> network = SmallUNet(1, 1, channels=(4, 8))
        >>> Dropout(0.1, where="decoder").apply(network)
        >>> sum(len(module._forward_hooks) for module in network.modules())
        1
    """

    def __init__(
        self,
        p: float,
        *,
        where: Literal["decoder", "encoder", "head"] = "decoder",
        kind: Literal["spatial", "element", "block"] = "spatial",
        block_size: int = 7,
    ) -> None:
        check_range("p", p, low=0.0, high=1.0, open_high=True)
        check_choice("where", where, PLACES)
        check_choice("kind", kind, KINDS)
        check_range("block_size", block_size, low=1)
        self.p, self.where, self.kind, self.block_size = p, where, kind, block_size

    def __repr__(self) -> str:
        size = f", block_size={self.block_size}" if self.kind == "block" else ""
        return f"Dropout({self.p}, where={self.where!r}, kind={self.kind!r}{size})"

    def apply(self, network: nn.Module) -> None:
        """Put it in.

        Args:
            network: Changed in place; its mode and weights stay.

        Raises:
            SegfocalError: If no block matches ``where``, or the blocks pass on no feature maps.
        """
        traced = trace(network)
        if self.where == "head":
            if traced.head is None:
                raise self._nothing(network)
            found = [("the last layer", traced.head)]
        else:
            found = blocks(network, self.where, traced=traced)
        if not found:
            raise self._nothing(network)
        for name, block in found:
            axes = len(traced.shapes[block])
            if self.kind != "element" and axes not in _SPATIAL:
                raise SegfocalError(
                    f"kind={self.kind!r} needs feature maps with 4 or 5 axes, but {name} "
                    f"({type(block).__name__}) passes on {axes}. Use kind='element'."
                )
        if self.p > 0:
            hook = DropHook(self.p, self.kind, self.block_size)
            for _, block in found:
                if self.where == "head":
                    block.register_forward_pre_hook(hook.before)
                else:
                    block.register_forward_hook(hook.after)

    def _nothing(self, network: nn.Module) -> SegfocalError:
        wanted = (
            "a last layer with a bias that adds to the logits"
            if self.where == "head"
            else f"blocks in a part named {self.where}"
        )
        return SegfocalError(
            f"Dropout with where={self.where!r} needs {wanted}, found none in {type(network).__name__}. Its "
            f"parts: {children_of(network)}. Choose another of {', '.join(PLACES)}."
        )


class DropHook:
    """The hook of a block; its bound methods are copied and pickled with the network.

    Args:
        p: As `Dropout`.
        kind: As `Dropout`.
        block_size: As `Dropout`.
    """

    def __init__(self, p: float, kind: str, block_size: int) -> None:
        self.p, self.kind, self.block_size = p, kind, block_size

    def after(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Drop from what a block returns."""
        return self._drop(output) if module.training else output

    def before(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Drop from what a layer is given."""
        return (self._drop(inputs[0]), *inputs[1:]) if module.training else inputs

    def _drop(self, features: Tensor) -> Tensor:
        if self.kind == "element":
            return F.dropout(features, self.p)
        if self.kind == "spatial":
            return _SPATIAL[features.ndim](features, self.p)
        return drop_blocks(features, self.p, block_size=self.block_size)


def drop_blocks(features: Tensor, p: float, *, block_size: int) -> Tensor:
    """Set contiguous blocks of each feature map to 0.

    Args:
        features: ``(N, C, *S)`` with two or three spatial axes.
        p: Probability that a value is dropped, in [0, 1).
        block_size: Side of a block in pixels, cut to the map's size.

    Returns:
        The same shape; what is kept is divided by ``1 - p``.

    Example:
        >>> bool(drop_blocks(torch.ones(1, 2, 4, 4), 0.5, block_size=4).unique().numel() <= 2)
        True
    """
    sides = [min(block_size, size) for size in features.shape[2:]]
    # each value is covered by as many possible blocks as a block has values; none may be there
    rate = 1.0 - (1.0 - p) ** (1.0 / torch.Size(sides).numel())
    grid = [size + side - 1 for size, side in zip(features.shape[2:], sides, strict=True)]
    holes = (torch.rand(*features.shape[:2], *grid, device=features.device) < rate).float()
    for axis, side in enumerate(sides):
        window = [side if axis == other else 1 for other in range(len(sides))]
        holes = _POOL[features.ndim](holes, window, stride=1)
    kept: Tensor = (1.0 - holes) / (1.0 - p)
    return features * kept.to(features.dtype)
