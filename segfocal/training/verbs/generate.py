"""``segfocal generate``: write generated images and masks as folders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from segfocal.errors import check_range
from segfocal.options import OptionParser


def parser() -> argparse.ArgumentParser:
    """Return the options of the verb."""
    options = OptionParser(
        prog="segfocal generate",
        description="Write generated pictures: images/NAME.png and masks/NAME.png, as FolderData reads.",
    )
    options.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder")
    options.add_argument("--kind", default="lesions", choices=("vessels", "lesions", "lanes"))
    options.add_argument("--task", default="binary", choices=("binary", "multiclass", "multilabel"))
    options.add_argument("--count", type=int, default=16, metavar="N", help="pictures (16)")
    options.add_argument("--foreground", type=float, default=0.02, metavar="F", help="0.0005 to 0.2 (0.02)")
    options.add_argument(
        "--size", type=int, nargs="+", default=[128], metavar="PX", help="edge, or height width"
    )
    options.add_argument("--channels", type=int, default=1, choices=(1, 3))
    options.add_argument("--seed", type=int, default=1, metavar="N")
    options.add_argument("--split", default="test", choices=("train", "val", "test"))
    return options


def generate(argv: Sequence[str]) -> int:
    """Write a data set.

    Args:
        argv: Words after ``generate``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For wrong options, or a folder that holds something or cannot be written.
    """
    given = parser().parse_args(argv)
    check_range("--count", given.count, low=1)
    # brings torch, which --help does not need
    from segfocal.data.synthetic import SyntheticData, write_folder
    from segfocal.runs.write import disk_error

    data = SyntheticData(
        kind=given.kind,
        task=given.task,
        foreground=given.foreground,
        image_size=given.size[0] if len(given.size) == 1 else given.size,
        channels=given.channels,
        seed=given.seed,
        train_images=given.count if given.split == "train" else 0,
        val_images=given.count if given.split == "val" else 0,
        test_images=given.count if given.split == "test" else 0,
    )
    try:
        folder = write_folder(data, given.out, split=given.split)
    except OSError as error:
        raise disk_error(error, given.out, option="--out") from error
    sys.stdout.write(f"{given.count} images and masks written to {folder}/images and {folder}/masks\n")
    return 0
