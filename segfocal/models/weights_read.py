"""Read the tensors of a weights file, whatever wrote it; nothing in the file is executed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.models.weights_refuse import check_archive, refusal

# nesting of real files ends at three; a hostile one may hold a maze
_DEPTH = 6
_NUMBER_TYPES = {type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read every named tensor of a file onto the CPU.

    The content decides the format, not the file's name: safetensors, else what ``torch.save`` wrote, read
    with ``weights_only=True``. Numbers of numpy, which trainers keep in their logs, are let through.

    Args:
        path: A file.

    Returns:
        Names to tensors. The keys of nested mappings are joined by dots: ``{"state_dict": {"bias": ...}}``
        gives ``"state_dict.bias"``. Lists (the state of optimizers) are left out.

    Raises:
        SegfocalError: If the file cannot be opened, is damaged, a TorchScript archive, much larger than it
            looks, holds objects that would have to be executed, or no named tensors.
    """
    path = Path(path)
    if _is_safetensors(path):
        return _from_safetensors(path)
    check_archive(path)
    content = _load_plain(path)
    tensors = named_tensors(content)
    if not tensors:
        got = sorted(map(str, content))[:8] if isinstance(content, Mapping) else type(content).__name__
        raise SegfocalError(f"Expected a mapping of names to tensors in {path}, got {got}.")
    return tensors


def named_tensors(content: Any) -> dict[str, Tensor]:
    """Collect the tensors of nested mappings and modules.

    Args:
        content: What a file held.

    Returns:
        Names, joined by dots, to dense CPU tensors.

    Example:
        >>> list(named_tensors({"epoch": 3, "model": {"bias": torch.zeros(1)}}))
        ['model.bias']
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()

    def walk(value: Any, name: str, depth: int) -> None:
        if isinstance(value, nn.Module):
            value = value.state_dict()
        if isinstance(value, Tensor):
            if _is_plain(value):
                found[name] = value.detach()
        elif isinstance(value, Mapping) and depth < _DEPTH and id(value) not in seen:
            seen.add(id(value))
            for key, item in value.items():
                if isinstance(key, str):  # the parameters of optimizers are numbered
                    walk(item, f"{name}.{key}" if name else key, depth + 1)

    if not isinstance(content, Tensor):
        walk(content, "", 0)
    return found


def _is_plain(value: Tensor) -> bool:
    return value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized


def _is_safetensors(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            first = file.read(9)
    except OSError as error:
        raise SegfocalError(
            f"Cannot read {path}: {error.strerror}. Check the path and its rights."
        ) from error
    return path.suffix == ".safetensors" or first[8:] == b"{"  # a header of JSON after its length


def _from_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except Exception as error:  # its own type, and KeyError for number formats that torch does not know
        raise SegfocalError(
            f"Expected safetensors in {path}, found a damaged or incomplete file ({error}). Copy or download "
            "it again."
        ) from error


def _load_plain(path: Path) -> Any:
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    numbers = [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *_NUMBER_TYPES]
    try:
        with torch.serialization.safe_globals(numbers), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickles; what matters is raised
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes at random raise anything
        with torch.serialization.safe_globals(numbers):
            raise refusal(path, error) from error
