"""Building the CPU kernels: once per machine, with the C++ compiler that is there, kept in a cache folder."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "sums.cpp"
BASE = [
    "-std=c++17",
    "-O3",
    "-shared",
    "-fPIC",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
]
# each set is tried where the one before it does not compile
FLAGS = (
    ["-march=native", "-mprefer-vector-width=512", "-fopenmp"],
    ["-march=native", "-fopenmp"],
    ["-fopenmp"],
    ["-fopenmp-simd"],
)
VARIABLE = "SEGFOCAL_CACHE"
MARK = b"segfocal: sha256 of all before: "  # stands behind the last section, where the loader does not look
PARTS = "building-"

logger = logging.getLogger(__name__)


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load the kernels, building them where that has not been done yet; None, said once, where it cannot be.

    The folder is SEGFOCAL_CACHE, else XDG_CACHE_HOME/segfocal, else ~/.cache/segfocal.
    """
    name = compiler()
    if name is None:
        return None
    try:
        return load(find_or_build(name))
    except (OSError, RuntimeError) as error:  # full disk, no home, a compiler that fails or cannot be started
        logger.warning("segfocal computes its losses in plain torch, several times slower: %s", error)
        return None


def find_or_build(name: str) -> Path:
    """Return the built file, which may lie in a read-only folder that came with the machine."""
    file, damaged = f"kernels-{fingerprint(name)}.so", None
    for folder in (folder_asked_for, cache_folder):
        path = folder() / file
        if whole(path):
            return path
        damaged = path if os.path.exists(path) else damaged
    with alone(path.parent) as locked:
        if whole(path):  # another process built it meanwhile
            return path
        if damaged is not None:
            logger.warning("segfocal builds its kernels anew: %s is damaged", damaged)
        if locked:
            remove_parts(path.parent)
        build(name, path)
    return path


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Wait until no other process builds in the folder; where the system has no such locks, do not wait.

    The lock goes with its process, however that ends, and leaves no file. Tells whether it was had.
    """
    try:
        import fcntl

        place = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows
        yield False
        return
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            yield False
        else:
            yield True
    finally:
        os.close(place)


def remove_parts(folder: Path) -> None:
    """Remove what builders left that were killed; nobody else builds now."""
    for part in folder.glob(f"{PARTS}*"):
        shutil.rmtree(part, ignore_errors=True)


def signed(code: bytes) -> bytes:
    """Return the code with the hash of its content behind it."""
    return code + MARK + hashlib.sha256(code).hexdigest().encode()


def whole(path: Path) -> bool:
    """Return whether the file is as it was written: to map one that was cut or changed kills the process."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return content == signed(content[: content.rfind(MARK)])


def load(path: Path) -> ctypes.CDLL:
    """Load the file; one that cannot be loaded is removed, so that the next process builds it anew."""
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        with contextlib.suppress(OSError):  # a read-only folder
            path.unlink()
        raise


def compiler() -> str | None:
    """Find the C++ compiler: CXX, else what the platform calls it."""
    name = os.environ.get("CXX") or {"darwin": "clang++", "win32": "clang++"}.get(sys.platform, "g++")
    if shutil.which(next(iter(words_of(name)), "")):
        return name
    logger.warning(
        "segfocal computes its losses in plain torch, several times slower: no C++ compiler %s. "
        "Install one, or name it in the variable CXX.",
        name,
    )
    return None


def words_of(name: str) -> list[str]:
    """Cut the compiler's name into words, as it may come with arguments; a program's path is one word."""
    return [name] if shutil.which(name) else shlex.split(name)


def cache_folder() -> Path:
    """Return the folder of built kernels; a temporary one where it cannot be written to."""
    folder = folder_asked_for()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return temporary_folder()
    return folder if os.access(folder, os.W_OK) else temporary_folder()


def folder_asked_for() -> Path:
    """Return the folder that the variables name, absolute, as the loader looks elsewhere for a bare name."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = os.environ.get(VARIABLE) or os.path.join(home, "segfocal")
    return Path(os.path.abspath(os.path.expanduser(folder)))  # unlike Path's, never raises


def temporary_folder() -> Path:
    """Make a folder that goes when the process ends."""
    folder = tempfile.mkdtemp(prefix="segfocal-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def fingerprint(name: str) -> str:
    """Describe all that the built file depends on: sources, flags, compiler and kind of processor."""
    parts = [path.read_bytes() for path in sorted([*FOLDER.glob("*.h"), SOURCE])]
    program, *arguments = words_of(name)
    command = (shutil.which(program), *arguments, BASE, FLAGS)
    parts += [repr((command, platform.machine())).encode(), MARK, *processor()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def processor() -> Iterator[bytes]:
    """Name what the processor can do, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        lines = [platform.processor().encode()]
    yield from sorted({line for line in lines if line.startswith((b"flags", b"Features"))}) or lines[:1]


def build(name: str, path: Path) -> None:
    """Compile the kernels into a file, which is there whole or not at all.

    Raises:
        RuntimeError: The compiler failed; with what it said.
    """
    logger.info("segfocal builds its kernels, once on this machine: some seconds")
    complaints: list[str] = []
    with tempfile.TemporaryDirectory(prefix=PARTS, dir=path.parent) as folder:
        out = Path(folder) / path.name
        for flags in FLAGS:
            command = [*words_of(name), *BASE, *flags, str(SOURCE), "-o", str(out)]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode == 0:
                write(out.read_bytes(), out.with_suffix(".signed"))
                os.replace(out.with_suffix(".signed"), path)
                return
            complaints.append(f"{name} failed: {done.stderr.strip()[:500]}")
    raise RuntimeError(complaints[0])


def write(code: bytes, path: Path) -> None:
    """Write code and hash, down to the disk."""
    with path.open("wb") as file:
        file.write(signed(code))
        file.flush()
        os.fsync(file.fileno())
