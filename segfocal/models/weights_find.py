"""The one file that holds the weights of whatever path a user names; no configuration is evaluated."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from segfocal.errors import SegfocalError

SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_HUB_NAMES = ("model.safetensors", "pytorch_model.bin")
_BUNDLE_NAMES = ("model.safetensors", "model.pt", "model.pth")


def find_weights(path: str | Path, *, checkpoint: str = "best") -> Path:
    """Find the weights file that a path stands for.

    Args:
        path: A file; a run directory of segfocal; a directory that smp, timm or another library wrote with
            ``save_pretrained``; a MONAI bundle (``models/model.pt``); or a folder with one weights file.
        checkpoint: "best" or "last": which one of a run directory.

    Returns:
        An existing file.

    Raises:
        SegfocalError: Where there is nothing at that path, no weights in the folder, or several to choose
            from.

    Example:
        >>> find_weights("unet.pth")
        Traceback (most recent call last):
            ...
        segfocal.errors.SegfocalError: Expected a weights file or folder at unet.pth, found nothing. \
Nothing is downloaded: give the path of a file on this machine.
    """
    root = Path(path)
    if root.is_file():
        return root
    if not root.is_dir():
        found = "something that is neither" if root.exists() else "nothing"
        raise SegfocalError(
            f"Expected a weights file or folder at {path}, found {found}. Nothing is downloaded: give the "
            "path of a file on this machine."
        )
    if (root / "run.json").is_file():
        return _of_run(root, checkpoint)
    if (root / "models").is_dir():
        return _named_or_only(root / "models", _BUNDLE_NAMES)
    return _named_or_only(root, _HUB_NAMES)


def _of_run(root: Path, checkpoint: str) -> Path:
    if checkpoint not in ("best", "last"):
        raise SegfocalError(f"checkpoint must be 'best' or 'last', got {checkpoint!r}.")
    try:
        recorded = json.loads((root / "run.json").read_text("utf-8"))["checkpoints"][checkpoint]["file"]
    except (KeyError, TypeError, ValueError):
        recorded = f"{checkpoint}.ckpt"
    file = root / "checkpoints" / Path(str(recorded)).name
    if file.is_file():
        return file
    raise SegfocalError(
        f"Expected the {checkpoint} checkpoint of the run {root} at {file}, found no such file. "
        f"Its checkpoints: {_listed(_weights_in(root / 'checkpoints'))}."
    )


def _named_or_only(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    found = _weights_in(folder)
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)}: {_listed(found)}" if found else f"none among {_listed(_all(folder))}"
    raise SegfocalError(
        f"Expected one weights file ({', '.join(SUFFIXES)}) in {folder}, found {problem}. Give the path of "
        "the file itself."
    )


def _weights_in(folder: Path) -> list[Path]:
    return [path for path in _all(folder) if path.suffix in SUFFIXES and path.is_file()]


def _all(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _listed(paths: list[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:8]) or "nothing"
    return f"{shown} and {len(paths) - 8} more" if len(paths) > 8 else shown
