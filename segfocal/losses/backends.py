"""The one place that decides which code computes the sums."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from types import ModuleType

from torch import Tensor

from segfocal.errors import check_choice
from segfocal.losses import compiled, eager

BACKENDS = ("eager", "compiled", "triton")
VARIABLE = "SEGFOCAL_BACKEND"


@functools.cache
def triton_here() -> bool:
    """Return whether the CUDA kernels and the compiler they need are installed."""
    names = ("triton", "segfocal.losses.triton")
    return all(importlib.util.find_spec(name) is not None for name in names)


def backend_for(logits: Tensor) -> str:
    """Name the backend that ``pixel_sums`` uses for these logits.

    The rule: the environment variable SEGFOCAL_BACKEND where it is set; ``"triton"`` on CUDA where its
    kernels are installed; ``"compiled"`` where ``compiled.suits`` says that compiling pays and is possible;
    else ``"eager"``.

    Args:
        logits: Shape (N, C, *S).

    Returns:
        ``"eager"``, ``"compiled"`` or ``"triton"``.

    Raises:
        SegfocalError: The variable names no backend.

    Example:
        >>> import torch
        >>> backend_for(torch.zeros(1, 2, 4))
        'eager'
    """
    forced = os.environ.get(VARIABLE)
    if forced:
        check_choice(VARIABLE, forced, BACKENDS)
        return forced
    if logits.is_cuda and triton_here():
        return "triton"
    return "compiled" if compiled.suits(logits) else "eager"


def backend_module(name: str | None, logits: Tensor) -> ModuleType:
    """Import the backend of this name, or the one that suits the logits where the name is None."""
    chosen = name or backend_for(logits)
    if chosen == "triton":
        return importlib.import_module("segfocal.losses.triton")
    return compiled if chosen == "compiled" else eager
