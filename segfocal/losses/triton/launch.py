"""Starting a kernel: through Triton once per kind of tensors, then what it built by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from segfocal.errors import SegfocalError

MOST_PROGRAMS = 2**31 - 1  # CUDA's limit of the first axis of a grid, the only one in use
Built = dict[tuple[Any, ...], Any]
ALIGNED = 16  # bytes; the compiler makes two kernels, for addresses that are multiples and for all others


def launch(
    kernel: Any,
    grid: int,
    warps: int,
    fixed: Mapping[str, Any],
    tensors: Mapping[str, Tensor | None],
    built: Built,
    device: torch.device,
) -> None:
    """Start a kernel on the device of its tensors, which need not be the current one.

    Args:
        kernel: Jitted function.
        grid: Number of programs.
        warps: Of a program.
        fixed: Arguments that are no tensors.
        tensors: The other arguments, in the same order for the same ``built``.
        built: What the compiler made so far of this kernel with these fixed arguments; is filled.
        device: Of the tensors.

    Raises:
        SegfocalError: More programs than CUDA can start.
    """
    if grid > MOST_PROGRAMS:
        raise SegfocalError(
            f"a CUDA kernel has at most {MOST_PROGRAMS} programs, got images and classes that need {grid}. "
            "Split the batch, or take a loss of the whole batch instead of one per image."
        )
    if device.type == "cuda" and device.index != torch.cuda.current_device():
        with torch.cuda.device(device):
            start(kernel, grid, warps, fixed, tensors, built)
    else:
        start(kernel, grid, warps, fixed, tensors, built)


def start(
    kernel: Any,
    grid: int,
    warps: int,
    fixed: Mapping[str, Any],
    tensors: Mapping[str, Tensor | None],
    built: Built,
) -> None:
    """Start a kernel on the current device."""
    key = tuple(kind_of(tensor) for tensor in tensors.values())
    ready = built.get(key)
    if ready is None:
        # named, because compilers disagree on its default
        options = {"num_warps": warps, "enable_fp_fusion": True}
        built[key] = kernel[(grid,)](**tensors, **fixed, **options)  # the interpreter builds nothing: None
    else:
        # Triton's own way sorts out types and compares all constants anew, which takes longer than to launch
        arguments = [tensors[name] if name in tensors else fixed[name] for name in kernel.arg_names]
        ready[grid, 1, 1](*arguments)


def kind_of(tensor: Tensor | None) -> tuple[Any, ...] | None:
    """Return what the compiler looks at in a tensor."""
    if tensor is None:
        return None
    return tensor.dtype, tensor.device.index, tensor.data_ptr() % ALIGNED == 0
