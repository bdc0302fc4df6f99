"""An exported program as a file for ``torch.export.load``."""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from torch import Tensor
from torch.export import ExportedProgram

from segfocal.training.export.program import quiet

METADATA = "segfocal.json"


def encode(program: ExportedProgram, *, metadata: str) -> bytes:
    """Return the content of the file.

    Args:
        program: From ``trace``.
        metadata: JSON; ``torch.export.load`` gives it through ``extra_files={"segfocal.json": ""}``.

    Returns:
        A ``.pt2`` archive.
    """
    buffer = io.BytesIO()
    with quiet():
        torch.export.save(program, buffer, extra_files={METADATA: metadata})
    return buffer.getvalue()


def open_content(content: bytes) -> Callable[[Tensor], Tensor]:
    """Read the content of a file back.

    Args:
        content: From ``encode``.

    Returns:
        Images ``(N, C, *S)`` to probabilities.
    """
    with quiet():
        module = torch.export.load(io.BytesIO(content)).module()

    def run(images: Tensor) -> Tensor:
        found: Tensor = module(images)
        return found

    return run
