"""Who works in a run directory: the kernel's lock, folders made once, and whether a run still runs."""

from __future__ import annotations

import errno
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, SoftFileLock, Timeout

from segfocal.errors import SegfocalError
from segfocal.runs.layout import LOCK, RunPaths
from segfocal.runs.write import disk_error, remove_leftovers

MARKER = ".lock.marker"  # stands in where a file system has no locks
PATIENCE_S = 1.0  # a look at a lock (`run_state`) holds it for an instant
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
_TRAINS = ("fit", "finetune")
# neither a pipe nor a link in the place of a lock may stop a reader
_LOOK = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
_held: dict[Path, bool] = {}  # folders of this process -> whether the kernel guards them

Word = Literal["running", "unchecked", "died", "ended"]


@dataclass(frozen=True)
class RunState:
    """Whether a run still runs.

    Args:
        word: "running" and "died" were checked by the lock; "unchecked" says running, but on a machine or
            file system whose locks are not seen here; "ended" it wrote itself.
        text: What to show.
    """

    word: Word
    text: str


def this_host() -> str:
    """Return the name of this machine as run.json and locks keep it."""
    return platform.node()


def make_first(candidates: Iterable[Path]) -> Path:
    """Make the first folder that does not exist yet; of several processes no two get the same.

    Args:
        candidates: In order; parents are made.

    Returns:
        The folder.

    Raises:
        SegfocalError: Where it cannot be made.
    """
    for path in candidates:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            return path
        except FileExistsError as error:
            if not path.is_dir():
                raise disk_error(error, path) from error
        except OSError as error:
            raise disk_error(error, path) from error
    raise AssertionError("the candidates ended")


@contextmanager
def hold(
    root: str | Path,
    *,
    verb: str,
    say: Callable[[str], object],
    take_over: bool = False,
    nested: bool = False,
) -> Iterator[None]:
    """Keep every other process out of a folder; the system gives a killed process's lock back.

    Processes forked inside the block (loaders) do not inherit it.

    Args:
        root: An existing folder: a run directory, or that of a search.
        verb: What is done there, for the others to read.
        say: Told what was found: files that a killed process left unfinished, a file system without locks.
        take_over: Whether a marker of another process is removed, where the file system has no locks.
        nested: Whether a caller in this process may hold it already.

    Raises:
        SegfocalError: Where another process holds it, with its host, number and time; where it cannot be
            made.
    """
    root = Path(root).resolve()
    if nested and root in _held:
        yield
        return
    lock = _acquire(root, say=say, take_over=take_over)
    _held[root] = isinstance(lock, FileLock)
    try:
        _sign(root / LOCK, verb)
        for path in remove_leftovers(root):
            say(f"removed {path}: a process that was killed left it unfinished")
        yield
    finally:
        del _held[root]
        lock.release()


def is_held(root: Path) -> bool | None:
    """Return whether a process holds a folder; reads only, and waits for nobody.

    Args:
        root: The folder.

    Returns:
        None where that cannot be seen: the file system has no locks, or the lock may not be read.
    """
    try:
        import fcntl  # not on Windows
    except ImportError:
        return None
    try:
        handle = os.open(root / LOCK, _LOOK)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(handle)


def check_free(root: Path) -> None:
    """Raise where another process holds a folder; nothing is made or waited for.

    Args:
        root: Any path.

    Raises:
        SegfocalError: Saying who holds it.
    """
    if root.resolve() not in _held and is_held(root):
        raise _in_use(root)


def check_not_running(run: RunPaths, info: Mapping[str, Any], *, take_over: bool) -> None:
    """Raise where a run is in progress as far as can be seen from a process that holds its lock.

    Args:
        run: The run directory's paths.
        info: Its run.json.
        take_over: What ``--take-over`` says.

    Raises:
        SegfocalError: Where it says running on another machine, or its file system has no locks.
    """
    if take_over or info.get("status") != "running":
        return
    if info.get("host") != this_host() or not _held.get(run.root.resolve(), False):
        raise SegfocalError(
            f"{run.root} is {_unchecked(run, info).text}. If that training is over, add --take-over; two "
            "trainings in one folder would mix their files."
        )


def run_state(run: RunPaths, info: Mapping[str, Any]) -> RunState:
    """Return whether a run still runs; reads only, and waits for nobody.

    Args:
        run: The run directory's paths.
        info: Its run.json.

    Returns:
        The state. A run that says "running" on this machine while no training holds its lock has died.
    """
    status = info.get("status")
    if status != "running":
        return RunState("ended", str(status))
    if info.get("host") != this_host():
        return _unchecked(run, info)
    held = is_held(run.root)
    if held is None:
        return _unchecked(run, info)
    if held and _holder(run.root / LOCK).get("verb") in (*_TRAINS, None):
        return RunState("running", "running")
    return RunState("died", "died")


def _acquire(root: Path, *, say: Callable[[str], object], take_over: bool) -> FileLock | SoftFileLock:
    path = root / LOCK
    lock = FileLock(path, fallback_to_soft=False, thread_local=False)
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout as error:
        raise _in_use(root) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise disk_error(error, path) from error
        return _mark(root, why=str(error.strerror), say=say, take_over=take_over)
    return lock


def _in_use(root: Path) -> SegfocalError:
    return SegfocalError(
        f"{root} is in use by {_described(_holder(root / LOCK))}. Wait for its end, or choose another folder."
    )


def _mark(root: Path, *, why: str, say: Callable[[str], object], take_over: bool) -> SoftFileLock:
    path = root / MARKER
    if take_over:
        path.unlink(missing_ok=True)
    lock = SoftFileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=PATIENCE_S)
    except Timeout as error:
        raise SegfocalError(
            f"{root} is in use by {_described(_holder(root / LOCK))}, as {path.name} says; its file system "
            "has no locks, so that this cannot be checked. If that process is over, add --take-over."
        ) from error
    say(f"{root}: its file system has no locks ({why}); {path.name} keeps other processes out in their place")
    return lock


def _sign(path: Path, verb: str) -> None:
    """Say in the lock file who holds it; a message of others is made of it, so nothing depends on it."""
    content = {"host": this_host(), "pid": os.getpid(), "since": _now(), "verb": verb}
    with suppress(OSError):
        path.write_text(json.dumps(content), "utf-8")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _holder(path: Path) -> dict[str, Any]:
    try:
        handle = os.open(path, _LOOK)
        try:
            content = json.loads(os.read(handle, 4096))
        finally:
            os.close(handle)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _described(holder: Mapping[str, Any]) -> str:
    known = {key: _plain(holder.get(key, "unknown")) for key in ("verb", "pid", "host", "since")}
    return f"`segfocal {known['verb']}`, process {known['pid']} on {known['host']} since {known['since']}"


def _plain(value: object) -> str:
    return "".join(letter for letter in str(value)[:80] if letter.isprintable())


def _unchecked(run: RunPaths, info: Mapping[str, Any]) -> RunState:
    host = _plain(info.get("host") or "an unknown machine")
    written = max((_written(path) for path in (run.info, run.metrics)), default=0.0)
    since = _ago(time.time() - written)
    return RunState("unchecked", f"running on {host}, last write {since} (cannot be checked from here)")


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _ago(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> _ago(190.0), _ago(2.0), _ago(7300.0), _ago(200_000.0)
        ('3 min ago', '2 s ago', '2 h ago', '2 days ago')
    """
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s ago"
    if whole < 3600:
        return f"{whole // 60} min ago"
    return f"{whole // 3600} h ago" if whole < 172_800 else f"{whole // 86_400} days ago"
