"""Score a checkpoint of a run on whole images, write the rows and print the table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from segfocal.data.base import CaseData, Split
from segfocal.data.synthetic import SyntheticData
from segfocal.data.synthetic.bayes import bayes_dice
from segfocal.errors import SegfocalError
from segfocal.models.checkpoint import load_weights, network_weights, read_checkpoint
from segfocal.runs.layout import RunPaths
from segfocal.runs.log import MetricsLog
from segfocal.runs.provenance import file_sha256
from segfocal.training.arguments import words_of_run
from segfocal.training.assemble import is_main_process
from segfocal.training.calibrate import find_temperature
from segfocal.training.checkpoints import complete_record
from segfocal.training.cli import SegfocalCLI
from segfocal.training.concentration import note_absence
from segfocal.training.interrupt import StopSignal
from segfocal.training.prepare import background_note
from segfocal.training.previews import FINAL_CASES, Previews
from segfocal.training.record import groups_of, write_scores
from segfocal.training.table import (
    absent_line,
    calibration_line,
    centreline_line,
    empty_line,
    lesion_line,
    mean_line,
    score_table,
    surface_line,
    threshold_lines,
)
from segfocal.training.task import SegmentationTask
from segfocal.yaml_text import read_yaml


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
    stage: Split = "test" if verb == "test" else "val"
    stored = read_checkpoint(path, mmap=True)
    words = words_of_run(run.config)
    trained_in = training_precision(run.config)
    # in float32, as `predict` computes
    words += [] if trained_in is None else ["--trainer.precision", "32-true"]
    cli = SegfocalCLI([*words, *argv], pretrained=False, run=run.config, trust=trust)
    if is_main_process():
        complete_record(run, monitor=cli.checkpoints.monitor)
    cli.datamodule.prepare_data()
    _need_images(cli.datamodule, stage, run=run)
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
    step, epoch = int(stored["global_step"]), int(stored["epoch"]) + 1
    if trainer.is_global_zero:
        names = list(cli.datamodule.class_names)  # type: ignore[attr-defined]
        previews.write(stage, names, checkpoint=sha256)
        MetricsLog(run.metrics).replace(values, step=step, epoch=epoch)
    write_scores(
        run,
        cli.model.scores,
        stage=stage,
        sha256=sha256,
        epoch=epoch,
        step=step,
        groups=groups_of(cli.datamodule, stage),
        writes=trainer.is_global_zero,
        temperature=cli.model.temperature,
    )
    if trainer.is_global_zero:
        absent = note_absence(run, cli.model.loss)
        said = precision_line(str(trainer.precision), trained_in=trained_in)
        _print(values, cli, stage=stage, path=path, run=run, absent=absent, precision=said)
    return values


def training_precision(config: Path) -> str | None:
    """Return the precision that a run was trained in; None for float32.

    Args:
        config: The run's config.yaml.
    """
    trainer = read_yaml(config, what="the run's configuration").get("trainer") or {}
    precision = trainer.get("precision") if isinstance(trainer, dict) else None
    return None if precision in (None, "32-true", "32", 32) else str(precision)


def precision_line(used: str, *, trained_in: str | None) -> str:
    """Say in which precision scores were computed, where it is not that of the training or of ``predict``.

    Args:
        used: Of the trainer that scored.
        trained_in: As ``training_precision`` returns it.

    Example:
        >>> precision_line("bf16-mixed", trained_in="bf16-mixed")
        'scored in bf16-mixed; `predict` computes in float32, so that masks may differ in a few pixels'
    """
    if used != "32-true":
        return f"scored in {used}; `predict` computes in float32, so that masks may differ in a few pixels"
    return "" if trained_in is None else f"scored in float32, as `predict` computes (trained in {trained_in})"


def _need_images(data: Any, stage: Split, *, run: RunPaths) -> None:
    """Raise where there is nothing to score, with the verb that has something.

    Raises:
        SegfocalError: Likewise.
    """
    if not isinstance(data, CaseData) or len(data.cases(stage)):
        return
    names: dict[Split, tuple[str, str]] = {"val": ("validation", "validate"), "test": ("test", "test")}
    other: Split = "val" if stage == "test" else "test"
    count, (word, verb) = len(data.cases(other)), names[other]
    out = f"Score the {count} {word} images with `segfocal {verb} --run {run.root}`, or give" if count else ""
    raise SegfocalError(
        f"the data of {run.root} have no labelled {names[stage][0]} images: there is nothing to score. "
        f"{out or 'Give'} the split {stage} of the data some."
    )


def _print(
    values: dict[str, float],
    cli: SegfocalCLI,
    *,
    stage: str,
    path: Path,
    run: RunPaths,
    absent: str | None,
    precision: str,
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
        empty_line(cli.model.empty),
        _unlabelled(short, stage, run=run),
        background_note(data),
        *_thresholds(cli.model, data),
        surface_line(short, data.class_names, unit=unit, tolerance=tolerance),
        lesion_line(short, data.class_names),
        centreline_line(short, data.class_names),
        calibration_line(short),
        precision,
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


def _unlabelled(values: Mapping[str, float], stage: str, *, run: RunPaths) -> str:
    """Say where not one pixel has a label, so that there is not even a calibration."""
    if stage != "test" or not math.isnan(values["ece"]):
        return ""
    return f"no pixel of the test images has a label that counts; see `segfocal validate --run {run.root}`"


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
