"""What a path holds: pictures with masks, a table of them, volumes, lanes or annotations."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group

from segfocal.data.fingerprint.coco import coco_doubts, doubt_lines, find_coco, look_at_coco
from segfocal.data.fingerprint.folders import look_at_folders
from segfocal.data.fingerprint.lanes import find_lanes, look_at_lanes
from segfocal.data.fingerprint.report import Report
from segfocal.data.fingerprint.tables import SUFFIXES, look_at_table
from segfocal.data.fingerprint.volume_folders import holds_volumes
from segfocal.data.fingerprint.volumes import look_at_volumes
from segfocal.data.reading import PLAIN, ReadRules
from segfocal.errors import SegfocalError


def look(
    root: Path,
    *,
    processes: int | None,
    images: str | None = None,
    masks: str | None = None,
    rules: ReadRules = PLAIN,
) -> Report:
    """Look at a data set.

    Args:
        root: Its folder, or the table that lists it.
        processes: Readers; None takes one per processor.
        images: Pattern of the paths below the root that are images, where names do not tell.
        masks: Pattern of the paths that are masks or label maps.
        rules: How pictures are read.

    Returns:
        Page and configuration.

    Raises:
        SegfocalError: Where there is nothing to learn from.
    """
    if root.is_file() and root.suffix.lower() in SUFFIXES:
        return look_at_table(root, processes=processes, rules=rules)
    if holds_volumes(root):
        return look_at_volumes(root, processes=processes, images=images, masks=masks)
    lanes = find_lanes(root) if root.is_dir() else None
    if lanes is not None:
        return look_at_lanes(lanes, processes=processes)
    coco = find_coco(root, masks=masks) if root.is_dir() else None
    if coco is not None:
        return look_at_coco(coco, processes=processes)
    doubts = coco_doubts(root, masks=masks) if root.is_dir() else {}
    try:
        report = look_at_folders(root, processes=processes, images=images, masks=masks, rules=rules)
    except SegfocalError as error:
        if not doubts:
            raise
        listed = "; ".join(f"{place}: {reason}" for place, reason in doubts.items())
        raise SegfocalError(f"annotations that cannot be used: {listed}. Without them: {error}") from error
    if not doubts:
        return report
    return Report(Group(report.page, *doubt_lines(doubts)), report.files, report.accounts)
