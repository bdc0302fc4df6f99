"""Save ``best.ckpt`` and ``last.ckpt`` whole or not at all, and stop cleanly between two steps."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, WeightAveraging

from segfocal.errors import SegfocalError, nearest
from segfocal.runs.info import checkpoint_info, read_info, update_info
from segfocal.runs.layout import RunPaths
from segfocal.runs.write import disk_error
from segfocal.training.interrupt import StopSignal

# what Lightning's loop reads as "validation began and no image is done": it is then run from the start
_VALIDATION_PENDING = {
    "total": {"ready": 1, "started": 1, "processed": 0, "completed": 0},
    "current": {"ready": 0, "started": 0, "processed": 0, "completed": 0},
    "is_last_batch": False,
}


class RunCheckpoints(Checkpoint):
    """Keeps the last state of a run and the one that scored best on validation.

    ``last.ckpt`` is written after every validation, every ``every_n_steps`` optimizer steps, when a signal
    asks to stop, and at the end; ``best.ckpt`` when the monitored metric improved or is as good as before: of
    equal ones the later weights, which have trained longer. NaN, where nothing could be scored, is no score.

    Args:
        monitor: Name of a logged validation metric.
        mode: Whether larger ("max") or smaller ("min") is better.
        every_n_steps: Optimizer steps between two saves within an epoch; None saves at validations only.
    """

    def __init__(
        self,
        monitor: str = "val/dice",
        mode: Literal["max", "min"] = "max",
        every_n_steps: int | None = None,
    ) -> None:
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.best_score: float | None = None
        self.best_step: int | None = None
        self.nan_step: int | None = None
        self.saved_step = -1
        self.total_steps = math.inf
        self.due = False
        self.gathering = False
        self.cut_short = False
        self._unvalidated_step: int | None = None
        self._end: int | None = None
        self.run = RunPaths(".")
        self.stop = StopSignal()
        self.on_best: Callable[[Trainer, LightningModule], None] | None = None

    def attach(
        self,
        run: RunPaths,
        stop: StopSignal,
        on_best: Callable[[Trainer, LightningModule], None] | None = None,
    ) -> None:
        """Say where to write and which signal to obey.

        Args:
            run: The run directory's paths.
            stop: Memory of SIGINT and SIGTERM.
            on_best: Called on every process after a new best checkpoint was written.
        """
        self.run, self.stop, self.on_best = run, stop, on_best

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know."""
        return {"best_score": self.best_score, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best score so far, as far as its checkpoint was kept."""
        self.best_score = self._kept_score()
        self.best_step = read_info(self.run).get("checkpoints", {}).get("best", {}).get("step")

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note a validation to repeat: cut short, killed before ``best.ckpt``, or where a new best begins."""
        state = checkpoint["callbacks"].get(self.state_key, {})
        stored = state.get("best_score")
        lost = stored is not None and (stored != self._kept_score() or self._other_step(state))
        if self._was_validated() if self._begins_anew() else lost:
            checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"] = _VALIDATION_PENDING
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        self._unvalidated_step = checkpoint["global_step"] if progress == _VALIDATION_PENDING else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep Lightning from leaving before the last validation, where only that is still to be done."""
        if self._unvalidated_step is not None and self._unvalidated_step == trainer.max_steps:
            self._end = trainer.max_steps
            trainer.fit_loop.epoch_loop.max_steps = self._end + 1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the steps once, and take SIGTERM back from Lightning, which would leave without saving."""
        self.total_steps = trainer.estimated_stepping_batches
        self.stop.take_over()
        if self._end is not None:
            trainer.check_val_every_n_epoch = 1
            trainer._val_check_time_interval = None  # type: ignore[attr-defined]
            trainer.val_check_batch = trainer.fit_loop.epoch_loop.batch_idx + 1

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save what is due, and stop on a signal: here the step before is done, its numbers are logged."""
        if self.gathering:
            return  # gradients of the batches before are in no checkpoint
        if trainer.global_step != self.saved_step and (self.due or self.stop.name is not None):
            with _before_this_batch(trainer):
                self.save_last(trainer)
        self.stop.raise_if_asked()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note every few steps that a save is due; ask for a validation of the very last step."""
        self.gathering = trainer.fit_loop._should_accumulate()
        if trainer.global_step >= self.total_steps or trainer.should_stop:
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = 1
        elif self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
            self.due = True  # not yet saved: the loop has still to log this step

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save and stop on a signal; a resumed run repeats the whole validation."""
        if self.stop.name is not None and trainer.state.fn == "fit" and not trainer.sanity_checking:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, WeightAveraging):  # it lent its weights to the network
                    callback.on_validation_epoch_end(trainer, pl_module)
            self.cut_short = True
            self.save_last(trainer)
        self.stop.raise_if_asked()

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop on a signal."""
        self.stop.raise_if_asked()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Mark a validation that was cut short as still to be done."""
        if self.cut_short:
            checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"] = _VALIDATION_PENDING

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, and keep a copy where the metric improved."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        score = self.monitored(trainer.callback_metrics)
        improved = self._improves(score)
        if improved:
            self.best_score, self.best_step = score, trainer.global_step
        self.nan_step = trainer.global_step if math.isnan(score) else None
        self.save_last(trainer, score=None if math.isnan(score) else score)
        if improved:
            self._keep_as_best(trainer, score)
            if self.on_best is not None:
                self.on_best(trainer, pl_module)
        if self._end is not None:
            trainer.fit_loop.epoch_loop.max_steps, self._end = self._end, None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the final state where no validation did; without validation it is the best as well."""
        if trainer.global_step != self.saved_step:
            self.save_last(trainer)
        if self.best_score is None:
            self._keep_as_best(trainer, None)
            if self.nan_step is not None and trainer.is_global_zero:
                sys.stdout.write(
                    f"{self.monitor} was nan at every validation (nothing could be scored): best.ckpt holds "
                    "the last weights\n"
                )

    def monitored(self, metrics: Mapping[str, Any]) -> float:
        """Return the value of the monitored metric.

        Args:
            metrics: What was logged.

        Returns:
            Its value.

        Raises:
            SegfocalError: If nothing of that name was logged.
        """
        check_monitor("checkpoint.monitor", self.monitor, metrics)
        return float(metrics[self.monitor])

    def save_last(self, trainer: Trainer, *, score: float | None = None) -> None:
        """Replace ``last.ckpt``.

        Args:
            trainer: Whose state to save.
            score: Of the monitored metric, for run.json.

        Raises:
            SegfocalError: If the disk is full or may not be written to; the old file stays.
        """
        last = self.run.checkpoints / "last.ckpt"
        self.saved_step, self.due = trainer.global_step, False
        _save(trainer, last)
        if trainer.is_global_zero:
            entry = checkpoint_info(last, epoch=trainer.current_epoch, step=trainer.global_step, score=score)
            update_info(self.run, checkpoints={"last": entry})

    def _begins_anew(self) -> bool:
        """Whether `segfocal.training.running.Resumption` took the score from the best so far."""
        best = read_info(self.run).get("checkpoints", {}).get("best", {})
        return "score" in best and best["score"] is None

    def _was_validated(self) -> bool:
        return read_info(self.run).get("checkpoints", {}).get("last", {}).get("score") is not None

    def _kept_score(self) -> float | None:
        return read_info(self.run).get("checkpoints", {}).get("best", {}).get("score")

    def _other_step(self, state: dict[str, Any]) -> bool:
        best = read_info(self.run).get("checkpoints", {}).get("best", {})
        return state.get("best_step", best.get("step")) != best.get("step")

    def _improves(self, score: float) -> bool:
        if math.isnan(score):
            return False
        if self.best_score is None:
            return True
        return score >= self.best_score if self.mode == "max" else score <= self.best_score

    def _keep_as_best(self, trainer: Trainer, score: float | None) -> None:
        if not trainer.is_global_zero:
            return
        best = self.run.checkpoints / "best.ckpt"
        _copy(self.run.checkpoints / "last.ckpt", best)
        step, monitor = trainer.global_step, None if score is None else self.monitor
        entry = checkpoint_info(best, epoch=trainer.current_epoch, step=step, score=score, monitor=monitor)
        update_info(self.run, checkpoints={"best": entry})


def check_monitor(option: str, monitor: str, known: Collection[str]) -> None:
    """Raise unless a monitored metric is among the names that are logged.

    Args:
        option: Where the user named it.
        monitor: The name.
        known: Names; those of validation are listed.

    Raises:
        SegfocalError: With the nearest one.
    """
    if monitor not in known:
        names = sorted(name for name in known if name.startswith("val/"))
        raise SegfocalError(
            f"{option} must name a logged validation metric, got {monitor!r}.{nearest(monitor, names)} "
            f"Logged: {', '.join(names)}."
        )


@contextmanager
def _before_this_batch(trainer: Trainer) -> Iterator[None]:
    """Let the loop's counters say that the batch which it just fetched is still to come."""
    progress = trainer.fit_loop.epoch_loop.batch_progress
    is_last = progress.is_last_batch
    progress.is_last_batch = False
    progress.total.ready -= 1
    progress.current.ready -= 1
    try:
        yield
    finally:
        progress.total.ready += 1
        progress.current.ready += 1
        progress.is_last_batch = is_last


def _save(trainer: Trainer, path: Path) -> None:
    """Write through a temporary name, so that a crash leaves the old checkpoint or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error


def _copy(source: Path, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source, temporary)  # last.ckpt is replaced, never changed, so its bytes may be shared
        except OSError:
            shutil.copyfile(source, temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise disk_error(error, path) from error
