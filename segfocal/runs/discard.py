"""Take back a run directory in which nothing was trained."""

from __future__ import annotations

import shutil
from contextlib import suppress

from segfocal.runs.layout import RunPaths


def discard_untrained(paths: RunPaths) -> bool:
    """Remove what a new run wrote before its first step, so that the folder can be used again.

    Args:
        paths: The run directory's paths. Files that no run writes stay, and the folder with them.

    Returns:
        Whether it was removed; not where a checkpoint shows that something was trained.
    """
    if any(paths.checkpoints.glob("*.ckpt")):
        return False
    for folder in (paths.boards, paths.checkpoints, paths.case_pictures):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (
        paths.metrics,
        paths.cases,
        paths.curves,
        paths.calibration,
        paths.config,
        paths.history,
        paths.data_files,
        paths.info,
    ):
        with suppress(OSError):
            file.unlink()
    with suppress(OSError):  # not empty: it holds files of the user
        paths.root.rmdir()
    return True
