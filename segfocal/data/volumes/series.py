"""Which folders are DICOM series, and which of their files are slices: by endings and first bytes."""

from __future__ import annotations

from pathlib import Path

from segfocal.data.volumes.layout import VolumeFiles

ENDINGS = (".dcm", ".dicom", ".ima")
MAGIC = slice(128, 132)  # of a DICOM file, after a preamble of any content


def series_files(folder: Path) -> tuple[Path, ...]:
    """Return the DICOM files that lie directly in a folder, by name; reads the first bytes of each.

    Args:
        folder: Where to look; its DICOMDIR and hidden files are passed over.
    """
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and path.name != "DICOMDIR")
    return tuple(path for path in files if not path.name.startswith(".") and _is_dicom(path))


def image_files(case: VolumeFiles) -> tuple[Path, ...]:
    """Return the files of a case's image, of DICOM series those of their slices.

    Args:
        case: What dataset.json names.
    """
    files = (series_files(path) if path.is_dir() else (path,) for path in case.images)
    return tuple(file for part in files for file in part)


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
