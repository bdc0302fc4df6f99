"""``segfocal fingerprint``: what a folder holds, and a configuration that trains on it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segfocal.errors import SegfocalError
from segfocal.options import OptionParser

if TYPE_CHECKING:
    from segfocal.data.fingerprint.advice import Advice
    from segfocal.data.fingerprint.classes import Classes
    from segfocal.data.fingerprint.groups import Groups
    from segfocal.data.fingerprint.pairing import Match

_MOST_FOLDERS = 80


def fingerprint(argv: Sequence[str]) -> int:
    """Print a page about a folder of images and masks, and write a configuration.

    Args:
        argv: Words after ``fingerprint``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For wrong options, or where no images with masks are found.
    """
    options = OptionParser(
        prog="segfocal fingerprint",
        description="Look at a folder of images and masks; write a configuration.",
    )
    options.add_argument("path", metavar="PATH", help="the folder")
    options.add_argument("--out", metavar="X.yaml", help="write a configuration that trains as it is")
    options.add_argument("--processes", type=int, metavar="N", help="readers (default: one per processor)")
    given = options.parse_args(argv)
    from rich.console import Console

    from segfocal.data.fingerprint.advice import advise
    from segfocal.data.fingerprint.classes import judge_classes
    from segfocal.data.fingerprint.groups import guess_groups
    from segfocal.data.fingerprint.listing import list_folders
    from segfocal.data.fingerprint.page import print_page
    from segfocal.data.fingerprint.pairing import find_match
    from segfocal.data.fingerprint.scan import scan

    root = Path(given.path).resolve()
    folders = list_folders(root)
    if len(folders) > _MOST_FOLDERS:
        raise SegfocalError(
            f"{root} holds pictures in {len(folders)} folders: name the one above images and masks, or list "
            "the files in a table (segfocal.data.TableData)."
        )
    match = find_match(folders)
    if match is None:
        held = ", ".join(f"{name} ({len(folder.stems())})" for name, folder in list(folders.items())[:8])
        raise SegfocalError(
            f"no masks found for the images in {root}: the names in no folder follow from those in another. "
            f"Folders with pictures: {held or 'none'}. Rename, or list the files in a table "
            "(segfocal.data.TableData)."
        )
    totals = scan(match.files(), processes=given.processes, progress=_progress)
    if not totals.digests:
        raise SegfocalError(f"none of the {len(totals.names)} images can be read: {totals.problems[0]}")
    classes = judge_classes(totals, folders=match.classes)
    groups = guess_groups(totals.names)
    print_page(Console(soft_wrap=not sys.stdout.isatty()), root, match, totals, classes, groups)
    if given.out is not None:
        _write(Path(given.out), root, match, classes, advise(totals, classes), groups)
    return 0


def _write(
    out: Path, root: Path, match: Match, classes: Classes, advice: Advice, groups: Groups | None
) -> None:
    from segfocal.data.fingerprint.config import config_text, needs_table, table_text
    from segfocal.runs.write import write_bytes

    table = out.with_suffix(".csv").resolve() if needs_table(match, root=root) else None
    if table is not None:
        write_bytes(table, table_text(match, root=root).encode(), option="--out")
    text = config_text(root, match, classes, advice, groups, table=table)
    write_bytes(out, text.encode(), option="--out")
    listed = f" and {table}" if table else ""
    sys.stdout.write(f"wrote {out}{listed}\ntrain: segfocal fit --config {out} --run runs/first\n")


def _progress(done: int, total: int) -> None:
    """Rewrite one line on a terminal; be silent elsewhere."""
    if sys.stderr.isatty() and (done == total or done % max(1, total // 200) == 0):
        sys.stderr.write(f"\r{done} of {total} images" + ("\n" if done == total else ""))
        sys.stderr.flush()
