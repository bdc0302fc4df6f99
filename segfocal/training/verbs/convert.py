"""``segfocal convert``: write the tensors of a weights file as safetensors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from segfocal.errors import SegfocalError
from segfocal.options import OptionParser


def parser() -> argparse.ArgumentParser:
    """Return the options of the verb."""
    options = OptionParser(
        prog="segfocal convert",
        description="Write the tensors of a weights file as safetensors, which `segfocal finetune` reads. "
        "A pickle that holds code is named and refused, unless --trust says to run it.",
    )
    options.add_argument("file", metavar="FILE", help="a .pth, .pt, .ckpt or .bin file")
    options.add_argument("target", metavar="OUT", nargs="?", help="FILE with the ending .safetensors")
    options.add_argument("--out", metavar="OUT", help="the same")
    options.add_argument("--trust", action="store_true", help="run the code that FILE holds")
    return options


def convert(argv: Sequence[str]) -> int:
    """Convert one file.

    Args:
        argv: Words after ``convert``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For wrong options, a file that cannot be read, or one with code that is not trusted.
    """
    given = parser().parse_args(argv)
    if given.target is not None and given.out is not None:
        raise SegfocalError(f"OUT must be given once, got {given.target} and --out {given.out}.")
    out = given.target or given.out or Path(given.file).with_suffix(".safetensors")
    # brings torch, which --help does not need
    from segfocal.models.weights_convert import convert_plain, convert_trusted

    written = (convert_trusted if given.trust else convert_plain)(given.file, out)
    sys.stdout.write(f"tensors of {given.file} written to {written}\n")
    return 0
