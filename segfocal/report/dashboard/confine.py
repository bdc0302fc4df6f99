"""Paths that stay below LOGDIR: nothing else is ever opened, whatever a name or a link says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segfocal.errors import SegfocalError
from segfocal.runs.layout import RunPaths


def inside(root: Path, *parts: str) -> Path:
    """Return a path below a folder.

    Args:
        root: The folder, resolved.
        *parts: Below it, as a browser or a file says.

    Returns:
        The path as named, which need not exist.

    Raises:
        SegfocalError: Where it, or what its links lead to, lies elsewhere.

    Example:
        >>> inside(Path("/logs"), "a", "run.json").as_posix()
        '/logs/a/run.json'
    """
    if any("\0" in part for part in parts):
        raise SegfocalError("a path must not contain NUL.")
    path = root.joinpath(*parts)
    try:
        real = path.resolve()
    except (OSError, RuntimeError) as error:  # a link that leads to itself, a name that is too long
        raise SegfocalError("the path cannot be followed.") from error
    if not real.is_relative_to(root):
        raise SegfocalError("the path must lie below LOGDIR.")
    return path


def leads_out(root: Path, run: Path) -> str:
    """Return the first file of a run that is a link to somewhere outside, "" where none is.

    Args:
        root: LOGDIR, resolved.
        run: A run directory below it.

    Returns:
        The file's name.
    """
    try:
        inside(root, str(run))
        links = [path.name for path in RunPaths(run).files if path.is_symlink()]
    except SegfocalError:
        return run.name
    except OSError:
        return ""  # it is gone: the tables will say so
    return next((name for name in sorted(links) if not _is_inside(root, run, name)), "")


def divide(root: Path, runs: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Part runs that may be read from those that lead out of LOGDIR.

    Args:
        root: LOGDIR, resolved.
        runs: Of ``find_runs``.

    Returns:
        Runs to read, and for each other one the file that leads out.
    """
    found = {run: leads_out(root, run) for run in runs}
    return [run for run, name in found.items() if not name], {
        run: name for run, name in found.items() if name
    }


def _is_inside(root: Path, run: Path, name: str) -> bool:
    try:
        inside(root, str(run), name)
    except SegfocalError:
        return False
    return True
