"""``segfocal predict``: a run directory and images in, masks out."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from segfocal.options import TRUST_HELP, OptionParser
from segfocal.training.interrupt import StopSignal
from segfocal.writing import OVERWRITE_HELP, Place, claim_stems, recorded

if TYPE_CHECKING:
    from segfocal.training.prediction.files import PredictOptions

_LINES = 20
_TTA = ("none", "mirror", "flips", "turns")


def parser() -> argparse.ArgumentParser:
    """Return the options of the verb."""
    options = OptionParser(
        prog="segfocal predict",
        description="Predict masks for images or volumes of any size with the network of a run directory.",
    )
    options.add_argument("--run", required=True, metavar="DIR", help="what `segfocal fit` made")
    options.add_argument(
        "--images",
        required=True,
        metavar="PATH",
        help="an image or volume, a folder of them or of DICOM series, or a table with the column image",
    )
    options.add_argument(
        "--out", required=True, metavar="DIR", help="receives masks/, probabilities/, overlays/"
    )
    options.add_argument("--checkpoint", default="best", metavar="best|last|PATH", help="default: best")
    options.add_argument("--probabilities", action="store_true", help="also write 16-bit probabilities")
    options.add_argument("--posterior", action="store_true", help="undo the bias of the focal loss in scores")
    options.add_argument(
        "--overlay",
        action="store_true",
        help="also write the images with masks tinted; of volumes axial slices, right shown on the left",
    )
    options.add_argument(
        "--tta", nargs="?", const="flips", default="none", choices=_TTA, help="average over mirror images"
    )
    options.add_argument(
        "--threshold",
        type=float,
        nargs="+",
        metavar="T",
        help="one, or one per class (default: chosen on validation)",
    )
    options.add_argument(
        "--tile", type=int, metavar="N", help="edge of a tile in pixels (1024; volumes: as in training)"
    )
    options.add_argument("--device", metavar="NAME", help="cpu, cuda:0, ... (default: the best there is)")
    options.add_argument("--overwrite", action="store_true", help=OVERWRITE_HELP)
    options.add_argument("--trust", action="store_true", help=TRUST_HELP)
    return options


class Progress:
    """One line that is rewritten on a terminal, at most twenty lines elsewhere.

    Args:
        stream: Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.terminal = stream.isatty()
        self.open = False

    def show(self, done: int, total: int, name: str) -> None:
        """Write how far the prediction is, if it is time.

        Args:
            done: Images predicted.
            total: Images to predict.
            name: Of the last one.
        """
        text = f"{done}/{total} {name}"
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r\x1b[K{text[:width]}")
            self.open = True
        elif _LINES * done // total > _LINES * (done - 1) // total:
            self.stream.write(f"{text}\n")
        self.stream.flush()

    def close(self) -> None:
        """End the line that is being rewritten."""
        if self.open:
            self.stream.write("\n")
            self.open = False


def predict(argv: Sequence[str]) -> int:
    """Predict images.

    Args:
        argv: Words after ``predict``.

    Returns:
        Exit code 0, or 1 where images could not be read or predicted: they are named, the others are done.

    Raises:
        SegfocalError: For wrong options, a folder that is no run or holds no images, or a full disk.
    """
    given = parser().parse_args(argv)
    # brings torch, which --help does not need
    from segfocal.training.prediction.checks import check_wishes
    from segfocal.training.prediction.predictor import load

    options = _options(given)
    check_wishes(
        given.run,
        threshold=options.threshold,
        posterior=options.posterior,
        device=given.device,
        trust=given.trust,
    )
    job = _job(given)
    place = _claim(given, job)
    predictor = load(given.run, checkpoint=given.checkpoint, device=given.device, trust=given.trust)
    stop, progress = StopSignal(), Progress(sys.stdout)
    failed: dict[Path, str] = {}

    def after(done: int, total: int, name: str) -> None:
        progress.show(done, total, name)
        stop.raise_if_asked()  # between two images: what is written is whole

    try:
        with recorded(place), stop.listening():
            written = job.predict(
                predictor, out_dir=given.out, options=options, progress=after, failed=failed.__setitem__
            )
    finally:
        progress.close()
    example = f", e.g. {written[-1]}" if written else ""
    sys.stdout.write(
        f"{job.count - len(failed)} images predicted, {len(written)} files written to {given.out}{example}\n"
    )
    if options.overlay and predictor.task == "multiclass":
        sys.stdout.write(f"overlays leave class 0 ({predictor.class_names[0]}) without a colour\n")
    if job.note:
        sys.stdout.write(f"{job.note}\n")
    return _say_failed(failed, job.count)


def _say_failed(failed: dict[Path, str], count: int) -> int:
    """Name the images without a prediction, and return the exit code."""
    if not failed:
        return 0
    lines = [
        f"  {reason}" if str(path) in reason else f"  {path}: {reason}" for path, reason in failed.items()
    ]
    head = f"segfocal: {len(failed)} of {count} images could not be predicted:"
    sys.stderr.write("\n".join([head, *lines]) + "\n")
    return 1


@dataclass(frozen=True)
class _Job:
    """What to predict, once the images were found, and how many there are."""

    predict: Callable[..., list[Path]]
    count: int
    note: str
    stems: list[str]
    files: list[Path]


def _job(given: argparse.Namespace) -> _Job:
    """Find the images, or the volumes where the run was trained on those."""
    from segfocal.runs.info import read_info
    from segfocal.training.prediction.files import (
        is_table,
        list_images,
        passed_over,
        predict_files,
        table_files,
    )

    settings = read_info(given.run).get("preprocess", {})
    table = Path(given.images) if is_table(given.images) else None
    roots = () if table is None else (table.parent, *_trained_root(given.run))
    if "volume" not in settings:
        rows = None if table is None else table_files(table, ["image"], roots=roots)
        paths = list_images(given.images if rows is None else [files[0] for _, files in rows])
        stems = [path.stem for path in paths]
        return _Job(
            partial(predict_files, images=paths), len(paths), passed_over(given.images, paths), stems, paths
        )
    from segfocal.training.prediction.volumes import list_table, list_volumes, predict_volumes

    channels = settings.get("channels", ())
    if table is None:
        cases = list_volumes(given.images, channels=channels)
    else:
        cases = list_table(table, channels=channels, roots=roots)
    used = [path for case in cases for path in case.paths]
    predict = partial(predict_volumes, cases=cases, values=settings["values"])
    note = "" if Path(given.images) in used else passed_over(given.images, used)
    return _Job(predict, len(cases), note, [case.name for case in cases], used)


def _claim(given: argparse.Namespace, job: _Job) -> Place:
    """Check every place that results go to, before a network is loaded."""
    folders = ["masks", *["probabilities"] * given.probabilities, *["overlays"] * given.overlay]
    inputs = [given.run, given.images, *_trained_root(given.run), *job.files]
    return claim_stems(given.out, folders, job.stems, inputs=inputs, overwrite=given.overwrite)


def _trained_root(run: str) -> tuple[Path, ...]:
    """Return the folder that the paths of the training's table started from, where its settings tell."""
    from segfocal.runs.layout import RunPaths
    from segfocal.yaml_text import read_mapping

    try:
        content = read_mapping(RunPaths(run).config, what="the run's configuration")
        return (Path(content["data"]["init_args"]["root"]).expanduser(),)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):  # also of a home that nobody has
        return ()


def _options(given: argparse.Namespace) -> PredictOptions:
    from segfocal.training.prediction.files import PredictOptions
    from segfocal.training.prediction.tiles import Tiling

    thresholds = given.threshold
    return PredictOptions(
        probabilities=given.probabilities,
        overlay=given.overlay,
        posterior=given.posterior,
        tta=given.tta,
        threshold=thresholds[0] if thresholds is not None and len(thresholds) == 1 else thresholds,
        tiling=None if given.tile is None else Tiling(size=given.tile),
    )
