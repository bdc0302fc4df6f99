"""Whether the data are still those that a study was planned on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.runs.data_files import changed_files
from segfocal.study.folder import StudyFolder
from segfocal.study.sources import HASHED_KIB, file_hashes, fingerprint, former_sha256


def check_data(folder: StudyFolder) -> None:
    """Raise where a data set differs from what it was when the study was planned.

    Args:
        folder: The study.

    Raises:
        SegfocalError: Naming the data set.
    """
    for data in folder.plan["data"]:
        found = fingerprint(data["section"], folds=data["folds"], name=data["name"])
        if _is_former(data):
            continue
        if found["sha256"] != data["sha256"]:
            files = _changed(folder, data)
            root = ((data["section"] or {}).get("init_args") or {}).get("root")
            raise SegfocalError(
                f"data set {data['name']!r} changed since the study was planned: {root} had "
                f"{data['files']} files, {data['bytes']} bytes (sha256 {data['sha256'][:12]}), and has "
                f"{found['files']} files, {found['bytes']} bytes ({found['sha256'][:12]}){files}. Restore "
                "it, or plan again into another folder."
            )


def _is_former(data: Mapping[str, Any]) -> bool:
    """Return whether an earlier version planned on the same data, which it knew by 128 KiB of each file."""
    if "content" in data:
        return False
    if former_sha256(data["section"], folds=data["folds"], name=data["name"]) != data["sha256"]:
        return False
    sys.stderr.write(
        f"segfocal: data set {data['name']!r} was planned on by an earlier version: files are compared by "
        f"their first and last {HASHED_KIB} KiB\n"
    )
    return True


def _changed(folder: StudyFolder, data: Mapping[str, Any]) -> str:
    """Return the files that changed, in words with brackets; empty where they are not known."""
    hashes = file_hashes(data["section"], folds=data["folds"], name=data["name"])
    found = changed_files(folder.data_files(data["sha256"]), hashes)
    return f" ({found})" if found else ""
