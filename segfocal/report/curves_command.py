"""``segfocal curves``: what the pixel losses look like, without any run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from segfocal.errors import SegfocalError
from segfocal.options import OptionParser
from segfocal.writing import OVERWRITE_HELP, claim_file

_ENDINGS = (".html", ".svg", ".csv")
_WORDS = (
    "A pixel loss is a function of the margin: how far the wrong answer is ahead, in nats. Its slope is what "
    "the pixel teaches; the slope ratio compares it with cross-entropy. Focal loss with gamma 2 all but "
    "stops teaching above p = 0.75; the knee and tail forms do not."
)


def parser() -> argparse.ArgumentParser:
    """Return the options of the verb."""
    options = OptionParser(
        prog="segfocal curves",
        description="Draw loss, slope and slope ratio of focal losses against p and against the margin.",
    )
    options.add_argument("--out", required=True, metavar="FILE", help="a file ending in .html, .svg or .csv")
    options.add_argument("--gamma", type=float, nargs="+", default=[0, 0.5, 1, 2, 5], metavar="G")
    options.add_argument("--knee", type=float, metavar="P", help="add the knee form, such as 0.75")
    options.add_argument("--tail", type=float, metavar="TAU", help="add the tail-mixed form, such as 0.1")
    options.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    return options


def curves(argv: Sequence[str]) -> int:
    """Draw the pixel losses.

    Args:
        argv: Words after ``curves``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For wrong options, or a file that cannot be written.
    """
    given = parser().parse_args(argv)
    path = Path(given.out)
    if path.suffix not in _ENDINGS:
        raise SegfocalError(f"--out must end in {', '.join(_ENDINGS)}, got {given.out!r}. Rename the file.")
    place = claim_file(path, overwrite=given.overwrite)
    # polars and plotly, which --help does not need
    from segfocal.report.pixel_curves import curve_table
    from segfocal.runs.write import write_bytes

    table = curve_table(gammas=given.gamma, knee=given.knee, tail=given.tail)
    if path.suffix == ".csv":
        content = table.write_csv(float_precision=8)
    elif path.suffix == ".svg":
        from segfocal.report.figures.svg import pixel_svg

        content = pixel_svg(table)
    else:
        from segfocal.report.figures.pixel import pixel_figures
        from segfocal.report.page.single import single_page

        content = single_page(pixel_figures(table), title="Pixel losses", words=_WORDS)
    write_bytes(path, content.encode(), option="--out")
    place.record([path.name])
    sys.stdout.write(f"curves: {path}\n")
    return 0
