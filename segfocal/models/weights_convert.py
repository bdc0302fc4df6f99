"""Turn a weights file into safetensors; one that holds objects only for those who trust who made it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch

from segfocal.errors import SegfocalError
from segfocal.models.weights_read import named_tensors, read_tensors
from segfocal.models.weights_refuse import check_archive


def convert_trusted(path: str | Path, out: str | Path) -> Path:
    """Write the tensors of a pickle as safetensors, running whatever code the file holds.

    Args:
        path: A file of ``torch.save``: a whole module, or a mapping with objects among its values. Classes
            that it names must be importable.
        out: A new ``.safetensors`` file.

    Returns:
        ``out``. Names keep the keys they were nested in (``"model.encoder..."``); ``load_pretrained`` finds
        the prefix.

    Raises:
        SegfocalError: If ``out`` exists or is no ``.safetensors``, the file cannot be read, or it holds no
            tensors.
    """
    source, target = _checked(path, out)
    check_archive(source)
    tensors = named_tensors(_load_all(source))
    if not tensors:
        raise SegfocalError(f"Expected named tensors or a module in {source}, found none.")
    _write(tensors, target)
    return target


def convert_plain(path: str | Path, out: str | Path) -> Path:
    """Write the tensors of a file as safetensors, running nothing.

    Args:
        path: As for ``read_tensors``.
        out: A new ``.safetensors`` file.

    Returns:
        ``out``, with the names of ``read_tensors``.

    Raises:
        SegfocalError: As ``convert_trusted``, and for a file that holds code: with what it would run and the
            command that converts it nevertheless.
    """
    source, target = _checked(path, out)
    _write(read_tensors(source), target)
    return target


def _checked(path: str | Path, out: str | Path) -> tuple[Path, Path]:
    source, target = Path(path), Path(out)
    if not source.is_file():
        raise SegfocalError(f"Expected a weights file at {source}, found none. Give the path of a file.")
    if target.suffix != ".safetensors" or target.exists():
        found = "a file that is there already" if target.exists() else f"{target.name!r}"
        raise SegfocalError(
            f"out must be a new .safetensors file, got {target}, {found}. Choose another name."
        )
    return source, target


def _load_all(source: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the source of a class has changed since
            return torch.load(source, map_location="cpu", weights_only=False)
    except Exception as error:  # the code in the file may raise anything
        raise SegfocalError(
            f"Cannot read {source}: {type(error).__name__}: {error}. Where a module or a class is missing, "
            "install what defines it, or convert in the project that made the file."
        ) from error


def _write(tensors: dict[str, torch.Tensor], target: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    temporary = target.with_name(f".{target.name}.tmp")
    own = {name: value.clone().contiguous() for name, value in tensors.items()}  # no two may share memory
    try:
        save_file(own, temporary, metadata={"format": "pt"})
        os.replace(temporary, target)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        temporary.unlink(missing_ok=True)
        raise SegfocalError(f"Cannot write {target}: {error}. Choose another folder with --out.") from error
