"""Write files whole or not at all: a temporary name in the same folder, fsync, rename."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from segfocal.errors import SegfocalError

if TYPE_CHECKING:
    import polars as pl

_LEFTOVER = re.compile(r"\.(best\.ckpt|last\.ckpt|.+\.\d+-[0-9a-f]{8})\.tmp")
_LITTLE = 2**20  # bytes
_REMEDIES = {
    errno.ENOSPC: "The disk {disk} is full: free some space or choose another folder with {option}.",
    errno.EDQUOT: "Your quota of the disk {disk} is used up: free some space or choose another folder with "
    "{option}.",
    errno.EFBIG: "The file is past the size limit: raise `ulimit -f` or choose another folder with {option}.",
    errno.EROFS: "The file system is read-only: choose another folder with {option}.",
    errno.EACCES: "You may not write there: choose another folder with {option} or change its permissions.",
    errno.EPERM: "You may not write there: choose another folder with {option} or change its permissions.",
    errno.EEXIST: "A part of that path is a file: choose another folder with {option}.",
    errno.ENOTDIR: "A part of that path is a file: choose another folder with {option}.",
}


def disk_error(error: OSError, path: str | Path, *, option: str = "--run") -> SegfocalError:
    """Return the error that names a path which could not be written, the cause and the remedy.

    Args:
        error: What the operating system said.
        path: The file or folder that was to be written.
        option: Of the command line, which named the place.

    Returns:
        An exception to raise.

    Example:
        >>> print(disk_error(OSError(28, "No space left on device"), "/proc/x"))
        cannot write /proc/x: No space left on device. The disk /proc is full: free some space or choose another folder with --run.
    """  # noqa: E501
    remedy = _REMEDIES.get(error.errno or 0, "Choose another folder with {option}.")
    words = remedy.format(option=option, disk=mount_point(path))
    return SegfocalError(f"cannot write {path}: {error.strerror or error}. {words}")


def mount_point(path: str | Path) -> Path:
    """Return where the disk of a path is mounted.

    Args:
        path: A file or folder, which need not exist.

    Example:
        >>> mount_point("/proc/no/such/file").as_posix()
        '/proc'
    """
    place = Path(path).absolute()
    while not place.exists():
        place = place.parent
    place = place.resolve()
    return next((each for each in (place, *place.parents) if os.path.ismount(each)), place)


def full_disk(error: OSError) -> SegfocalError:
    """Return what to say of a write that failed outside of our own writers, for lack of space.

    Args:
        error: With or without the name of a file.

    Returns:
        The error of that file; without a name, one that names those disks that are full.
    """
    if error.filename is not None:
        return disk_error(error, os.fsdecode(error.filename))
    places = {mount_point(place) for place in (Path.cwd(), tempfile.gettempdir(), "/dev/shm")}
    full = sorted(str(place) for place in places if shutil.disk_usage(place).free < _LITTLE)
    named = ", ".join(full) or f"none of {', '.join(sorted(map(str, places)))}, whose quota may be used up"
    return SegfocalError(
        f"{error.strerror}. Full: {named}. Free some space there, or set TMPDIR to another disk."
    )


def make_folder(path: str | Path, *, option: str = "--run") -> None:
    """Make a folder and its parents unless they are there.

    Args:
        path: The folder.
        option: Named in messages.

    Raises:
        SegfocalError: Where it cannot be made or is a file.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, path, option=option) from error


def write_bytes(path: str | Path, data: bytes, *, option: str = "--run") -> None:
    """Replace a file by ``data``, so that a crash leaves the old file or the new one.

    Args:
        path: The file; missing parent folders are made.
        data: Its whole content.
        option: Of the command line, which named the place.

    Raises:
        SegfocalError: Where it cannot be written; the old file is untouched then.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_synced(temporary, data)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path, option=option) from error


def is_leftover(name: str) -> bool:
    """Return whether a file name is one under which our writers begin.

    Example:
        >>> is_leftover(".run.json.4711-0a1b2c3d.tmp"), is_leftover("notes.tmp")
        (True, False)
    """
    return _LEFTOVER.fullmatch(name) is not None


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what a killed process left of files that it was writing.

    Args:
        folder: A run directory in which nobody else writes.

    Returns:
        What was removed: files of the names that ``write_bytes`` and checkpoints are written under.
    """
    found = [path for path in sorted(folder.rglob(".*.tmp")) if is_leftover(path.name)]
    removed = [path for path in found if path.is_file() and not path.is_symlink()]
    for path in removed:
        path.unlink(missing_ok=True)
    return removed


def write_text(path: str | Path, text: str) -> None:
    """Replace a file by UTF-8 text; as ``write_bytes``."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Replace a file by JSON, indented, non-finite numbers as null; otherwise as ``write_bytes``.

    Args:
        path: The file.
        value: dicts with string keys, lists, tuples, strings, numbers, None, numpy numbers and arrays, paths.

    Raises:
        SegfocalError: Where a value has no JSON form, or the file cannot be written.
    """
    write_text(path, json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_parquet(path: str | Path, frame: pl.DataFrame) -> None:
    """Replace a file by a Parquet table (zstd); as ``write_bytes``."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder while a file in it is read, changed and written back.

    Args:
        folder: An existing folder; other processes and threads that ask for the same lock wait.
            Where the platform or the file system has no ``flock`` there is one writer only, and no lock.
    """
    try:
        import fcntl  # not on Windows
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write_synced(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_file(path: str | Path) -> None:
    """Wait until a file's content is on the disk.

    Args:
        path: The file.

    Raises:
        OSError: Where the disk is full or fails.
    """
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_synced(temporary: Path, path: Path) -> None:
    """Put a file that is on the disk in another's place, and wait until that is on the disk too.

    Args:
        temporary: The new file, in the same folder.
        path: Its place.

    Raises:
        OSError: Where that cannot be done; the old file stays.
    """
    os.replace(temporary, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable where folders can be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    raise SegfocalError(
        f"JSON holds numbers, strings, lists and dicts, got {type(value).__name__}: {value!r}. "
        "Convert it first."
    )
