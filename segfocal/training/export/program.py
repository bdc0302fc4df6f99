"""From a module to torch's exported program: any number of images of any size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from segfocal.errors import SegfocalError

_NAMES = {2: ("height", "width"), 3: ("x", "y", "z")}
_BATCH = 2


def trace(graph: nn.Module, *, channels: int, sizes: Sequence[int], fixed: bool) -> ExportedProgram:
    """Export a module.

    Args:
        graph: Images ``(N, channels, *S)`` to maps of the same sizes; evaluation mode.
        channels: Of the images.
        sizes: Of the images that it is traced with, all different.
        fixed: Whether the file is for these sizes alone; the batch is free in any case.

    Returns:
        The program, without the addresses of source files, examples and assertions.

    Raises:
        SegfocalError: If torch cannot export it, with what torch says.
    """
    example = torch.zeros(_BATCH, channels, *sizes)
    free = {0: Dim("batch", min=1)}
    if not fixed:
        free |= {axis: Dim(name, min=1) for axis, name in enumerate(_NAMES[len(sizes)], start=2)}
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(
                graph, (example,), dynamic_shapes=(free,), prefer_deferred_runtime_asserts_over_guards=True
            )
    except Exception as error:  # torch raises what it likes here, its own and Python's errors
        raise _refusal(error, fixed=fixed) from error
    program.example_inputs = None
    _strip(program)
    return program


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
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


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
