"""Arrays that lie on disk because memory has no room for them."""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from segfocal.errors import SegfocalError

CHUNK_BYTES = 2**28
_ALIGNMENT = 64


class Spill:
    """Copies of arrays in files without a name, which the system removes when the process ends in any way.

    A crop of such an array reads its own pages alone. Processes forked from this one share what is there.

    Args:
        folder: Where the files lie; made if missing. It should not be one that is kept in memory itself.
        chunk_bytes: Size of a file; larger arrays get one of their own.
    """

    def __init__(self, folder: str | Path, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.folder, self.chunk_bytes = Path(folder), chunk_bytes
        self._lock = Lock()
        self._owner = os.getpid()
        self._chunk: mmap.mmap | None = None
        self._used = 0

    def __reduce__(self) -> tuple[type[Spill], tuple[Path]]:
        """A process that is started afresh spills by itself."""
        return Spill, (self.folder,)

    def keep(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a read-only copy of an array that takes no memory of its own.

        Args:
            array: Any shape and number type.

        Raises:
            SegfocalError: Where the disk has no room, or the folder cannot be written to.
        """
        if array.nbytes == 0:
            return array
        chunk, start = self._reserve(array.nbytes)
        kept = np.frombuffer(chunk, dtype=array.dtype, count=array.size, offset=start).reshape(array.shape)
        kept[...] = array
        kept.flags.writeable = False
        return kept

    def _reserve(self, size: int) -> tuple[mmap.mmap, int]:
        with self._lock:
            # what a process inherited is shared with its siblings, who would write to the same place
            inherited = self._owner != os.getpid()
            if inherited or self._chunk is None or self._used + size > len(self._chunk):
                self._chunk, self._used, self._owner = self._grow(max(size, self.chunk_bytes)), 0, os.getpid()
            start = self._used
            self._used += -(-size // _ALIGNMENT) * _ALIGNMENT
            return self._chunk, start

    def _grow(self, size: int) -> mmap.mmap:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # writing into a hole of a full disk would end the process without a word
                os.posix_fallocate(file.fileno(), 0, size)
                return mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise SegfocalError(
                f"cache_dir {self.folder} must take {size // 2**20} MiB more of decoded images, got: "
                f"{error.strerror or error}. Free some room, name another folder, or leave it out to decode "
                "them anew each time."
            ) from error
