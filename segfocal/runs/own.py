"""Which runs this user trained on this machine: hashes of their configurations, kept outside of them."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

_FOLDER_MODE = 0o700


def state_folder() -> Path:
    """Return where what belongs to this user and machine is kept.

    ``SEGFOCAL_STATE``, else ``XDG_STATE_HOME/segfocal``, else ``~/.local/state/segfocal``.
    """
    if own := os.environ.get("SEGFOCAL_STATE"):
        return Path(own)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "segfocal"


def remember(config: Path) -> None:
    """Note that a configuration was written by a training here.

    The note is an empty file named by the hash of the content, so that a moved or copied run is known and an
    edited one is not. Where it cannot be written, one line says what that means.

    Args:
        config: A run's config.yaml.
    """
    try:
        marker = _marker(config)
        marker.parent.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
        marker.touch(mode=0o600)
    except (OSError, RuntimeError) as error:  # no home, a full or read-only disk
        sys.stderr.write(
            f"segfocal: {config} could not be noted as trained here ({error}): if it names classes of your "
            "own, later commands on this run need --trust\n"
        )


def is_own(config: Path) -> bool:
    """Return whether a configuration is, byte for byte, one that a training here wrote.

    Args:
        config: A run's config.yaml.
    """
    try:
        return _marker(config).is_file()
    except (OSError, RuntimeError):
        return False


def _marker(config: Path) -> Path:
    digest = hashlib.sha256(config.read_bytes()).hexdigest()
    return state_folder() / "trained" / digest[:2] / digest[2:]
