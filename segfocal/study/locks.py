"""Locks of the operating system: whoever holds one lives, since a killed process gives it back."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from segfocal.errors import SegfocalError

_STEP_S = 0.05
_handles: set[int] = set()


def _close_in_child() -> None:
    """A loader that outlives its killed parent must not keep the lock."""
    while _handles:
        with suppress(OSError):
            os.close(_handles.pop())


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_close_in_child)


def acquire(path: Path, *, patience_s: float = 0.0) -> int | None:
    """Take a lock and keep it until the process ends or `release` is called.

    Args:
        path: Of the lock file; it and its folder are made.
        patience_s: How long to try: a look at a lock (`is_locked`) holds it for an instant.

    Returns:
        A handle, or None where another process has it.

    Raises:
        SegfocalError: Where the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    end = time.monotonic() + patience_s
    while not _flock(handle, path):
        if time.monotonic() >= end:
            os.close(handle)
            return None
        time.sleep(_STEP_S)
    _handles.add(handle)
    return handle


def release(handle: int) -> None:
    """Give a lock back.

    Args:
        handle: Of `acquire`.
    """
    _handles.discard(handle)
    os.close(handle)


def is_locked(path: Path) -> bool:
    """Return whether a living process holds a lock.

    Args:
        path: Of the lock file; where there is none, nobody does.

    Raises:
        SegfocalError: Where the file system has no locks.
    """
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _flock(handle, path)
    finally:
        os.close(handle)


def _flock(handle: int, path: Path) -> bool:
    try:
        import fcntl
    except ImportError as error:
        raise SegfocalError("a study needs the locks of Linux or macOS, which this system lacks.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise SegfocalError(
            f"{path} cannot be locked ({error.strerror}). Put the study on a file system with locks; NFS has "
            "them from version 4."
        ) from error
    return True
