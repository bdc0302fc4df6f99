"""The verbs that train and score: fit, validate, test."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from pytorch_lightning import Trainer

from segfocal.errors import SegfocalError
from segfocal.models.checkpoint import load_weights, network_weights
from segfocal.runs.discard import discard_untrained
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths, checkpoint, is_untrained, open_run
from segfocal.runs.lock import check_not_running, run_state
from segfocal.training.arguments import take_flag, take_option, words_of_run
from segfocal.training.assemble import fit_callbacks, fit_loggers, is_main_process
from segfocal.training.cli import SegfocalCLI
from segfocal.training.interrupt import Interrupted, StopSignal
from segfocal.training.quiet import quiet_lightning
from segfocal.training.record import record_best
from segfocal.training.running import (
    Again,
    Resumption,
    changed_data,
    changed_settings,
    check_trained,
    held,
    new_run,
    prepare,
    read_to_resume,
    record_end,
    record_start,
    say,
    say_finished,
    say_interrupted,
    stopped,
)
from segfocal.training.score import score


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
        take_over, rest = take_flag(rest, "--take-over")
        if resumed is None:
            return _start(rest, wanted=wanted, take_over=take_over)
        if wanted is not None:
            raise SegfocalError(f"--resume {resumed} goes on in that folder: leave out --run {wanted}.")
        allowed, rest = take_flag(rest, "--allow-changes")
        trust, rest = take_flag(rest, "--trust")
        run = open_run(resumed)
        with held(run, verb="fit", take_over=take_over):
            return _resume(rest, run=run, allowed=allowed, trust=trust, take_over=take_over)


def validate(argv: Sequence[str]) -> int:
    """Score a run on its validation images and print the table.

    Args:
        argv: Words after ``validate``.

    Returns:
        Exit code: 0, or 130 after a signal.

    Raises:
        SegfocalError: Where the run directory holds no such checkpoint, or the data have no such images.
    """
    return _evaluate("validate", argv)


def test(argv: Sequence[str]) -> int:
    """Score a run on its test images and print the table.

    Args:
        argv: Words after ``test``.

    Returns:
        Exit code: 0, or 130 after a signal.

    Raises:
        SegfocalError: Where the run directory holds no such checkpoint, or the data have no such images.
    """
    return _evaluate("test", argv)


def _evaluate(verb: str, argv: Sequence[str]) -> int:
    if "--help-all" in argv:
        SegfocalCLI(["--help"])
    folder, rest = take_option(argv, "--run")
    which, rest = take_option(rest, "--checkpoint")
    take_over, rest = take_flag(rest, "--take-over")
    trust, rest = take_flag(rest, "--trust")
    if folder is None:
        raise SegfocalError(f"`segfocal {verb}` needs --run DIR, the folder that `segfocal fit` made.")
    run = open_run(folder, with_checkpoints=True)
    state = run_state(run, read_info(run))
    if state.word == "unchecked":
        say(f"{run.root} is {state.text}: the scores are of its checkpoint as it is now")
    path = checkpoint(run, which or "best")
    stop = StopSignal()
    try:
        with held(run, verb=verb, take_over=take_over), quiet_lightning(), stop.listening():
            score(verb, rest, run=run, path=path, stop=stop, trust=trust)
    except Interrupted as signal:
        return say_interrupted(signal, hint="")
    return 0


def _start(argv: list[str], *, wanted: str | None, take_over: bool, again: Again | None = None) -> int:
    new = new_run(argv, verb="fit", wanted=wanted, take_over=take_over)
    cli = SegfocalCLI(argv) if again is None else SegfocalCLI(argv, run=again.config, trust=again.trust)
    if cli.finetune is not None:
        raise SegfocalError(
            "The configuration has a section finetune, which trains on from a checkpoint: "
            "segfocal finetune --config X.yaml --from CHECKPOINT."
        )
    cli.check_end()
    stop = StopSignal()
    with stop.listening():
        prepare(cli)
        with new.claim() as run:
            words = ["segfocal", "fit", *argv] if again is None else again.command
            record_start(run, cli, command=words)
            return _train(cli, run=run, stop=stop)


def _resume(argv: list[str], *, run: RunPaths, allowed: bool, trust: bool, take_over: bool) -> int:
    info = read_info(run)
    if "finetune" in info.get("extra", {}):
        raise SegfocalError(f"{run.root} is fine-tuned: go on with segfocal finetune --resume {run.root}.")
    if is_main_process():
        check_not_running(run, info, take_over=take_over)
    if is_untrained(run):
        again = Again.of(run, info, argv, trust=trust)
        return _start(again.words, wanted=str(run.root), take_over=take_over, again=again)
    last, stored = read_to_resume(run)
    step = int(stored["global_step"])
    cli = SegfocalCLI([*words_of_run(run.config), *argv], run=run.config, trust=trust)
    cli.check_end()
    changes = changed_settings(cli, run, allowed=allowed)
    stop = StopSignal()
    with stop.listening():
        prepare(cli)
        load_weights(cli.model.network, network_weights(stored), origin=last)  # or say what does not fit
        changes = changed_data(cli, run, info, changes=changes, allowed=allowed)
        command = ["fit", "--resume", str(run.root), *argv]
        resumption = Resumption(run, step, command, changes)
        code = _train(cli, run=run, stop=stop, resume_from=str(last), resumption=resumption)
    if (
        code == 0
        and info.get("status") == "finished"
        and read_info(run)["checkpoints"]["last"]["step"] == step
    ):
        say(f"nothing was left to train: give a later end, e.g. --trainer.max_steps {2 * step}")
    return code


def _train(
    cli: SegfocalCLI,
    *,
    run: RunPaths,
    stop: StopSignal,
    resume_from: str | None = None,
    resumption: Resumption | None = None,
) -> int:
    cli.checkpoints.attach(run, stop, on_best=partial(record_best, run))
    start = time.monotonic()
    before = read_info(run).get("timings", {}).get("fit_s", 0.0)
    say(f"run directory {run.root}")
    say(cli.summary())
    trainer: Trainer | None = None
    try:
        trainer = cli.build_trainer(
            loggers=fit_loggers(run, resume_step=None if resumption is None else resumption.step),
            callbacks=fit_callbacks(run, cli.checkpoints),
            root=str(run.root),
        )
        if resumption is not None:  # only now: settings that the trainer refuses are not kept
            resumption.begin(cli)
        trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=resume_from, weights_only=True)
        check_trained(trainer)
    except BaseException as error:
        if resume_from is None and (trainer is None or trainer.global_step == 0) and is_main_process():
            discard_untrained(run)  # so that the same command works once its mistake is mended
        return stopped(run, error, verb="fit")
    record_end(run, status="finished", reason=None, timings={"fit_s": before + time.monotonic() - start})
    say_finished(run, trainer.global_step, data=cli.datamodule)
    return 0
