"""``segfocal evaluate``: the official lane scores of anyone's prediction files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.options import OptionParser

_USAGE = """usage: segfocal evaluate tusimple --predictions FILE --labels FILE [--json]
       segfocal evaluate culane --predictions DIR --labels DIR [--list FILE ...] [--json]

Scores lane predictions as the challenges do. `segfocal evaluate tusimple --help` lists the options.
"""


def evaluate(argv: Sequence[str]) -> int:
    """Print the official scores.

    Args:
        argv: Words after ``evaluate``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For wrong options or files.
    """
    if not argv or argv[0] in ("-h", "--help"):
        sys.stdout.write(_USAGE)
        return 0 if argv else 2
    if argv[0] == "tusimple":
        _tusimple(argv[1:])
    elif argv[0] == "culane":
        _culane(argv[1:])
    else:
        raise SegfocalError(f"segfocal evaluate knows tusimple and culane, got {argv[0]!r}.")
    return 0


def _tusimple(argv: Sequence[str]) -> None:
    options = _parser(
        "tusimple", "Accuracy, FP and FN of the TuSimple lane challenge.", what="file of JSON lines"
    )
    options.add_argument(
        "--width", type=float, default=1280.0, metavar="PX", help="width of the images (1280): scales 20 px"
    )
    given = options.parse_args(argv)
    from segfocal.metrics.lanes.tusimple_files import mean_score, score_files

    scores = score_files(given.predictions, given.labels, width_px=given.width)
    mean = mean_score(scores)
    if given.json:
        _print_json({"frames": len(scores), "accuracy": mean.accuracy, "fp": mean.fp, "fn": mean.fn})
        return
    sys.stdout.write(
        f"TuSimple, {len(scores)} frames\naccuracy {mean.accuracy:.4f}\nFP       {mean.fp:.4f}\n"
        f"FN       {mean.fn:.4f}\n"
    )


def _culane(argv: Sequence[str]) -> None:
    options = _parser("culane", "F1 of CULane at 30 px, per category.", what="folder of .lines.txt files")
    options.add_argument(
        "--list", nargs="+", default=[], metavar="FILE", help="list files, a category each (test0_normal.txt)"
    )
    options.add_argument("--iou", type=float, default=0.5, metavar="F", help="overlap to exceed (0.5)")
    options.add_argument("--width", type=int, default=1640, metavar="PX", help="of the images (1640)")
    options.add_argument("--height", type=int, default=590, metavar="PX", help="of the images (590)")
    given = options.parse_args(argv)
    from segfocal.metrics.lanes.culane_files import label_names, not_scored, without_predictions

    lists = {only: label_names(given.labels, only=only) for only in given.list or [None]}
    rows = [_culane_row(given, only, names) for only, names in lists.items()]
    scored = sorted({name for names in lists.values() for name in names})
    missing, odd = without_predictions(given.predictions, scored), not_scored(given.predictions, scored)
    where = "in none of the lists" if given.list else f"not labelled in {given.labels}"
    _note(missing, f"of {len(scored)} images have no file in {given.predictions} and count as without lanes")
    _note(odd, f"prediction files are not scored: their images are {where}")
    if given.json:
        _print_json({"categories": rows, "without_prediction": len(missing), "not_scored": len(odd)})
        return
    sys.stdout.write(
        f"{'category':20} {'images':>7} {'TP':>7} {'FP':>7} {'FN':>7} {'P':>7} {'R':>7} {'F1':>7}\n"
    )
    for row in rows:
        numbers = " ".join(f"{row[key]:7d}" for key in ("images", "tp", "fp", "fn"))
        scores = " ".join(
            "      -" if row[k] is None else f"{row[k]:7.4f}" for k in ("precision", "recall", "f1")
        )
        sys.stdout.write(f"{row['category']:20} {numbers} {scores}\n")


def _note(names: Sequence[str], what: str) -> None:
    """Say on stderr which images are behind the scores in another way than most."""
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        sys.stderr.write(f"segfocal: {len(names)} {what}: {', '.join(names[:5])}{more}\n")


def _culane_row(given: argparse.Namespace, only: str | None, names: Sequence[str]) -> dict[str, Any]:
    from segfocal.metrics.lanes.culane_files import count_files

    counts = count_files(
        given.predictions,
        given.labels,
        names,
        size_px=(given.height, given.width),
        width_px=max(1, round(30 * given.width / 1640)),
        iou=given.iou,
    )
    row: dict[str, Any] = {"category": Path(only).stem if only else "all", "images": len(names)}
    row |= counts._asdict()
    # a crossroad has no lanes: only false positives are counted there
    scores = counts.scores() if counts.tp + counts.fn else (None, None, None)
    return row | dict(zip(("precision", "recall", "f1"), scores, strict=True))


def _parser(kind: str, description: str, *, what: str) -> OptionParser:
    options = OptionParser(prog=f"segfocal evaluate {kind}", description=description)
    options.add_argument("--predictions", required=True, metavar="PATH", help=what)
    options.add_argument("--labels", required=True, metavar="PATH", help=what)
    options.add_argument("--json", action="store_true", help="one JSON object, in full precision")
    return options


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
