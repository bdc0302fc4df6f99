"""Building the CPU kernels: once per machine, with the C++ compiler that is there, kept in a cache folder."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
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

logger = logging.getLogger(__name__)


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load the kernels, building them where that has not been done yet; None, said once, where it cannot be.

    The folder is SEGFOCAL_CACHE, else XDG_CACHE_HOME/segfocal, else ~/.cache/segfocal.
    """
    name = compiler()
    if name is None:
        return None
    path = cache_folder() / f"kernels-{fingerprint(name)}.so"
    failure = "" if path.exists() else build(name, path)
    if not failure:
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            failure = str(error)
            path.unlink(missing_ok=True)  # another run may succeed
    logger.warning("segfocal computes its losses in plain torch, several times slower: %s", failure)
    return None


def compiler() -> str | None:
    """Find the C++ compiler: CXX, else what the platform calls it."""
    name = os.environ.get("CXX") or {"darwin": "clang++", "win32": "clang++"}.get(sys.platform, "g++")
    if shutil.which(name):
        return name
    logger.warning(
        "segfocal computes its losses in plain torch, several times slower: no C++ compiler %s. "
        "Install one, or name it in the variable CXX.",
        name,
    )
    return None


def cache_folder() -> Path:
    """Return the folder of built kernels; a temporary one where it cannot be written to."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    folder = Path(os.environ.get(VARIABLE) or home / "segfocal")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="segfocal-"))
    return folder if os.access(folder, os.W_OK) else Path(tempfile.mkdtemp(prefix="segfocal-"))


def fingerprint(name: str) -> str:
    """Describe all that the built file depends on: sources, flags, compiler and kind of processor."""
    parts = [path.read_bytes() for path in sorted([*FOLDER.glob("*.h"), SOURCE])]
    parts += [repr((BASE, FLAGS, shutil.which(name), platform.machine())).encode(), *processor()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def processor() -> Iterator[bytes]:
    """Name what the processor can do, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
    except OSError:
        lines = [platform.processor().encode()]
    yield from {line for line in lines if line.startswith((b"flags", b"Features"))} or lines[:1]


def build(name: str, path: Path) -> str:
    """Compile the kernels into a file; return what the compiler complained about, empty on success."""
    logger.info("segfocal builds its kernels, once on this machine: a few seconds")
    complaint = ""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        out = Path(folder) / path.name
        for flags in FLAGS:
            command = [name, *BASE, *flags, str(SOURCE), "-o", str(out)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                os.replace(out, path)
                return ""
            complaint = complaint or f"{name} failed: {done.stderr.strip()[:500]}"
    return complaint
