"""data_files.json: what each file of the data held when a run or a study began, so that changes are named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from segfocal.runs.write import write_json

_MOST = 3  # files that a message names


def write_data_files(path: Path, hashes: Mapping[str, str]) -> None:
    """Write the hash of each file.

    Args:
        path: To be written.
        hashes: File to the hash of its content.
    """
    write_json(path, dict(hashes))


def changed_files(path: Path, hashes: Mapping[str, str]) -> str:
    """Return which files are no longer what they were, in words; empty where that cannot be told.

    Args:
        path: What `write_data_files` wrote; it may be missing or damaged.
        hashes: File to hash, as of now.

    Example:
        >>> changed_files(Path("no such file"), {"a.png": "00"})
        ''
    """
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    if not isinstance(known, dict) or not known.keys() & hashes.keys():
        return ""  # damaged, or the data lie elsewhere
    kinds = {
        "changed": [name for name in known if name in hashes and known[name] != hashes[name]],
        "missing": [name for name in known if name not in hashes],
        "new": [name for name in hashes if name not in known],
    }
    return "; ".join(
        f"{len(names)} {kind}: {', '.join(sorted(names)[:_MOST])}{', ...' if len(names) > _MOST else ''}"
        for kind, names in kinds.items()
        if names
    )
