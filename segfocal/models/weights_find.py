"""The one file that holds the weights of whatever path a user names; no configuration is evaluated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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
        SegfocalError: Where there is nothing at that path, no weights in the folder, several to choose
            from, or a checkpoint of a run that is no longer what its run.json records.

    Example:
        >>> find_weights("unet.pth")
        Traceback (most recent call last):
            ...
        segfocal.errors.SegfocalError: Expected a weights file or folder at unet.pth, found nothing. \
Nothing is downloaded: give the path of a file on this machine.
    """
    root = Path(path)
    if root.is_file():
        _check_unchanged(root)
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
    recorded = _entries(root).get(checkpoint, {}).get("file", f"{checkpoint}.ckpt")
    file = root / "checkpoints" / Path(str(recorded)).name
    if file.is_file():
        _check_unchanged(file)
        return file
    raise SegfocalError(
        f"Expected the {checkpoint} checkpoint of the run {root} at {file}, found no such file. "
        f"Its checkpoints: {_listed(_weights_in(root / 'checkpoints'))}."
    )


def _entries(run: Path) -> dict[str, dict[str, Any]]:
    """What run.json says of each checkpoint; nothing where it cannot be read."""
    try:
        known = json.loads((run / "run.json").read_text("utf-8"))["checkpoints"]
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return {}
    entries = known.items() if isinstance(known, dict) else ()
    return {which: entry for which, entry in entries if isinstance(entry, dict)}


def _check_unchanged(file: Path) -> None:
    """Raise where a checkpoint in a run is not what its run.json records: a flipped bit gives other weights.

    A kill between writing a file and recording it leaves one that another entry names.
    """
    run = file.resolve().parents[1]
    entries = _entries(run) if file.resolve().parent.name == "checkpoints" else {}
    own = [entry for entry in entries.values() if Path(str(entry.get("file"))).name == file.name]
    recorded = own[0].get("sha256") if own else None
    if not isinstance(recorded, str):
        return
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    either = [each for entry in entries.values() for each in (entry, entry.get("next"))]
    if found in [each.get("sha256") for each in either if isinstance(each, dict)]:
        return
    raise SegfocalError(
        f"{file} is damaged or was changed: its sha256 is {found[:12]}..., run.json records "
        f"{recorded[:12]}.... Restore it from a copy, or take another checkpoint of the run "
        "(finetune.checkpoint: last). To use it as it is, copy it out of the run and name the copy."
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
