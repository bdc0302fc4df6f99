"""``segfocal finetune``: train on from any checkpoint, in phases."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from segfocal.errors import SegfocalError, nearest
from segfocal.models.checkpoint import load_weights, network_weights
from segfocal.models.pretrained import load_pretrained
from segfocal.models.weights_find import find_weights
from segfocal.models.weights_report import LoadReport
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths, is_untrained, open_run
from segfocal.runs.lock import check_not_running
from segfocal.training.arguments import take_flag, take_option, words_of_run
from segfocal.training.assemble import is_main_process
from segfocal.training.cli import SegfocalCLI
from segfocal.training.help import write_help
from segfocal.training.interrupt import StopSignal
from segfocal.training.phases.freezing import phase_in
from segfocal.training.phases.plan import Plan
from segfocal.training.phases.run import Place, train_phases
from segfocal.training.phases.settings import Finetune, phases_of
from segfocal.training.prepare import prior_bias
from segfocal.training.quiet import quiet_lightning
from segfocal.training.running import (
    Again,
    Resumption,
    changed_data,
    changed_settings,
    held,
    new_run,
    prepare,
    read_to_resume,
    record_start,
    say,
)
from segfocal.training.task import SegmentationTask


def finetune(argv: Sequence[str]) -> int:
    """Fine-tune a checkpoint in a new run, or go on with one.

    Args:
        argv: Words after ``finetune``.

    Returns:
        Exit code: 0, or 130 after a signal.

    Raises:
        SegfocalError: For anything wrong in configuration, checkpoint, data or run directory; nothing has
            been written then.
    """
    if write_help("finetune", argv):
        return 0
    if "--help-all" in argv:
        SegfocalCLI(["--help"])  # writes it and leaves
    resumed, rest = take_option(argv, "--resume")
    wanted, rest = take_option(rest, "--run")
    source, rest = take_option(rest, "--from")
    with quiet_lightning():
        take_over, rest = take_flag(rest, "--take-over")
        if resumed is None:
            return _start(rest, wanted=wanted, source=source, take_over=take_over)
        for option, value in (("--run", wanted), ("--from", source)):
            if value is not None:
                raise SegfocalError(f"--resume {resumed} goes on in that folder: leave out {option} {value}.")
        allowed, rest = take_flag(rest, "--allow-changes")
        trust, rest = take_flag(rest, "--trust")
        run = open_run(resumed)
        with held(run, verb="finetune", take_over=take_over):
            return _resume(rest, run=run, allowed=allowed, trust=trust, take_over=take_over)


def _start(
    argv: list[str], *, wanted: str | None, source: str | None, take_over: bool, again: Again | None = None
) -> int:
    new = new_run(argv, verb="finetune", wanted=wanted, take_over=take_over)
    path = _existing(source)
    known: dict[str, Any] = {} if again is None else {"run": again.config, "trust": again.trust}
    cli = SegfocalCLI(argv, pretrained=False, **known)
    settings = cli.finetune or Finetune()
    find_weights(path, checkpoint=settings.checkpoint)
    phases = phases_of(settings, ends=cli.ends)
    stop = StopSignal()
    with stop.listening():
        prepare(cli)  # a model.head_prior acts here; a head of the checkpoint takes its place
        plan = Plan.of(cli.model, phases)
        report = _load(cli.model, path, settings, data=cli.datamodule)
        facts = {"report": report.to_dict(), "phases": plan.facts(), "phase": None}
        words = ["segfocal", "finetune", "--from", str(path), *argv] if again is None else again.command
        with new.claim() as run:
            cli.config.finetune = cli.config.finetune or {}
            record_start(run, cli, command=words, finetune=facts)
            say(f"run directory {run.root}")
            say(f"{report}\n{cli.summary()}")
            return train_phases(cli, plan, run=run, stop=stop, place=Place())


def _resume(argv: list[str], *, run: RunPaths, allowed: bool, trust: bool, take_over: bool) -> int:
    info = read_info(run)
    facts = info.get("extra", {}).get("finetune")
    if facts is None:
        raise SegfocalError(f"{run.root} is no fine-tuning: go on with segfocal fit --resume {run.root}.")
    if is_main_process():
        check_not_running(run, info, take_over=take_over)
    if is_untrained(run):
        again = Again.of(run, info, argv, trust=trust)
        source, words = take_option(again.words, "--from")
        return _start(words, wanted=str(run.root), source=source, take_over=take_over, again=again)
    last, stored = read_to_resume(run)
    words = [*words_of_run(run.config), *argv]
    cli = SegfocalCLI(words, pretrained=False, run=run.config, trust=trust)
    phases = phases_of(cli.finetune or Finetune(), ends=cli.ends)
    changes = changed_settings(cli, run, allowed=allowed)
    step, stop = int(stored["global_step"]), StopSignal()
    with stop.listening():
        prepare(cli)
        load_weights(cli.model.network, network_weights(stored), origin=last)  # or say what does not fit
        changes = changed_data(cli, run, info, changes=changes, allowed=allowed)
        plan = Plan.of(cli.model, phases)
        place = _place(facts, stored, plan)
        say(f"run directory {run.root}")
        command = ["finetune", "--resume", str(run.root), *argv]
        known = facts | {"phases": _updated(facts["phases"], plan)}
        resumption = Resumption(run, step, command, changes)
        begin = partial(resumption.begin, cli, extra={"finetune": known})
        code = train_phases(cli, plan, run=run, stop=stop, place=place, begin=begin)
    if code == 0 and info["status"] == "finished" and read_info(run)["checkpoints"]["last"]["step"] == step:
        say("nothing was left to train: give the last phase a later end, or add a phase")
    return code


def _updated(known: list[dict[str, Any]], plan: Plan) -> list[dict[str, Any]]:
    """Put what the configuration says now over what run.json says, which keeps first and last steps."""
    more: list[dict[str, Any]] = [{}] * (len(plan.phases) - len(known))
    return [old | new for old, new in zip([*known, *more], plan.facts(), strict=False)]


def _place(facts: dict[str, Any], stored: dict[str, Any], plan: Plan) -> Place:
    """Find the phase to go on with: the one of the checkpoint, or the next where run.json says it is done."""
    mark = phase_in(stored)
    assert mark is not None
    number = int(mark["number"])
    plan.check_continues(facts["phases"], number=number)
    known = facts["phases"][number - 1]
    done = known.get("finished") and known.get("last_step") == int(stored["global_step"])
    if done and number < len(plan.phases):
        return Place(number + 1, stored)
    return Place(number, stored, within=True)


def _existing(source: str | None) -> str:
    if source is None:
        raise SegfocalError(
            "`segfocal finetune` needs --from CHECKPOINT: a weights file, a run directory, a save_pretrained "
            "directory or a MONAI bundle. `segfocal fit` trains from nothing."
        )
    path = Path(source)
    if not path.exists():
        near = nearest(path.name, [other.name for other in path.parent.glob("*")])
        raise SegfocalError(f"--from must name a file or folder, got {source}, which does not exist.{near}")
    return source


def _load(task: SegmentationTask, path: str, settings: Finetune, *, data: Any) -> LoadReport:
    """Load the weights; they are the start that L2-SP and the logged distances refer to."""
    facts, bias = task.facts, None
    assert facts is not None
    if settings.head_prior is not None:
        bias = prior_bias(settings.head_prior, task=facts.task, counts=np.asarray(task.class_counts))
    report = load_pretrained(
        task.network,
        path,
        checkpoint=settings.checkpoint,
        first_conv=settings.first_conv,
        in_channels=data.in_channels,
        min_matched=settings.min_matched,
        new_head=settings.new_head,
        head_prior=bias,
        divisor=facts.divisor,
    )
    new = [name for name, _ in task.network.named_parameters() if report.is_new(name)]
    task.penalties.start_from(task.network, new=new)
    return report
