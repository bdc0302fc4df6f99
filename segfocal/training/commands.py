"""The verbs that train and score: fit, validate, test."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer

from segfocal.errors import SegfocalError, nearest
from segfocal.models.checkpoint import load_weights, network_weights, read_checkpoint
from segfocal.runs.discard import discard_untrained
from segfocal.runs.info import create_info, read_info, update_info
from segfocal.runs.layout import RunPaths, checkpoint, open_run
from segfocal.runs.write import write_text
from segfocal.training.arguments import config_files, new_run_dir, take_option
from segfocal.training.assemble import fit_callbacks, fit_loggers, is_main_process
from segfocal.training.cli import SegfocalCLI
from segfocal.training.evaluation import validation_names
from segfocal.training.interrupt import Interrupted, StopSignal
from segfocal.training.quiet import quiet_lightning
from segfocal.training.record import describe, record_best
from segfocal.training.score import score

_RANKS_RUN = "SEGFOCAL_RUN_OF_RANK_0"


def fit(argv: Sequence[str]) -> int:
    """Train a new run, or go on with one.

    Args:
        argv: Words after ``fit``.

    Returns:
        Exit code: 0, or 130 after a signal.

    Raises:
        SegfocalError: For anything wrong in configuration, data or run directory.
    """
    if "--help-all" in argv:
        SegfocalCLI(["--help"])  # writes it and leaves
    resumed, rest = take_option(argv, "--resume")
    wanted, rest = take_option(rest, "--run")
    with quiet_lightning():
        if resumed is None:
            return _start(rest, wanted=wanted)
        if wanted is not None:
            raise SegfocalError(f"--resume {resumed} goes on in that folder: leave out --run {wanted}.")
        return _resume(rest, run=open_run(resumed, with_checkpoints=True))


def evaluate(verb: str, argv: Sequence[str]) -> int:
    """Score a run on its validation or test images and print the table.

    Args:
        verb: "validate" or "test".
        argv: Words after it.

    Returns:
        Exit code: 0, or 130 after a signal.

    Raises:
        SegfocalError: Where the run directory holds no such checkpoint, or the data have no such images.
    """
    if "--help-all" in argv:
        SegfocalCLI(["--help"])
    folder, rest = take_option(argv, "--run")
    which, rest = take_option(rest, "--checkpoint")
    if folder is None:
        raise SegfocalError(f"`segfocal {verb}` needs --run DIR, the folder that `segfocal fit` made.")
    run = open_run(folder, with_checkpoints=True)
    read_info(run)
    path = checkpoint(run, which or "best")
    stop = StopSignal()
    try:
        with quiet_lightning(), stop.listening():
            score(verb, rest, run=run, path=path, stop=stop)
    except Interrupted as signal:
        return _say_interrupted(signal, hint="")
    return 0


def _start(argv: list[str], *, wanted: str | None) -> int:
    files = config_files(argv)
    if not files:
        raise SegfocalError("`segfocal fit` needs --config X.yaml, or --resume DIR to go on with a run.")
    for file in files:
        if not Path(file).is_file():
            raise SegfocalError(
                f"--config must name a YAML file, got {file}, which does not exist.{_near(file)}"
            )
    main = is_main_process()
    run = RunPaths(new_run_dir(wanted, config=files[-1]) if main else os.environ[_RANKS_RUN])
    os.environ[_RANKS_RUN] = str(run.root)
    cli = SegfocalCLI(argv)
    cli.check_end()
    stop = StopSignal()
    with stop.listening():
        _prepare(cli)
        if main:
            fields = describe(cli.model, cli.datamodule, seed=cli.seed)
            create_info(run, command=["segfocal", "fit", *argv], **fields)
            write_text(run.config, cli.dump())
        return _train(cli, run=run, stop=stop)


def _resume(argv: list[str], *, run: RunPaths) -> int:
    info = read_info(run)
    last = checkpoint(run, "last")
    stored = read_checkpoint(last, mmap=True)
    step = int(stored["global_step"])
    cli = SegfocalCLI(["--config", str(run.config), *argv])
    cli.check_end()
    stop = StopSignal()
    with stop.listening():
        _prepare(cli)
        load_weights(cli.model.network, network_weights(stored), origin=last)  # or say what does not fit
        found = cli.datamodule.fingerprint()  # type: ignore[attr-defined]
        known = info.get("data", {}).get("sha256", found["sha256"])
        if known != found["sha256"]:
            raise SegfocalError(
                f"The data differ from those that {run.root} was trained on: sha256 {found['sha256'][:12]}, "
                f"run.json has {known[:12]}. Restore them, or train a new run with `segfocal fit --run`."
            )
        if is_main_process():
            update_info(run, status="running", reason=None)
            if argv:
                write_text(run.config, cli.dump())
        code = _train(cli, run=run, stop=stop, resume_from=str(last), step=step)
    if (
        code == 0
        and info.get("status") == "finished"
        and read_info(run)["checkpoints"]["last"]["step"] == step
    ):
        _say(f"nothing was left to train: give a later end, e.g. --trainer.max_steps {2 * step}")
    return code


def _prepare(cli: SegfocalCLI) -> None:
    """Meet every contradiction before anything is written."""
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    cli.model.prepare(cli.datamodule, "fit")
    facts = cli.model.facts
    assert facts is not None
    cli.check_monitors(validation_names(task=facts.task, class_names=facts.class_names))


def _train(
    cli: SegfocalCLI,
    *,
    run: RunPaths,
    stop: StopSignal,
    resume_from: str | None = None,
    step: int | None = None,
) -> int:
    cli.checkpoints.attach(run, stop, on_best=partial(record_best, run))
    start = time.monotonic()
    before = read_info(run).get("timings", {}).get("fit_s", 0.0)
    _say(f"run directory {run.root}")
    _say(cli.summary())
    trainer: Trainer | None = None
    try:
        trainer = cli.build_trainer(
            loggers=fit_loggers(run, resume_step=step),
            callbacks=fit_callbacks(run, cli.checkpoints),
            root=str(run.root),
        )
        trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=resume_from, weights_only=True)
        _check_trained(trainer)
    except BaseException as error:
        if resume_from is None and (trainer is None or trainer.global_step == 0) and is_main_process():
            discard_untrained(run)  # so that the same command works once its mistake is mended
        return _stopped(run, error)
    _record_end(run, status="finished", reason=None, timings={"fit_s": before + time.monotonic() - start})
    _say_finished(run, trainer.global_step)
    return 0


def _stopped(run: RunPaths, error: BaseException) -> int:
    """Record why a training ended early, as far as its folder is still there; raise all but a signal."""
    kept = run.info.is_file()
    asked = isinstance(error, Interrupted)
    status, reason = ("interrupted", str(error)) if asked else ("failed", f"{type(error).__name__}: {error}")
    if kept:
        with contextlib.suppress(SegfocalError, OSError):  # the first error is the one to show
            _record_end(run, status=status, reason=reason[:2000])
    if not isinstance(error, Interrupted):
        raise error
    return _say_interrupted(error, hint=f" Go on with: segfocal fit --resume {run.root}" if kept else "")


def _check_trained(trainer: Trainer) -> None:
    if trainer.global_step == 0:
        raise SegfocalError(
            "Not one step was trained: trainer.max_steps, max_epochs, max_time or limit_train_batches ends "
            f"before it, got max_steps {trainer.max_steps}, max_epochs {trainer.max_epochs}, "
            f"limit_train_batches {trainer.limit_train_batches}. Raise it."
        )


def _record_end(run: RunPaths, **changes: Any) -> None:
    if is_main_process():
        update_info(run, **changes)


def _near(file: str) -> str:
    path = Path(file)
    return nearest(path.name, [other.name for other in path.parent.glob("*.y*ml")])


def _say_finished(run: RunPaths, step: int) -> None:
    best = read_info(run).get("checkpoints", {}).get("best", {})
    known = (
        f", best score {best['score']:.4f} at step {best['step']}" if best.get("score") is not None else ""
    )
    _say(f"finished at step {step}{known}\nscore it: segfocal test --run {run.root}")


def _say_interrupted(signal: Interrupted, *, hint: str) -> int:
    sys.stderr.write(f"segfocal: interrupted by {signal}.{hint}\n")
    return 130


def _say(text: str) -> None:
    if is_main_process():
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
