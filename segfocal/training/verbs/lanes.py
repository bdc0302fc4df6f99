"""``segfocal lanes``: the lanes that a run finds, in the official form of its data set."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segfocal.errors import SegfocalError
from segfocal.options import TRUST_HELP, OptionParser

if TYPE_CHECKING:
    from segfocal.data.lanes.source import LaneData, LaneSource
    from segfocal.training.prediction.predictor import Predictor

_LOST_MS = 200.0  # slower frames score 0 in TuSimple's evaluation
_CULANE_STEP_PX = 10


def parser() -> argparse.ArgumentParser:
    """Return the options of the verb."""
    options = OptionParser(
        prog="segfocal lanes",
        description="Write the lanes that a run finds: TuSimple's JSON lines, or CULane's .lines.txt files.",
    )
    options.add_argument("--run", required=True, metavar="DIR", help="trained on TuSimpleData or CULaneData")
    options.add_argument("--out", required=True, metavar="PATH", help="a file (TuSimple) or folder (CULane)")
    options.add_argument("--split", default="test", choices=("train", "val", "test"))
    options.add_argument("--checkpoint", default="best", metavar="best|last|PATH", help="default: best")
    options.add_argument("--device", metavar="NAME", help="cpu, cuda:0, ... (default: the best there is)")
    options.add_argument("--trust", action="store_true", help=TRUST_HELP)
    return options


def lanes(argv: Sequence[str]) -> int:
    """Write the lanes of a split.

    Args:
        argv: Words after ``lanes``.

    Returns:
        Exit code 0.

    Raises:
        SegfocalError: For wrong options, a folder that is no run, or a run on other data.
    """
    given = parser().parse_args(argv)
    from segfocal.data.lanes.source import LaneData
    from segfocal.data.lanes.tusimple import TuSimpleData
    from segfocal.runs.layout import open_run
    from segfocal.training.arguments import words_of_run
    from segfocal.training.cli import SegfocalCLI
    from segfocal.training.prediction.predictor import load
    from segfocal.training.quiet import quiet_lightning

    run = open_run(given.run, with_checkpoints=True)
    with quiet_lightning():
        data = SegfocalCLI(
            words_of_run(run.config), pretrained=False, run=run.config, trust=given.trust
        ).datamodule
    if not isinstance(data, LaneData):
        raise SegfocalError(
            f"segfocal lanes needs a run on TuSimpleData or CULaneData, {run.root} was trained on "
            f"{type(data).__name__}. `segfocal predict` writes its masks."
        )
    source = data.source(given.split)
    if not len(source):
        raise SegfocalError(f"the data of {run.root} have no {given.split} images. Choose another --split.")
    predictor = load(run.root, checkpoint=given.checkpoint, device=given.device, trust=given.trust)
    write = _write_tusimple if isinstance(data, TuSimpleData) else _write_culane
    write(data, source, predictor, Path(given.out))
    return 0


def _write_tusimple(data: LaneData, source: LaneSource, predictor: Predictor, out: Path) -> None:
    from segfocal.data.lanes.decoding import at_rows
    from segfocal.runs.write import write_bytes

    lines, slow = [], 0
    for index, frame in enumerate(source.frames):
        found, took_ms = _found(data, source, predictor, index)
        rows = [at_rows(lane, frame.rows).round(2).tolist() for lane in found]
        lines.append(json.dumps({"raw_file": frame.file, "lanes": rows, "run_time": round(took_ms, 2)}))
        slow += took_ms > _LOST_MS
    write_bytes(out, "".join(line + "\n" for line in lines).encode(), option="--out")
    sys.stdout.write(f"{len(lines)} frames written to {out}\n")
    if slow:
        sys.stdout.write(
            f"{slow} of them took more than {_LOST_MS:.0f} ms on this machine: TuSimple's evaluation gives "
            "those no points\n"
        )


def _write_culane(data: LaneData, source: LaneSource, predictor: Predictor, out: Path) -> None:
    import numpy as np

    from segfocal.data.lanes.decoding import at_rows
    from segfocal.data.lanes.lines import SUFFIX, lines_text
    from segfocal.runs.write import write_bytes

    for index, frame in enumerate(source.frames):
        found, _ = _found(data, source, predictor, index)
        points = []
        for lane in found:
            rows = np.arange(lane[-1, 1] // _CULANE_STEP_PX * _CULANE_STEP_PX, lane[0, 1], -_CULANE_STEP_PX)
            points.append(np.stack([at_rows(lane, rows), rows], axis=1))
        write_bytes(out / f"{frame.name}{SUFFIX}", lines_text(points).encode(), option="--out")
    sys.stdout.write(f"lanes of {len(source)} images written to {out}\n")


def _found(data: LaneData, source: LaneSource, predictor: Predictor, index: int) -> tuple[list[Any], float]:
    """Return the lanes of an image in px of the labelled size, and the ms that finding them took."""
    import numpy as np

    from segfocal.data.lanes.decoding import decode_lanes
    from segfocal.data.lanes.drawing import scaled

    image = source.image(index)
    start = time.perf_counter()
    mask = np.asarray(predictor(image).mask)
    found = decode_lanes(mask, positions=data.positions)
    took_ms = 1e3 * (time.perf_counter() - start)
    height, width = data.labelled_px or image.shape[:2]
    factor = (width / image.shape[1], height / image.shape[0])
    return [scaled(lane, factor) for lane in found], took_ms
