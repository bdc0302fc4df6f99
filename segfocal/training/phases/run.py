"""Train phase after phase, each a fit of its own that begins where the run directory's last one ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from segfocal.data.base import CaseData
from segfocal.models.checkpoint import load_weights, network_weights, read_checkpoint
from segfocal.runs.discard import discard_untrained
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths, checkpoint
from segfocal.training.assemble import fit_callbacks, fit_loggers, is_main_process
from segfocal.training.cli import SegfocalCLI
from segfocal.training.guard import LossGuard
from segfocal.training.interrupt import StopSignal
from segfocal.training.phases.freezing import KeepFrozen, freeze_all_but, phase_in
from segfocal.training.phases.plan import Plan
from segfocal.training.phases.settings import ActivePhase
from segfocal.training.phases.trainer import PhaseTrainer
from segfocal.training.record import record_best
from segfocal.training.running import check_trained, record_end, say, say_finished, stopped
from segfocal.training.steps import RunningSums


@dataclass(frozen=True)
class Place:
    """Where to begin.

    Args:
        number: Of the phase, from 1.
        stored: The run's last checkpoint; None for a new run.
        within: Whether that checkpoint was written in this very phase, and not at the end of the one before.
    """

    number: int = 1
    stored: Mapping[str, Any] | None = None
    within: bool = False


def train_phases(
    cli: SegfocalCLI,
    plan: Plan,
    *,
    run: RunPaths,
    stop: StopSignal,
    place: Place,
    begin: Callable[[], None] | None = None,
) -> int:
    """Train all phases that are left.

    Args:
        cli: With the task, whose network holds the weights to begin with.
        plan: All phases.
        run: The run directory's paths.
        stop: Memory of SIGINT and SIGTERM.
        place: Where to begin.
        begin: Called once, when the first trainer was made: it keeps settings that the trainer took.

    Returns:
        Exit code: 0, or 130 after a signal.
    """
    cli.checkpoints.attach(run, stop, on_best=partial(record_best, run))
    start, before = time.monotonic(), read_info(run).get("timings", {}).get("fit_s", 0.0)
    fits = _Fits(cli, plan, run, begin)
    try:
        for number in range(place.number, len(plan.phases) + 1):
            if number > place.number:
                place = Place(number, read_checkpoint(checkpoint(run, "last"), mmap=True))
            if not fits.train(place):
                break
    except BaseException as error:
        if place == Place() and fits.step == 0 and is_main_process():
            discard_untrained(run)  # so that the same command works once its mistake is mended
        return stopped(run, error, verb="finetune")
    record_end(run, status="finished", reason=None, timings={"fit_s": before + time.monotonic() - start})
    say_finished(run, fits.step, data=cli.datamodule)
    return 0


class _Fits:
    """The fits of one process."""

    def __init__(self, cli: SegfocalCLI, plan: Plan, run: RunPaths, begin: Callable[[], None] | None) -> None:
        self.cli, self.plan, self.run, self.begin = cli, plan, run, begin
        self.trainer: PhaseTrainer | None = None

    @property
    def step(self) -> int:
        """Optimizer steps taken since the beginning of the run."""
        return 0 if self.trainer is None else self.trainer.global_step

    def train(self, place: Place) -> bool:
        """Train one phase; return whether the settings of the trainer leave room for it."""
        active = _activate(self.plan, place)
        limits = self.cli.limits
        if not active.reached(**limits):
            say(f"phase {active.phase.name!r} is not reached: trainer.max_steps or max_epochs ends before it")
            return False
        if place.stored is not None:
            self._take_over(place.stored, within=place.within)
        trainer = self.cli.build_trainer(
            loggers=fit_loggers(self.run, resume_step=_step(place.stored)),
            callbacks=[KeepFrozen(active), *fit_callbacks(self.run, self.cli.checkpoints)],
            root=str(self.run.root),
            phase=active,
        )
        assert isinstance(trainer, PhaseTrainer)
        if self.begin is not None and self.trainer is None:
            self.begin()
        self.trainer = trainer
        self._enter(active, place)
        resumed = str(checkpoint(self.run, "last")) if place.within else None
        trainer.fit(self.cli.model, datamodule=self.cli.datamodule, ckpt_path=resumed, weights_only=True)
        if not place.within:
            check_trained(trainer, since=active.first_step)
        trainer.strategy.barrier()  # the next phase begins with the file that rank 0 wrote
        step, per_epoch = trainer.global_step, trainer.steps_per_epoch
        finished = active.finished(step=step, steps_per_epoch=per_epoch, **limits)
        self._record(active, last_step=step, finished=finished)
        return True

    def _take_over(self, stored: Mapping[str, Any], *, within: bool) -> None:
        """Go on from a checkpoint: what a fit does not restore by itself."""
        task, callbacks = self.cli.model, stored["callbacks"]
        if task.penalties.start is None:
            start = callbacks["Penalties"]["start"]
            task.penalties.start = {name: value.clone() for name, value in start.items()}
        if not within:
            load_weights(task.network, network_weights(stored), origin=self.run.checkpoints / "last.ckpt")
            task.on_load_checkpoint(dict(stored))
            self.cli.checkpoints.load_state_dict(callbacks["RunCheckpoints"])

    def _enter(self, active: ActivePhase, place: Place) -> None:
        task, data = self.cli.model, self.cli.datamodule
        planned = self.plan.phases[active.number - 1]
        task.phase = active
        task.sums, task.guard = RunningSums(), LossGuard()
        task.train()
        freeze_all_but(task.network, planned.trained)
        if isinstance(data, CaseData) and not place.within:
            data.resume_at(active.first_epoch, 0)
        self._record(active)
        of = len(self.plan.phases)
        say(f"phase {active.number} of {of}, {planned.summary(of=self.plan.tensors)}")

    def _record(self, active: ActivePhase, *, last_step: int | None = None, finished: bool = False) -> None:
        """Note in run.json which phase is being trained, and where those before it ended."""
        if not is_main_process():
            return
        facts = dict(read_info(self.run)["extra"]["finetune"])
        phases = [dict(phase) for phase in facts["phases"]]
        known = {"first_step": active.first_step, "last_step": last_step, "finished": finished}
        phases[active.number - 1] |= known
        current = {"name": active.phase.name, "number": active.number}
        record_end(self.run, extra={"finetune": facts | {"phases": phases, "phase": current}})


def _activate(plan: Plan, place: Place) -> ActivePhase:
    """Say where a phase began, or begins: epochs are not shared by two phases."""
    phase = plan.phases[place.number - 1].phase
    if place.stored is None:
        return ActivePhase(phase, place.number, 0, 0)
    if place.within:
        mark = phase_in(place.stored)
        assert mark is not None
        return ActivePhase(phase, place.number, mark["first_step"], mark["first_epoch"])
    epochs = place.stored["loops"]["fit_loop"]["epoch_progress"]["current"]["ready"]
    return ActivePhase(phase, place.number, int(place.stored["global_step"]), int(epochs))


def _step(stored: Mapping[str, Any] | None) -> int | None:
    return None if stored is None else int(stored["global_step"])
