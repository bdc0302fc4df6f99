"""Where prepared volumes are kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segfocal.errors import check_choice

Cache = Literal["none", "memory", "disk"]
CACHES: tuple[Cache, ...] = ("none", "memory", "disk")


@dataclass(frozen=True)
class CachePlan:
    """Where prepared volumes are kept, so that they are read and resampled once.

    Args:
        kind: ``"memory"``, ``"disk"`` or ``"none"``.
        mib: Memory for them, in MiB; the rest goes to ``folder``, or is read anew where that is null.
        folder: On disk; null with ``"disk"``: ``volumes`` below ``$SEGFOCAL_CACHE``, or ~/.cache/segfocal.
    """

    kind: Cache = "memory"
    mib: float = 1024.0
    folder: str | None = None

    def __post_init__(self) -> None:
        check_choice("cache", self.kind, CACHES)

    def place(self) -> Path | None:
        """Return the folder of the volumes that are not in memory."""
        if self.kind == "none":
            return None
        if self.folder is None and self.kind == "disk":
            return Path(os.environ.get("SEGFOCAL_CACHE", Path.home() / ".cache" / "segfocal")) / "volumes"
        return None if self.folder is None else Path(self.folder)
