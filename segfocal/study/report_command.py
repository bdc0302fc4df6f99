"""`segfocal study report`: compare what is finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segfocal.options import OptionParser
from segfocal.writing import OVERWRITE_HELP, claim_files

_HELP = """Compare the finished cells of a study: scores with intervals, paired differences, Wilcoxon
signed-rank tests with Holm's correction over the planned contrasts, rankings, calibration, training against
validation, time. Prints what a reader needs first; writes report.md, report.json and a CSV file per table."""


def report(argv: Sequence[str]) -> int:
    """Run the verb.

    Args:
        argv: The words behind ``segfocal study report``.

    Returns:
        0.

    Raises:
        SegfocalError: For wrong words, a folder with nothing to compare, and where nothing can be written.
    """
    parser = OptionParser(prog="segfocal study report", description=_HELP)
    parser.add_argument("folder", metavar="DIR", help="the study's folder, made by `segfocal study plan`")
    parser.add_argument("--out", required=True, help="folder for the files, outside of the study")
    parser.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    options = parser.parse_args(list(argv))
    from rich.console import Console

    from segfocal.study.report import build_report
    from segfocal.study.report_files import NAMES, write_report
    from segfocal.study.report_table import print_report

    place = claim_files(options.out, NAMES, inputs=[options.folder], overwrite=options.overwrite)
    found = build_report(Path(options.folder))
    files = write_report(found, options.out)
    place.record(NAMES)
    console = Console()
    # a pipe has no width to respect
    print_report(found, console=Console(width=None if console.is_terminal else 160))
    more = len(files) - 1
    console.print(f"files: {files[0]} and {more} more beside it", soft_wrap=True, highlight=False)
    return 0
