"""Which files a command may write where: only new names, and on request those that we wrote before.

Beside what a command writes lies ``.segfocal.json``: names and sha256 of the files that are ours. A name that
exists and is not in that list is never replaced, and nothing outside the list is ever deleted.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from segfocal.errors import SegfocalError

LISTED = ".segfocal.json"
OVERWRITE_HELP = "replace files that segfocal wrote there before and nobody changed since"


@dataclass
class Place:
    """A folder that one command writes into, after every name was checked.

    Args:
        root: The folder.
        wanted: Whether a path below it, POSIX and relative, is one that the command writes.
        known: Names and sha256 of the files of ours in the folder.
        folders: Below it, where results go.
    """

    root: Path
    wanted: Callable[[str], bool]
    known: dict[str, str] = field(default_factory=dict)
    folders: Sequence[str] = ()

    def record(self, names: Iterable[str]) -> None:
        """Write into the list what was written.

        Args:
            names: Relative POSIX paths; those that the command did not ask for are left out.
        """
        for name in names:
            path = self.root / name
            if self.wanted(name) and path.is_file() and not path.is_symlink():
                self.known[name] = _sha256(path)
        if self.known:
            _write_list(self.root, self.known)

    def record_found(self) -> None:
        """Write into the list all that lies in ``folders`` under names that the command asked for."""
        self.record([name for folder in self.folders for name in _below(self.root, folder)])

    def stale(self, names: Iterable[str]) -> list[str]:
        """Return listed names that are not among ``names`` and still as we wrote them.

        Args:
            names: What the command has written now.
        """
        kept = set(names)
        return [
            name for name in sorted(self.known) if name not in kept and _is_ours(self.root, name, self.known)
        ]


def claim_files(
    out: str | Path, names: Sequence[str], *, inputs: Iterable[str | Path] = (), overwrite: bool = False
) -> Place:
    """Check that files may be written into a folder; nothing is written.

    Args:
        out: The folder, there or not.
        names: Relative POSIX paths of the files.
        inputs: Files and folders that the same command reads.
        overwrite: Replace files that are in the list and unchanged.

    Returns:
        The place.

    Raises:
        SegfocalError: Where a name is taken, leads through a link, or lies in an input folder.
    """
    root = Path(out)
    given = list(inputs)
    for name in names:
        check_outside(root / name, given)
    chosen = set(names)
    found = [name for name in names if os.path.lexists(root / name)]
    return _claim(root, found, chosen.__contains__, names, overwrite=overwrite)


def claim_file(out: str | Path, *, inputs: Iterable[str | Path] = (), overwrite: bool = False) -> Place:
    """Check that one file may be written; as ``claim_files``.

    Args:
        out: The file.
        inputs: Files and folders that the same command reads.
        overwrite: Replace it where it is in the list and unchanged.
    """
    path = Path(out)
    return claim_files(path.parent, [path.name], inputs=inputs, overwrite=overwrite)


def claim_stems(
    out: str | Path,
    folders: Sequence[str],
    stems: Iterable[str],
    *,
    inputs: Iterable[str | Path] = (),
    overwrite: bool = False,
) -> Place:
    """Check that results named after inputs may be written, wherever below some folders they go.

    Args:
        out: The folder, there or not.
        folders: Names below it that receive the results.
        stems: What the names of the results begin with.
        inputs: Files and folders that the same command reads.
        overwrite: Replace files that are in the list and unchanged.

    Returns:
        The place.

    Raises:
        SegfocalError: As ``claim_files``.
    """
    root, given, begins = Path(out), list(inputs), set(stems)
    for folder in folders:
        check_outside(root / folder / "result", given)

    def wanted(name: str) -> bool:
        first, _, rest = name.partition("/")
        last = rest.rpartition("/")[2]
        return first in folders and any(last[:end] in begins for end in range(1, len(last) + 1))

    found = [name for folder in folders for name in _below(root, folder) if wanted(name)]
    place = _claim(root, found, wanted, folders, overwrite=overwrite)
    place.folders = folders
    return place


def replace_folder(place: Place, files: Mapping[str, bytes]) -> None:
    """Write a whole folder beside its place and exchange the two, so that a kill leaves the old or the new.

    Files in the old folder that are not ours, or were edited, are moved into the new one.

    Args:
        place: Of ``claim_files`` for these names.
        files: Relative POSIX path to content.

    Raises:
        OSError: Where the disk is full or the folder cannot be renamed.
    """
    target = Path(os.path.realpath(place.root))
    beside = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    target.mkdir(parents=True, exist_ok=True)
    stale = place.stale(())
    fresh = Place(beside, lambda _: True)
    try:
        for name, content in files.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_bytes(content)
        fresh.record(files)
        os.chmod(beside, target.stat().st_mode)
        exchange(beside, target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)  # made above, in one process: all of it is ours
        raise
    _empty_out(beside, target, [*stale, *[LISTED] * bool(place.known)])
    place.known = fresh.known


def exchange(one: Path, other: Path) -> None:
    """Swap the names of two folders, in one step where the system can (Linux).

    Args:
        one: A folder.
        other: A folder beside it.

    Raises:
        OSError: Where they cannot be renamed.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if os.name == "posix" else None
    here = -100  # AT_FDCWD; 2 is RENAME_EXCHANGE
    if call is not None and call(here, os.fsencode(one), here, os.fsencode(other), 2) == 0:
        return
    away = one.with_name(f"{one.name}.old")
    os.rename(other, away)
    os.rename(one, other)
    os.rename(away, one)


