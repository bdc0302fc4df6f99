"""``segfocal report``: a folder that opens in a browser, or the leaderboard on the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from segfocal.errors import SegfocalError
from segfocal.options import OptionParser
from segfocal.writing import OVERWRITE_HELP, claim_files

PAGE_NAMES = ("index.html", "data.js")


def parser() -> argparse.ArgumentParser:
    """Return the options of the verb."""
    options = OptionParser(
        prog="segfocal report",
        description="Compare runs: a page that opens from disk without a network, or a table here.",
    )
    options.add_argument("runs", nargs="*", metavar="RUNS", help="run directories, or folders that hold some")
    options.add_argument("--study", metavar="DIR", help="a study: its finished cells, under its arms' names")
    options.add_argument("--out", metavar="DIR", help="where the page goes, best a new folder")
    options.add_argument("--terminal", action="store_true", help="print the leaderboard, write nothing")
    options.add_argument("--baseline", metavar="RUN", help="what others are compared with: a run or an arm")
    options.add_argument("--stage", metavar="SPLIT", help="test (default where there is any) or val")
    options.add_argument(
        "--tuned",
        action="store_true",
        help="scores at the threshold chosen on validation (default where a study judges by it)",
    )
    options.add_argument("--all-cases", action="store_true", help="every case with pictures, however large")
    options.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    options.add_argument("--title", default="segfocal report", help="of the page")
    return options


def report(argv: Sequence[str]) -> int:
    """Write or print a report.

    Args:
        argv: Words after ``report``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For wrong options, paths that hold no run, or a folder that cannot be written.
    """
    given = parser().parse_args(argv)
    if not given.terminal and given.out is None:
        raise SegfocalError("`segfocal report` needs --out DIR for the page, or --terminal.")
    if not given.runs and given.study is None:
        raise SegfocalError("`segfocal report` needs RUNS (run directories or folders of some) or --study.")
    inputs = [*given.runs, *[given.study] * (given.study is not None)]
    if given.out is not None:
        claim_files(given.out, PAGE_NAMES, inputs=inputs, overwrite=given.overwrite)
    # polars and plotly, which --help does not need
    from segfocal.report.sources import read_sources
    from segfocal.report.study import study_baseline, study_numbers, study_runs, study_sections
    from segfocal.report.tables.find import find_runs

    cells = study_runs(given.study) if given.study else {}
    numbers = study_numbers(given.study) if given.study else None
    baseline = given.baseline or (study_baseline(given.study) if given.study else None)
    sources = read_sources(
        [*cells, *(run for run in find_runs(given.runs) if run not in cells)],
        arms={run.as_posix(): arm for run, arm in cells.items()},
        stage=given.stage,
        tuned=given.tuned or (numbers is not None and numbers.tuned),
        baseline=baseline,
        study=numbers,
    )
    if given.terminal:
        from segfocal.report.terminal import print_leaderboard

        print_leaderboard(sources)
    if given.out is not None:
        from segfocal.report.page.page import write_page

        concluded = study_sections(numbers) if numbers is not None else []
        options = {"title": given.title, "all_cases": given.all_cases, "first": concluded}
        page = write_page(sources, given.out, inputs=inputs, overwrite=given.overwrite, **options)
        sys.stdout.write(f"report: {Path(page)}\n")
    return 0
