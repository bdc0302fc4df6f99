"""How functions are compiled: once per set of choices and layout of the tensors, whatever their sizes."""

from __future__ import annotations

import functools
import logging
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from segfocal.losses import fastmath, planes
from segfocal.losses.curve import whole_gamma
from segfocal.losses.fields import Inputs

# one loop for all sums (the default splits them, computing everything twice), and fused multiply-add
CPU_OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {
    "cpp.max_horizontal_fusion_size": 512,
    "max_fusion_size": 2048,
    "cpp.enable_floating_point_contract_flag": "fast",
}

logger = logging.getLogger(__name__)


@functools.cache
def compiler_found(device: str) -> bool:
    """Return whether torch.compile can build code for this kind of device; says so once where it cannot."""
    if device == "cuda":
        return torch.utils._triton.has_triton()
    name = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    missing = [] if shutil.which(name) else [f"the C++ compiler {name}"]
    missing += [] if header.exists() else [f"the header {header}"]
    if device == "cpu" and missing:
        logger.warning(
            "segfocal computes its losses in plain torch, several times slower: no %s.", ", no ".join(missing)
        )
    return device == "cpu" and not missing


@functools.cache
def build(
    function: Callable[..., Any], device: str, power: int | None, _key: tuple[Any, ...], **static: Any
) -> Callable[..., Any]:
    """Compile a function for one set of choices and one layout of its tensors."""
    fast = device == "cpu"
    exp, log1p = (fastmath.exp, fastmath.log1p) if fast else (torch.exp, torch.log1p)
    functions = planes.Math(exp, log1p, power)

    def run(*arguments: Any) -> Any:
        return function(*arguments, **static, math=functions)

    # a code object of its own: torch.compile counts recompilations per code object and gives up at eight
    own = FunctionType(
        run.__code__.replace(co_name=f"segfocal_{function.__name__}"), globals(), closure=run.__closure__
    )
    return torch.compile(own, fullgraph=True, options=CPU_OPTIONS if fast else None)


def call(function: Callable[..., Any], inputs: Inputs, *arguments: Any, **static: Any) -> Any:
    """Run the compiled form of a function; arguments are tensors, None, or sequences of them."""
    key = (inputs.logits.shape[1], *map(shape_key, arguments))
    return build(function, inputs.logits.device.type, whole_gamma(inputs.curve), key, **static)(*arguments)


def shape_key(argument: Tensor | Sequence[Tensor | None] | None) -> Any:
    """Describe what a compiled function is specialised to; sizes of batch and space are left open."""
    if argument is None:
        return None
    if not isinstance(argument, Tensor):
        return tuple(map(shape_key, argument))
    ones = tuple(size == 1 for size in argument.shape)
    steps = tuple(stride == 1 for stride in argument.stride())
    return argument.dtype, ones, steps, argument.is_contiguous()


def opened(tensor: Tensor, space: int = 2) -> Tensor:
    """Tell the compiler that the sizes of batch and space vary."""
    alone = tensor.data  # no view: of a view the compiler would also fix the shape of its base
    for axis in (0, space):
        if axis < tensor.ndim and tensor.shape[axis] > 1:
            torch._dynamo.maybe_mark_dynamic(alone, axis)
    return alone