def _empty_out(old: Path, new: Path, ours: Iterable[str]) -> None:
    """Remove our files of the old folder, and move all others to their names in the new one."""
    for name in ours:
        (old / name).unlink(missing_ok=True)
    for place, folders, files in os.walk(old, topdown=False):
        for name in [*files, *[one for one in folders if Path(place, one).is_symlink()]]:
            goal = new / Path(place, name).relative_to(old)
            goal.parent.mkdir(parents=True, exist_ok=True)
            if not os.path.lexists(goal):
                os.rename(Path(place, name), goal)
    for place, _, _ in os.walk(old, topdown=False):
        with suppress(OSError):
            os.rmdir(place)


@contextmanager
def recorded(place: Place) -> Iterator[None]:
    """List what a command has written when it ends, also where it was stopped.

    Args:
        place: Of a claim.
    """
    try:
        yield
    finally:
        place.record_found()


def check_outside(target: Path, inputs: Iterable[str | Path]) -> None:
    """Raise where a file to be written is an input or lies in an input folder, by whatever name.

    Args:
        target: The file.
        inputs: Files and folders that the command reads.
    """
    above = [target, *target.absolute().parents, *Path(os.path.realpath(target)).parents]
    places = {key for path in above if (key := _identity(path))}
    for given in inputs:
        key = _identity(Path(given))
        if key is not None and key in places:
            raise SegfocalError(
                f"--out must not lie in what the command reads, got {target.parent} with the input {given}. "
                "Choose a folder outside."
            )


def _claim(
    root: Path, found: Sequence[str], wanted: Callable[[str], bool], parts: Iterable[str], *, overwrite: bool
) -> Place:
    known = _read_list(root)
    for name in parts:
        _check_links(root, name)
    for name in found:
        _check_links(root, name)
        path = root / name
        if name not in known:
            raise SegfocalError(
                f"{path} exists and is not listed in {root / LISTED} as a file that segfocal wrote. "
                "Choose another --out, or move it away."
            )
        if not _is_ours(root, name, known):
            raise SegfocalError(
                f"{path} was edited since segfocal wrote it. Choose another --out, or move it away."
            )
        if not overwrite:
            raise SegfocalError(
                f"{path} exists already, from an earlier command. Add --overwrite to replace what segfocal "
                "wrote there, or choose another --out."
            )
    return Place(root, wanted, known)


def _check_links(root: Path, name: str) -> None:
    path = root
    for part in Path(name).parts:
        path = path / part
        if path.is_symlink():
            raise SegfocalError(f"{path} is a link, which is never written through. Choose another --out.")


def _is_ours(root: Path, name: str, known: Mapping[str, str]) -> bool:
    """Whether a listed name is a plain file below the folder with the content that we wrote."""
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or not parts:
        return False
    steps = [root.joinpath(*parts[:end]) for end in range(1, len(parts) + 1)]
    if any(path.is_symlink() for path in steps) or not steps[-1].is_file():
        return False
    return _sha256(steps[-1]) == known.get(name)


def _below(root: Path, folder: str) -> Iterable[str]:
    if (root / folder).is_symlink():
        return  # refused by name
    for place, folders, files in os.walk(root / folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        yield from (Path(place, name).relative_to(root).as_posix() for name in [*files, *links])


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file or folder: the same under links, another case, another spelling."""
    try:
        found = path.expanduser().stat()
    except (OSError, RuntimeError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_list(root: Path) -> dict[str, str]:
    path = root / LISTED
    if path.is_symlink():
        raise SegfocalError(f"{path} is a link, which is never written through. Choose another --out.")
    if not path.exists():
        return {}
    try:
        files = json.loads(path.read_text("utf-8"))["files"]
        if not all(isinstance(name, str) and isinstance(sha, str) for name, sha in files.items()):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SegfocalError(
            f"{path} must list the files that segfocal wrote there, got something else. "
            "Choose another --out, or remove it."
        ) from None
    return dict(files)


def _write_list(root: Path, known: Mapping[str, str]) -> None:
    text = json.dumps({"files": dict(sorted(known.items()))}, indent=1)
    temporary = root / f"{LISTED}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, root / LISTED)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise SegfocalError(
            f"cannot write {root / LISTED}: {error.strerror or error}. Choose another folder with --out."
        ) from error


def text_cell(text: str) -> str:
    """Return a text for a CSV that people open: one that a spreadsheet would compute gets a space in front.

    Carriage returns, which end a row for many readers, are written as a backslash and r.

    Args:
        text: Any, no number.

    Example:
        >>> text_cell("=1+1"), text_cell("vessels")
        (' =1+1', 'vessels')
    """
    text = text.replace("\r", r"\r")
    return f" {text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
