"""Whether the data are still those that a study was planned on."""

from __future__ import annotations

from segfocal.errors import SegfocalError
from segfocal.study.folder import StudyFolder
from segfocal.study.sources import fingerprint


def check_data(folder: StudyFolder) -> None:
    """Raise where a data set differs from what it was when the study was planned.

    Args:
        folder: The study.

    Raises:
        SegfocalError: Naming the data set.
    """
    for data in folder.plan["data"]:
        found = fingerprint(data["section"], folds=data["folds"], name=data["name"])
        if found["sha256"] != data["sha256"]:
            root = ((data["section"] or {}).get("init_args") or {}).get("root")
            raise SegfocalError(
                f"data set {data['name']!r} changed since the study was planned: {root} had "
                f"{data['files']} files, {data['bytes']} bytes (sha256 {data['sha256'][:12]}), and has "
                f"{found['files']} files, {found['bytes']} bytes ({found['sha256'][:12]}). Restore it, or "
                "plan again into another folder."
            )
