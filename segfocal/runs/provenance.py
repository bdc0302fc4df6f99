"""Where a run comes from: package versions, git commit, hashes of files."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "torch",
    "pytorch-lightning",
    "jsonargparse",
    "segmentation-models-pytorch",
    "monai",
    "albumentations",
    "torchmetrics",
    "numpy",
    "scipy",
    "polars",
)


def file_sha256(path: str | Path) -> str:
    """Return the sha256 of a file, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_versions() -> dict[str, str]:
    """Return the versions of segfocal, its direct dependencies and Python, without importing them."""
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in ("segfocal", *_PACKAGES):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def git_state() -> tuple[str | None, bool | None]:
    """Return the commit of the project in the working directory and whether tracked files differ from it.

    Returns:
        ``(None, None)`` outside a repository or without git.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None, None
    return commit, bool(_git("status", "--porcelain", "--untracked-files=no"))


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(("git", *arguments), capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
