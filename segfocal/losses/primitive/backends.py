"""The one place that decides which code computes the sums."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
from types import ModuleType

import torch
from torch import Tensor

from segfocal.errors import check_choice
from segfocal.losses import compiled, eager

BACKENDS = ("eager", "compiled", "triton")
VARIABLE = "SEGFOCAL_BACKEND"
OLDEST = (7, 0)  # compute capability that the kernels' compiler still serves

logger = logging.getLogger(__name__)


@functools.cache
def triton_here() -> bool:
    """Return whether the compiler of the CUDA kernels is installed."""
    return importlib.util.find_spec("triton") is not None


@functools.cache
def refusal(device: torch.device) -> str:
    """Say why the CUDA kernels do not serve a device, and log it once; empty where they do.

    On a CPU they run where TRITON_INTERPRET=1 makes Triton interpret them: far too slowly but for tests.
    """
    reason = find_refusal(device)
    if reason:
        logger.warning("segfocal computes its losses on %s without its CUDA kernels: %s", device, reason)
    return reason


def find_refusal(device: torch.device) -> str:
    """Look for what keeps the kernels from running: no Triton, no such device, too old a device or driver."""
    if not triton_here():
        return "triton is not installed."
    if device.type != "cuda":
        interpreted = device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
        return "" if interpreted else "they need a CUDA device."
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST:
        return f"they need compute capability {OLDEST}, the device has {capability}."
    try:
        importlib.import_module("segfocal.losses.triton").probe(device)
    except Exception as error:  # whatever the driver or the compiler raises
        lines = str(error).strip().splitlines()
        return f"a first kernel failed with {type(error).__name__}: {lines[-1] if lines else ''}"
    return ""


def backend_for(logits: Tensor) -> str:
    """Name the backend that ``pixel_sums`` uses for these logits.

    The rule: the environment variable SEGFOCAL_BACKEND where it is set; ``"triton"`` on CUDA; ``"compiled"``
    where ``compiled.suits`` says that its kernels pay and can be had; else ``"eager"``. Where ``"triton"``
    was chosen but cannot serve (``refusal``), the next of them does.

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
    return possible(forced or ("triton" if logits.is_cuda else None), logits)


@functools.cache
def cuda_kernels() -> ModuleType:
    """Import the CUDA kernels."""
    return importlib.import_module("segfocal.losses.triton")


def possible(name: str | None, logits: Tensor) -> str:
    """Return the backend asked for where it can serve, else the next one of the rule."""
    if name is not None and not (name == "triton" and refusal(logits.device)):
        return name
    return "compiled" if compiled.suits(logits) else "eager"


def backend_module(name: str | None, logits: Tensor) -> ModuleType:
    """Import the backend of this name, or the one that suits the logits where the name is None."""
    chosen = possible(name, logits) if name else backend_for(logits)
    if chosen == "triton":
        return cuda_kernels()
    return compiled if chosen == "compiled" else eager
