"""What weights files are refused for, and what to do instead."""

from __future__ import annotations

import shlex
import zipfile
from pathlib import Path

import torch

from segfocal.errors import SegfocalError
from segfocal.models.weights_pickle import pickled_names

LARGEST_RATIO = 20
_NEEDS_CODE = (
    "Unsupported global",
    "unsupported GLOBAL",
    "Unsupported operand",
    "Unsupported class",
    "Can only",
)


def check_archive(path: Path) -> None:
    """Raise if a zip archive is a program, or unpacks to far more than it weighs.

    ``torch.save`` stores without compression: what is declared inside is a little less than the file. The
    limit is 20 times the file's size.

    Args:
        path: Any file; anything but a zip archive passes.

    Raises:
        SegfocalError: For a TorchScript archive, a zip bomb, a damaged archive, or one of something else.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise damaged(path, error) from error
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise SegfocalError(
            f"Expected weights in {path}, found a TorchScript archive, which is a program. Save its tensors "
            f"where you trust it: torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pt')."
        )
    if not any(entry.filename.endswith("data.pkl") for entry in entries):
        raise damaged(path, zipfile.BadZipFile("an archive without data.pkl"))
    declared, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if declared > LARGEST_RATIO * size:
        raise SegfocalError(
            f"{path} has {size} bytes but would unpack to {declared}, more than the limit of {LARGEST_RATIO} "
            "times its size: it was not unpacked. If it is no zip bomb, pack it again without compression "
            "(zip -0)."
        )


def refusal(path: Path, error: Exception) -> SegfocalError:
    """Return what to say about a file that cannot be read as plain tensors.

    Args:
        path: The file.
        error: What ``torch.load(weights_only=True)`` raised.

    Returns:
        An exception to raise, which names the objects that would have to be executed where that is why.
    """
    complaint = str(error)
    names = unsafe_names(path, complaint)
    if not names and not any(words in complaint for words in _NEEDS_CODE):
        return damaged(path, error)
    if names:
        found = f"found {', '.join(names)}: reading them would run code of whoever made the file, so"
    else:
        found = "found a pickle that cannot be read without running code, or a damaged one:"
    return SegfocalError(
        f"Expected tensors and plain values in {path}, {found} nothing was read. If you trust it: "
        f"{convert_command(path)}"
    )


def damaged(path: Path, error: Exception) -> SegfocalError:
    """Return what to say about a file that no format explains.

    Args:
        path: The file.
        error: The complaint of its reader.

    Returns:
        An exception to raise.
    """
    first = (str(error).strip().splitlines() or [""])[0][:200]
    return SegfocalError(
        f"Expected weights in {path} (safetensors, or a file of torch.save), found a damaged file or another "
        f"format ({type(error).__name__}: {first}). Copy or download it again."
    )


def convert_command(path: Path) -> str:
    """Return the command that converts a trusted file.

    Args:
        path: The file.

    Returns:
        A line for a shell.

    Example:
        >>> convert_command(Path("old net.pth"))
        "segfocal convert --trust 'old net.pth' --out 'old net.safetensors'"
    """
    out = path.with_suffix(".safetensors")
    return f"segfocal convert --trust {shlex.quote(str(path))} --out {shlex.quote(str(out))}"


def unsafe_names(path: Path, complaint: str) -> list[str]:
    """Return the objects of a pickle that would have to be executed, at most eight.

    Args:
        path: The file.
        complaint: What ``torch.load(weights_only=True)`` said.
    """
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # no zip archive, a damaged one, or a protocol that it does not follow
        names = []
    if not names and any(words in complaint for words in _NEEDS_CODE):
        names = pickled_names(path)
    return sorted(names)[:8]
