"""JSON files of data sets, and the paths that they name: one door for all that can be wrong with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError, said


def read_json(path: Path, *, remedy: str = "Export it again.") -> Any:
    """Return what a JSON file in UTF-8 holds; a byte order mark is passed over.

    Args:
        path: The file.
        remedy: A sentence for a damaged file.

    Raises:
        SegfocalError: Naming the file that is missing, no JSON, or nested too deeply.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise SegfocalError(f"{path} cannot be read: {error.strerror or error}.") from error
    return parse_json(text, where=str(path), remedy=remedy)


def parse_json(text: str | bytes, *, where: str, remedy: str = "Export it again.") -> Any:
    """Return what a text in JSON holds.

    Args:
        text: In UTF-8 where it is bytes.
        where: File and line, for messages.
        remedy: A sentence.

    Raises:
        SegfocalError: For what is no JSON or nested too deeply.
    """
    try:
        return json.loads(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except (ValueError, RecursionError, MemoryError) as error:
        raise SegfocalError(f"{where} is no JSON that can be read: {said(error)}. {remedy}") from error


def is_file(path: Path) -> bool:
    """Return whether there is a file; a name that no file can have (too long, half a character) has none.

    Args:
        path: Of any kind.
    """
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Return whether there is a file or folder, as `is_file`.

    Args:
        path: Of any kind.
    """
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def file_below(folder: Path, name: str) -> Path:
    """Return the absolute path that a file name of a data set means; backslashes part folders on Windows.

    Args:
        folder: What it lies below.
        name: With or without folders.
    """
    path = folder / name
    if "\\" in name and not is_file(path):
        path = folder / name.replace("\\", "/")
    return Path(os.path.abspath(path)) if os.path.isabs(name) else path
