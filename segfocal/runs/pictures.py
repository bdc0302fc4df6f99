"""Names of the pictures in ``cases/`` of a run: one rule for those who write them and those who look."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from segfocal.runs.layout import RunPaths
from segfocal.runs.write import write_json

_LONGEST = 100  # bytes; with kind, class and ending a name stays below the 255 of common file systems


def case_stem(name: str, *, slice_index: int | None = None) -> str:
    """Return what the file names of a case begin with.

    Args:
        name: Of the image, any text.
        slice_index: Number of a volume's axial slice, from below; None for an image.

    Returns:
        A single path component. A name that needed a change gets digits of its hash, so that no two cases
        share a file.

    Example:
        >>> case_stem("IDRiD_55"), case_stem("heart", slice_index=7)
        ('IDRiD_55', 'heart@007')
        >>> case_stem("../a")
        '_a-61b4c98b'
    """
    stem = _safe(name, keep="-_. ()+")
    return stem if slice_index is None else f"{stem}@{slice_index:03d}"


def class_part(name: str) -> str:
    """Return a class's name as a part of a file name: spaces become underscores, anything else is hashed.

    Example:
        >>> class_part("lane marking")
        'lane_marking'
    """
    return _safe(name.replace(" ", "_"), keep="-_")


def case_picture(paths: RunPaths, stage: str, stem: str, kind: str) -> Path:
    """Return where one picture of a case lies.

    Args:
        paths: The run directory's paths.
        stage: "val" or "test".
        stem: Of ``case_stem``.
        kind: "image", "reference", "prediction" or "probability", in multilabel the middle two and always the
            last with ``.<class_part>``.

    Returns:
        A path that need not exist.

    Example:
        >>> case_picture(RunPaths("r"), "test", "a", "image").as_posix()
        'r/cases/test/a.image.png'
    """
    return paths.case_pictures / stage / f"{stem}.{kind}.png"


@dataclass(frozen=True)
class Pictured:
    """Which weights the pictures of a stage show, and of which cases.

    Args:
        checkpoint: First 12 digits of its sha256; None while they are being written.
        stems: Of ``case_stem``.
    """

    checkpoint: str | None
    stems: frozenset[str]


def write_pictured(paths: RunPaths, stage: str, *, checkpoint: str | None, stems: Collection[str]) -> None:
    """Record which weights the pictures of a stage show; with None before the first of them is written.

    Args:
        paths: The run directory's paths.
        stage: "val" or "test".
        checkpoint: sha256 of the checkpoint, of which 12 digits are kept.
        stems: Of ``case_stem``, of all cases with pictures.

    Raises:
        SegfocalError: Where the file cannot be written.
    """
    kept = None if checkpoint is None else checkpoint[:12]
    write_json(_pictured_file(paths, stage), {"checkpoint": kept, "cases": sorted(stems)})


def read_pictured(paths: RunPaths, stage: str) -> Pictured | None:
    """Return which weights the pictures of a stage show.

    Args:
        paths: The run directory's paths.
        stage: "val" or "test".

    Returns:
        None where nothing says so, as in runs of older versions; a damaged record shows nothing.
    """
    path = _pictured_file(paths, stage)
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        checkpoint, stems = found["checkpoint"], frozenset(map(str, found["cases"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Pictured(None, frozenset())
    return Pictured(checkpoint if isinstance(checkpoint, str) else None, stems)


def _pictured_file(paths: RunPaths, stage: str) -> Path:
    return paths.case_pictures / stage / "pictured.json"


def _safe(name: str, *, keep: str) -> str:
    plain = "".join(letter if letter.isalnum() or letter in keep else "_" for letter in name)
    plain = plain.lstrip(".") or "_"
    short = plain.encode()[:_LONGEST].decode("utf-8", "ignore")
    return (
        short
        if short == name
        else f"{short}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"
    )
