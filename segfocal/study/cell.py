"""The program of one cell: take its lock, do its work, write how it ended."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.runs.write import write_json
from segfocal.study.folder import CellPaths, StudyFolder
from segfocal.study.locks import acquire

BUSY, INTERRUPTED = 75, 130
PATIENCE_S = 1.0
_PR_SET_PDEATHSIG = 1

Work = Callable[[StudyFolder, dict[str, Any]], dict[str, Any] | None]


def main(argv: Sequence[str] | None = None, *, work: Work | None = None) -> int:
    """Run one cell.

    Args:
        argv: The study folder, the name of the cell, and the id of the process it must not outlive.
        work: What to do; None trains and tests. It returns what goes into cell.json, None when a signal
            asked it to stop.

    Returns:
        0 done (now or before), 1 failed, 75 another process has the cell, 130 stopped by a signal.
    """
    root, name, parent = sys.argv[1:4] if argv is None else argv
    _die_with(int(parent))
    folder = StudyFolder(Path(root))
    paths = folder.paths(name)
    handle = acquire(paths.lock, patience_s=PATIENCE_S)
    if handle is None:
        return BUSY
    if paths.state() in ("done", "failed"):
        return 0 if paths.state() == "done" else 1
    attempts = _count_attempt(handle)
    start = time.monotonic()
    fields: dict[str, Any] = {"status": "failed", "reason": None, "overrides": None}
    try:
        done = (_train if work is None else work)(folder, folder.cells[name])
        if done is None:
            return INTERRUPTED
        fields |= {"status": "done", **done}
    except KeyboardInterrupt:
        return INTERRUPTED
    except (Exception, SystemExit) as error:
        fields["reason"] = _reason(error, paths)
    write_json(paths.outcome, fields | {"seconds": time.monotonic() - start, "attempts": attempts})
    return 0 if fields["status"] == "done" else 1


def _train(folder: StudyFolder, cell: dict[str, Any]) -> dict[str, Any] | None:
    from segfocal.study.training import train_cell

    return train_cell(folder, cell)


def _count_attempt(handle: int) -> int:
    """Count in the lock file, which nobody else may write now; a killed attempt leaves its count."""
    try:
        attempts = int(json.loads(os.pread(handle, 4096, 0) or b"{}").get("attempts", 0)) + 1
    except (ValueError, AttributeError):
        attempts = 1
    content = {"attempts": attempts, "pid": os.getpid(), "host": os.uname().nodename, "started": time.time()}
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(content).encode(), 0)
    return attempts


def _reason(error: BaseException, paths: CellPaths) -> str:
    if isinstance(error, SegfocalError):
        sys.stderr.write(f"segfocal: error: {error}\n")
    else:
        traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    return paths.last_lines() or f"{type(error).__name__}: {error}"


def _die_with(parent: int) -> None:
    """Ask Linux to kill this process with its parent: an orphan would hold the cell for hours.

    Elsewhere an orphan goes on and keeps its lock; the next runner sees that and waits for it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
