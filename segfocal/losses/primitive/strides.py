"""How tensors lie in memory: which axes of space the kernels may see as one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Axes = tuple[tuple[int, tuple[int, ...]], ...]  # per axis of space: its length, the tensors' strides


class Shape(NamedTuple):
    """What a description needs to know of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def shape_of(tensor: Tensor | None) -> Shape | None:
    """Describe a tensor, if there is one."""
    return None if tensor is None else Shape(tensor.dtype, tuple(tensor.shape), tensor.stride())


def axes_of(shapes: Sequence[Shape], ndim: int) -> Axes:
    """Return the merged axes of tensors whose last axes are those of space; the first are the logits."""
    return merged(shapes[0].shape[2:], tuple(item.stride[len(item.stride) - ndim + 2 :] for item in shapes))


@functools.lru_cache(maxsize=1024)
def merged(space: tuple[int, ...], strides: tuple[tuple[int, ...], ...]) -> Axes:
    """Join the axes of space that lie in one run in all tensors.

    Args:
        space: Lengths of the axes.
        strides: Per tensor its strides along them.

    Returns:
        The axes left over, at least one.

    Example:
        >>> merged((4, 5), ((5, 1), (10, 2)))
        ((20, (1, 2)),)
    """
    axes: list[tuple[int, tuple[int, ...]]] = []
    for length, steps in zip(space, zip(*strides, strict=True), strict=True):
        if length == 1:
            continue
        if axes and all(outer == length * inner for outer, inner in zip(axes[-1][1], steps, strict=True)):
            axes[-1] = (axes[-1][0] * length, steps)
        else:
            axes.append((length, steps))
    return tuple(axes) or ((1, (1,) * len(strides)),)
