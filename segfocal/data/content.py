"""Hashes of what files hold, remembered between commands for files that have not changed since."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import xxhash

from segfocal.errors import SegfocalError

MOST = 500_000  # files that are remembered, the last used ones
_NAME = "contents.sqlite"
_SETTLED_NS = 3_000_000_000  # a file that changed less long ago may change again within one tick of its clock
_BLOCK = 1 << 20  # bytes that are read at once
_TOGETHER = 64  # files of one task of a thread
_ASKED = 500  # of rows in one question
_WAIT_S = 5.0  # for another process that writes
_DAY_S, _FRESH_DAYS = 86_400, 7
_TABLE = (
    "CREATE TABLE IF NOT EXISTS contents "
    "(path TEXT PRIMARY KEY, stamp TEXT NOT NULL, hash BLOB NOT NULL, "
    "proof INTEGER NOT NULL, day INTEGER NOT NULL)"
)


def content_hashes(files: Iterable[Path]) -> dict[Path, bytes]:
    """Return a hash of the content of each file.

    What is known of a file counts as long as its size, device and inode, and the times of its last changes of
    content and of status, are the same; the second of these cannot be set back. The memory lies in the
    folder of the variable SEGFOCAL_CACHE, else in ``~/.cache/segfocal``; where it cannot be written or is
    damaged, files are read again.

    Args:
        files: Existing files, in any order.

    Returns:
        16 bytes (XXH3) for each.

    Raises:
        SegfocalError: Naming a file that cannot be read.
    """
    stamps = {path: _stamp(path) for path in dict.fromkeys(files)}
    with _memory() as memory:
        known = _recall(memory, stamps)
        fresh = _read([path for path in stamps if path not in known])
        _keep(memory, {path: (stamps[path], found) for path, found in fresh.items()})
    return known | fresh


def readable(place: str) -> str:
    """Return a path that every encoding can write, with escapes for bytes that are no text.

    Args:
        place: A path.

    Example:
        >>> readable("a/b.png")
        'a/b.png'
    """
    return os.fsencode(place).decode("utf-8", "backslashreplace")


def content_hash(path: Path) -> bytes:
    """Return a hash of the content of a file, which is read.

    Args:
        path: An existing file.

    Raises:
        SegfocalError: Where it cannot be read.
    """
    whole = xxhash.xxh3_128()
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                whole.update(block)
    except OSError as error:
        raise _unread(path, error) from error
    return whole.digest()


def _read(files: Sequence[Path]) -> dict[Path, bytes]:
    if len(files) <= _TOGETHER:
        return {path: content_hash(path) for path in files}
    parts = [files[place : place + _TOGETHER] for place in range(0, len(files), _TOGETHER)]
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        found = pool.map(lambda part: [(path, content_hash(path)) for path in part], parts)
        return {path: own for pairs in found for path, own in pairs}


def _stamp(path: Path) -> str:
    """Return what changes whenever a file does, without reading it."""
    try:
        found = path.stat()
    except OSError as error:
        raise _unread(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise SegfocalError(f"{path} must be a file, got a folder or a device. Remove it from the data.")
    times = f"{found.st_mtime_ns} {found.st_ctime_ns}"
    return f"{found.st_size} {times} {found.st_dev} {found.st_ino}"


def _unread(path: Path, error: OSError) -> SegfocalError:
    return SegfocalError(f"{path}: cannot be read ({error.strerror or error}). Restore the file.")


def _file() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = os.environ.get("SEGFOCAL_CACHE") or os.path.join(base, "segfocal")
    return Path(os.path.abspath(os.path.expanduser(folder))) / _NAME


@contextlib.contextmanager
def _memory() -> Iterator[sqlite3.Connection | None]:
    """Open the memory; None where there can be none. Damage removes it: it is only a memory."""
    path, connection = _file(), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute(_TABLE)
    except (sqlite3.Error, OSError) as error:
        _forget(connection, error)
        connection = None
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()


def _forget(connection: sqlite3.Connection | None, error: Exception) -> None:
    """Close a memory that cannot be used, and remove a damaged one."""
    if connection is not None:
        connection.close()
    # locked, read-only or on a full disk it is only not used
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        for path in (_file(), _file().with_name(f"{_NAME}-journal")):
            with contextlib.suppress(OSError):
                path.unlink()


def _recall(memory: sqlite3.Connection | None, stamps: Mapping[Path, str]) -> dict[Path, bytes]:
    if memory is None:
        return {}
    found, today, old = {}, int(time.time() // _DAY_S), []
    places = {os.path.abspath(path): path for path in stamps}
    try:
        for place, stamp, known, proof, day in _rows(memory, list(places)):
            path = places[place]
            if stamps[path] != stamp or proof != _proof(place, stamp, known):
                continue
            found[path] = bytes(known)
            if day < today - _FRESH_DAYS:
                old.append((today, place))
        if old:
            with memory:
                memory.executemany("UPDATE contents SET day = ? WHERE path = ?", old)
    except (sqlite3.Error, TypeError, KeyError, UnicodeError) as error:
        _forget(None, error)
    return found


def _rows(memory: sqlite3.Connection, places: Sequence[str]) -> Iterator[tuple[str, str, bytes, int, int]]:
    for begin in range(0, len(places), _ASKED):
        part = places[begin : begin + _ASKED]
        marks = ", ".join("?" * len(part))
        yield from memory.execute(f"SELECT * FROM contents WHERE path IN ({marks})", part)


def _keep(memory: sqlite3.Connection | None, fresh: Mapping[Path, tuple[str, bytes]]) -> None:
    """Remember hashes of files that did not change while they were read, and may not have since."""
    if memory is None or not fresh:
        return
    now, today, rows = time.time_ns(), int(time.time() // _DAY_S), []
    for path, (stamp, found) in fresh.items():
        changed = max(int(word) for word in stamp.split()[1:3])
        if now - changed > _SETTLED_NS and _stamp(path) == stamp:
            place = os.path.abspath(path)
            rows.append((place, stamp, found, _proof(place, stamp, found), today))
    try:
        memory.execute("BEGIN IMMEDIATE")
        memory.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?)", rows)
        memory.execute(
            "DELETE FROM contents WHERE rowid IN "
            "(SELECT rowid FROM contents ORDER BY day DESC, rowid DESC LIMIT -1 OFFSET ?)",
            (MOST,),
        )
        memory.execute("COMMIT")
    except (sqlite3.Error, UnicodeError) as error:
        _forget(None, error)


def _proof(place: str, stamp: str, found: bytes) -> int:
    """Return a number that a row with a damaged hash does not have."""
    return int(xxhash.xxh32_intdigest(f"{place}\0{stamp}\0".encode("utf-8", "surrogatepass") + found))
