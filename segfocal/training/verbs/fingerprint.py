"""``segfocal fingerprint``: what a data set holds, and a configuration that trains on it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segfocal.options import OptionParser
from segfocal.writing import OVERWRITE_HELP, claim_file, claim_files

if TYPE_CHECKING:
    from segfocal.data.fingerprint.report import Report


def fingerprint(argv: Sequence[str]) -> int:
    """Print a page about a data set, and write a configuration.

    Args:
        argv: Words after ``fingerprint``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For wrong options, or where nothing to learn from is found.
    """
    options = OptionParser(
        prog="segfocal fingerprint",
        description="Look at images with masks, volumes or lanes; write a configuration.",
    )
    options.add_argument("path", metavar="PATH", help="the folder, or a table (CSV, TSV, Parquet)")
    options.add_argument("--out", metavar="X.yaml", help="write a configuration that trains as it is")
    options.add_argument("--images", metavar="PATTERN", help="which paths are images: a folder or a pattern")
    options.add_argument("--masks", metavar="PATTERN", help="which paths are masks or label maps, likewise")
    options.add_argument("--list", action="store_true", help="say of every file what it is used for")
    options.add_argument("--processes", type=int, metavar="N", help="readers (default: one per processor)")
    options.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    options.add_argument(
        "--page",
        metavar="N|channels",
        help="of files that hold several: which is read, from 0, or each as a channel",
    )
    given = options.parse_args(argv)
    from rich.console import Console

    from segfocal.data.fingerprint.accounts import account_lines
    from segfocal.data.fingerprint.look import look
    from segfocal.data.reading import ReadRules

    page = int(given.page) if given.page is not None and given.page.isdecimal() else given.page
    root, rules = Path(given.path).expanduser().resolve(), ReadRules(page=page)
    if given.out is not None:  # before the reading, which takes minutes
        claim_file(given.out, inputs=[root], overwrite=given.overwrite)
    report = look(root, processes=given.processes, images=given.images, masks=given.masks, rules=rules)
    console = Console(soft_wrap=not sys.stdout.isatty())
    console.print(report.page)
    if given.list:
        for line in account_lines(report.accounts, whole=True):
            console.print(line)
    if given.out is not None:
        _write(report, Path(given.out), root, overwrite=given.overwrite)
    return 0


def _write(report: Report, out: Path, root: Path, *, overwrite: bool) -> None:
    from segfocal.runs.write import write_bytes

    files = report.files(out)
    names = [path.name for path in files]
    place = claim_files(out.parent, names, inputs=[root], overwrite=overwrite)
    for path, text in files.items():
        write_bytes(path, text.encode(), option="--out")
    place.record(names)
    sys.stdout.write(f"wrote {' and '.join(map(str, files))}\n")
    sys.stdout.write(f"train: segfocal fit --config {out} --run runs/first\n")
