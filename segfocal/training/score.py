"""Score a checkpoint of a run on whole images, write the rows and print the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from segfocal.data.base import CaseData
from segfocal.data.synthetic import SyntheticData
from segfocal.data.synthetic.bayes import bayes_dice
from segfocal.errors import SegfocalError
from segfocal.models.checkpoint import load_weights, network_weights, read_checkpoint
from segfocal.runs.layout import RunPaths
from segfocal.runs.log import MetricsLog
from segfocal.runs.provenance import file_sha256
from segfocal.training.arguments import words_of_run
from segfocal.training.calibrate import find_temperature
from segfocal.training.cli import SegfocalCLI
from segfocal.training.concentration import note_absence
from segfocal.training.interrupt import StopSignal
from segfocal.training.previews import FINAL_CASES, Previews
from segfocal.training.record import groups_of, write_scores
from segfocal.training.table import (
    absent_line,
    calibration_line,
    centreline_line,
    lesion_line,
    mean_line,
    score_table,
    surface_line,
    threshold_lines,
)
from segfocal.training.task import SegmentationTask


def score(
    verb: str, argv: Sequence[str], *, run: RunPaths, path: Path, stop: StopSignal, trust: bool = False
) -> dict[str, float]:
    """Score one checkpoint.

    Args:
        verb: "validate" or "test".
        argv: Overrides of the run's configuration.
        run: The run directory's paths.
        path: The checkpoint.
        stop: Memory of SIGINT and SIGTERM.
        trust: Whether the run's configuration may name any class.

    Returns:
        Every score, named ``test/...`` or ``val/...``.

    Raises:
        SegfocalError: Where configuration, data and checkpoint contradict one another.
    """
    stage = "test" if verb == "test" else "val"
    stored = read_checkpoint(path, mmap=True)
    cli = SegfocalCLI([*words_of_run(run.config), *argv], pretrained=False, run=run.config, trust=trust)
    cli.datamodule.prepare_data()
    cli.datamodule.setup(verb)
    cli.model.prepare(cli.datamodule, verb)
    load_weights(cli.model.network, network_weights(stored), origin=path)  # or say what does not fit
    cli.checkpoints.attach(run, stop)
    previews = Previews(run, count=FINAL_CASES)
    trainer = cli.build_trainer(
        loggers=[], callbacks=[previews, cli.checkpoints], root=str(run.root), training=False
    )
    sha256 = file_sha256(path)
    cli.model.temperature = find_temperature(
        trainer, cli.model, data=cli.datamodule, argv=argv, run=run, sha256=sha256
    )
    evaluate = trainer.test if verb == "test" else trainer.validate
    evaluate(cli.model, datamodule=cli.datamodule, ckpt_path=str(path), weights_only=True, verbose=False)
    if cli.model.scores is None:
        raise SegfocalError(f"The data of {run.root} have no {stage} images: there is nothing to score.")
    values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    epoch = int(stored["epoch"]) + 1
    write_scores(
        run,
        cli.model.scores,
        stage=stage,
        sha256=sha256,
        epoch=epoch,
        groups=groups_of(cli.datamodule, stage),
        writes=trainer.is_global_zero,
        temperature=cli.model.temperature,
    )
    if trainer.is_global_zero:
        previews.write(stage, list(cli.datamodule.class_names))  # type: ignore[attr-defined]
        MetricsLog(run.metrics).append(values, step=int(stored["global_step"]), epoch=epoch)
        absent = note_absence(run, cli.model.loss)
        _print(values, cli, stage=stage, path=path, run=run, absent=absent)
    return values


def _print(
    values: dict[str, float],
    cli: SegfocalCLI,
    *,
    stage: str,
    path: Path,
    run: RunPaths,
    absent: str | None,
) -> None:
    data: Any = cli.datamodule
    short = {name.removeprefix(f"{stage}/"): value for name, value in values.items()}
    assert cli.model.scores is not None
    background = cli.model.scores.fixed.background
    images = len(groups_of(data, stage)) or len(cli.model.scores.fixed.image_names())
    table = score_table(
        short,
        data.class_names,
        title=f"{stage}: {images} images{_size(data)}, {path.name} of {run.root}",
        argmax=data.task == "multiclass",
        thresholds=cli.model.thresholds,
        bayes_dice=_bayes(data, stage),
        background=background,
    )
    console = Console()
    # a pipe has no width to respect
    Console(width=None if console.is_terminal else 120).print(table)
    unit = "mm" if isinstance(data, CaseData) and data.tile is not None else "px"
    tolerance = cli.model.test_scores.tolerance
    lines = (
        mean_line(data.class_names, background=background, argmax=data.task == "multiclass"),
        absent_line(short, data.class_names, background=background, stage=stage),
        *_thresholds(cli.model, data),
        surface_line(short, data.class_names, unit=unit, tolerance=tolerance),
        lesion_line(short, data.class_names),
        centreline_line(short, data.class_names),
        calibration_line(short),
    )
    for line in filter(None, lines):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for name, place in (
        ("cases", run.cases),
        ("curves", run.curves),
        ("calibration", run.calibration),
        ("concentration", absent or run.concentration),
        ("pictures", run.case_pictures / stage),
    ):
        console.print(f"{name}: {place}", soft_wrap=True, highlight=False)


def _thresholds(model: SegmentationTask, data: Any) -> list[str]:
    """Say which thresholds ``predict`` uses with these weights; the argmax of multiclass needs none."""
    if data.task == "multiclass":
        return []
    return threshold_lines(data.class_names, thresholds=model.thresholds, reasons=model.threshold_reasons)


def _size(data: Any) -> str:
    """Say at which size scores are, where the network sees another."""
    seen = data.network_size() if isinstance(data, CaseData) else None
    return "" if seen is None else f" at the size of their files (the network sees {seen})"


def _bayes(data: Any, stage: str) -> list[float] | None:
    """Ask generated data for the best Dice that anyone can reach."""
    if not isinstance(data, SyntheticData):
        return None
    return [float(value) for value in bayes_dice(data, "test" if stage == "test" else "val")]
