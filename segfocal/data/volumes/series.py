"""Which folders are DICOM series, and which of their files are slices: by endings and first bytes."""

from __future__ import annotations

from pathlib import Path

ENDINGS = (".dcm", ".dicom", ".ima")
MAGIC = slice(128, 132)  # of a DICOM file, after a preamble of any content


def series_files(folder: Path) -> tuple[Path, ...]:
    """Return the DICOM files that lie directly in a folder, by name; reads the first bytes of each.

    Args:
        folder: Where to look; its DICOMDIR and hidden files are passed over.
    """
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name != "DICOMDIR")
    return tuple(path for path in files if not path.name.startswith(".") and _is_dicom(path))


def files_at(path: Path) -> tuple[Path, ...]:
    """Return a file, or of a folder the DICOM files in it.

    Args:
        path: Of an image.
    """
    return series_files(path) if path.is_dir() else (path,)


def find_series(folder: Path) -> list[Path]:
    """Return a folder and the folders below it, at any depth, that hold DICOM files, by name.

    Args:
        folder: Where to begin.
    """
    below = sorted(path for path in folder.rglob("*") if path.is_dir())
    return [path for path in (folder, *below) if series_files(path)]


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in ENDINGS:
        return True
    with path.open("rb") as file:
        return file.read(MAGIC.stop)[MAGIC] == b"DICM"
