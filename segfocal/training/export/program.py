"""From a module to torch's exported program: any number of images of any size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._dynamo.exc import UserError
from torch.export import Dim, ExportedProgram

from segfocal.errors import SegfocalError

_NAMES = {2: ("height", "width"), 3: ("x", "y", "z")}
_BATCH = 2


@dataclass(frozen=True, eq=False)
class Traced:
    """A network as torch exports it.

    Args:
        program: Without the addresses of source files, examples and assertions.
        least: The smallest side of an image that it takes, in pixels.
    """

    program: ExportedProgram
    least: int


def trace(graph: nn.Module, *, channels: int, sizes: Sequence[int], divisor: int, fixed: bool) -> Traced:
    """Export a module.

    Some networks take another way where an image is a single multiple of their stride, pooled to one pixel;
    they are exported for larger images.

    Args:
        graph: Images ``(N, channels, *S)`` to maps of the same sizes; evaluation mode.
        channels: Of the images.
        sizes: Of the images that it is traced with, all different.
        divisor: Multiple of the sizes that the network takes.
        fixed: Whether the file is for these sizes alone; the batch is free in any case.

    Returns:
        The program, and how small images may be.

    Raises:
        SegfocalError: If torch cannot export it, with what torch says.
    """
    example = torch.zeros(_BATCH, channels, *sizes)
    try:
        with quiet(), torch.no_grad():
            if fixed:
                traced = Traced(_export(graph, example, ()), 1)
            else:
                traced = _trace_any_size(graph, example, divisor=divisor)
    except Exception as error:  # torch raises what it likes here, its own and Python's errors
        raise _refusal(error, fixed=fixed) from error
    traced.program.example_inputs = None
    _strip(traced.program)
    return traced


def _trace_any_size(graph: nn.Module, example: Tensor, *, divisor: int) -> Traced:
    names = _NAMES[example.ndim - 2]
    try:
        return Traced(_export(graph, example, [Dim(name, min=1) for name in names]), 1)
    except UserError:  # "not all values of height satisfy ..."; anything else would come again
        least = divisor + 1
        return Traced(_export(graph, example, [Dim(name, min=least) for name in names]), least)


def _export(graph: nn.Module, example: Tensor, free: Sequence[Dim]) -> ExportedProgram:
    axes = {0: Dim("batch", min=1), **dict(enumerate(free, start=2))}
    return torch.export.export(
        graph, (example,), dynamic_shapes=(axes,), prefer_deferred_runtime_asserts_over_guards=True
    )


def axis_names(axes: int) -> tuple[str, ...]:
    """Return the names of the spatial axes, of 2 or 3."""
    return _NAMES[axes]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's notes about its own steps out of the output.

    Yields:
        Nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def first_line(error: Exception) -> str:
    """Return the first line with words of what an exception says, and its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    said = lines[0].removesuffix(' For more information, run with TORCH_LOGS="+dynamic".')
    return f"{type(error).__name__}: {said[:300]}"


def _strip(program: ExportedProgram) -> None:
    """Take out what is true of the traced sizes, and what tells of this machine.

    The tracer asserts that no size is among those for which it would have drawn another graph, such as a
    side of exactly one multiple, though both graphs compute the same. What holds is seen by running the file.
    """
    for node in list(program.graph.nodes):
        node.meta.pop("stack_trace", None)
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()


def _refusal(error: Exception, *, fixed: bool) -> SegfocalError:
    remedy = (
        "Another network can be exported, e.g. segfocal.models.SmallUNet."
        if fixed
        else "Networks that need one size are exported for it by --size, e.g. that of the training patches."
    )
    return SegfocalError(f"torch.export cannot export this network ({first_line(error)}). {remedy}")
