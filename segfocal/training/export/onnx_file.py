"""An exported program as an ONNX file."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from segfocal.errors import SegfocalError
from segfocal.training.export.program import axis_names, first_line, quiet

METADATA = "segfocal"
INPUT, OUTPUT = "images", "probabilities"
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_installed() -> None:
    """Raise where a package is missing that the format needs.

    Raises:
        SegfocalError: Naming it and what to install.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SegfocalError(f"--format onnx needs {', '.join(missing)}: pip install 'segfocal[onnx]'.")


def encode(program: ExportedProgram, *, metadata: str, axes: int, fixed: bool) -> bytes:
    """Return the content of the file.

    Args:
        program: From ``trace``.
        metadata: JSON, which becomes the model's property ``segfocal``.
        axes: Spatial axes of the images.
        fixed: Whether their sizes are.

    Returns:
        A model in one piece.

    Raises:
        SegfocalError: If torch cannot translate it, or it is larger than the 2 GiB that ONNX allows.
    """
    import onnx

    try:
        with quiet():
            made = torch.onnx.export(
                program, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
            )
        assert made is not None
        model = made.model_proto
        _describe(model, metadata=metadata, names=("batch", *(() if fixed else axis_names(axes))))
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString()
    except Exception as error:  # the exporter, its optimiser and protobuf raise their own kinds
        raise SegfocalError(
            f"torch.onnx cannot translate this network ({first_line(error)}). Try --size for networks that "
            "need one size, or --format torch."
        ) from error
    return content


def open_content(content: bytes) -> Callable[[Tensor], Tensor]:
    """Read the content of a file back into onnxruntime, on the CPU.

    Args:
        content: From ``encode``.

    Returns:
        Images ``(N, C, *S)`` to probabilities.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised; it would print them as well
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


def _describe(model: Any, *, metadata: str, names: tuple[str, ...]) -> None:
    """Name the free axes, add the metadata, and take out where the source files lie."""
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, metadata
    for value in (*model.graph.input, *model.graph.output):
        free = [axis for axis in value.type.tensor_type.shape.dim if not axis.HasField("dim_value")]
        for axis, name in zip(free, names, strict=True):
            axis.dim_param = name
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
