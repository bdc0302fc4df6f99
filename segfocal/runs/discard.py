"""Take back a run directory in which nothing was trained."""

from __future__ import annotations

import shutil
from contextlib import suppress

from segfocal.runs.layout import LOCK, RunPaths


def discard_untrained(paths: RunPaths) -> bool:
    """Remove what a new run wrote before its first step, so that the folder can be used again.

    Args:
        paths: The run directory's paths. Files that no run writes stay, and the folder with them.

    Returns:
        Whether it was removed; not where a checkpoint shows that something was trained.
    """
    if not forget_untrained(paths):
        return False
    (paths.root / LOCK).unlink(missing_ok=True)
    with suppress(OSError):  # not empty: it holds files of the user
        paths.root.rmdir()
    return True


def forget_untrained(paths: RunPaths) -> bool:
    """Remove what a run wrote before its first step, and leave the folder with its lock."""
    if any(paths.checkpoints.glob("*.ckpt")):
        return False
    for folder in (paths.boards, paths.checkpoints, paths.case_pictures):
        shutil.rmtree(folder, ignore_errors=True)
    for file in reversed(paths.files):  # run.json last: without it the folder would be nobody's
        with suppress(OSError):
            file.unlink()
    return True


def discard_empty(paths: RunPaths) -> None:
    """Remove a folder that holds nothing but the lock, which this process has."""
    with suppress(OSError):
        if [path.name for path in paths.root.iterdir()] == [LOCK]:
            discard_untrained(paths)
