"""Save ``best.ckpt`` and ``last.ckpt`` whole or not at all, and stop cleanly between two steps."""

from __future__ import annotations

import io
import math
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, WeightAveraging
from pytorch_lightning.plugins.io import TorchCheckpointIO

from segfocal.errors import SegfocalError, nearest
from segfocal.runs.cases import CASES_SCHEMA, read_table
from segfocal.runs.info import CheckpointInfo, checkpoint_info, read_info, update_info
from segfocal.runs.layout import RunPaths
from segfocal.runs.provenance import file_sha256
from segfocal.runs.write import disk_error, replace_synced, sync_file
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
        """Note a validation to repeat: cut short, killed before all was recorded, or of a new best."""
        state = checkpoint["callbacks"].get(self.state_key, {})
        stored = state.get("best_score")
        lost = stored is not None and (stored != self._kept_score() or self._other_step(state))
        lost = lost or self._unrecorded(checkpoint["global_step"])
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
            self._keep_as_best(trainer, pl_module, score)
            if self.on_best is not None:
                self.on_best(trainer, pl_module)
        if self._end is not None:
            trainer.fit_loop.epoch_loop.max_steps, self._end = self._end, None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the final state where no validation did; without validation it is the best as well."""
        if trainer.global_step != self.saved_step:
            self.save_last(trainer)
        if self.best_score is None:
            self._keep_as_best(trainer, pl_module, None)
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
        with _whole_file(last) as temporary:
            trainer.save_checkpoint(temporary)
            if not trainer.is_global_zero:
                return
            facts = {"epoch": trainer.current_epoch, "step": trainer.global_step, "score": score}
            entry = checkpoint_info(temporary, **facts)  # type: ignore[arg-type]
            entry["file"] = last.name
            before = self._entry("last") or CheckpointInfo(file=last.name)
            # whichever of the two files a kill leaves, run.json knows it
            update_info(self.run, checkpoints={"last": {**before, "next": entry}})
            replace_synced(temporary, last)
        update_info(self.run, checkpoints={"last": entry})

    def _begins_anew(self) -> bool:
        """Whether `segfocal.training.running.Resumption` took the score from the best so far."""
        best = self._entry("best")
        return "score" in best and best["score"] is None

    def _was_validated(self) -> bool:
        return self._entry("last").get("score") is not None

    def _kept_score(self) -> float | None:
        return self._entry("best").get("score")

    def _other_step(self, state: dict[str, Any]) -> bool:
        best = self._entry("best")
        return state.get("best_step", best.get("step")) != best.get("step")

    def _entry(self, which: str) -> CheckpointInfo:
        return read_info(self.run).get("checkpoints", {}).get(which, CheckpointInfo())

    def _unrecorded(self, step: int) -> bool:
        """Whether the best is of this step, and its validation rows were not written any more."""
        best = self._entry("best")
        if self.on_best is None or best.get("score") is None or best.get("step") != step:
            return False
        rows = read_table(self.run.cases, schema=CASES_SCHEMA).filter(pl.col("stage") == "val")
        return str(best.get("sha256"))[:12] not in rows["checkpoint"].to_list()

    def _improves(self, score: float) -> bool:
        if math.isnan(score):
            return False
        if self.best_score is None:
            return True
        return score >= self.best_score if self.mode == "max" else score <= self.best_score

    def _keep_as_best(self, trainer: Trainer, module: LightningModule, score: float | None) -> None:
        if not trainer.is_global_zero:
            return
        best = self.run.checkpoints / "best.ckpt"
        with _whole_file(best) as temporary:
            shutil.copyfile(self.run.checkpoints / "last.ckpt", temporary)  # damage to one spares the other
            sync_file(temporary)
            replace_synced(temporary, best)
        monitor = None if score is None else self.monitor
        entry = best_entry(self._entry("last"), score=score, monitor=monitor)
        thresholds = getattr(module, "thresholds", None)
        update_info(self.run, checkpoints={"best": entry}, thresholds=thresholds)


def best_entry(last: CheckpointInfo, *, score: float | None, monitor: str | None) -> CheckpointInfo:
    """Return what run.json says of ``best.ckpt``, a copy of ``last.ckpt``.

    Args:
        last: What it says of that.
        score: Of the monitored metric; None without a validation.
        monitor: That metric.

    Example:
        >>> best_entry({"file": "last.ckpt", "sha256": "ab", "step": 3}, score=0.5, monitor="val/dice")
        {'file': 'best.ckpt', 'sha256': 'ab', 'step': 3, 'score': 0.5, 'monitor': 'val/dice'}
    """
    kept = ("sha256", "epoch", "step")
    entry: Any = {"file": "best.ckpt"} | {key: value for key, value in last.items() if key in kept}
    entry |= {} if score is None else {"score": score, "monitor": monitor}
    return cast(CheckpointInfo, entry)


def complete_record(run: RunPaths, *, monitor: str) -> None:
    """Record checkpoints that took their places just before a crash, which kept run.json from saying so.

    Args:
        run: The run directory's paths.
        monitor: Metric that chose it.
    """
    known = read_info(run).get("checkpoints", {})
    best, last = known.get("best", CheckpointInfo()), known.get("last", CheckpointInfo())
    if "next" in last and _holds(run.checkpoints / "last.ckpt", last["next"].get("sha256")):
        last = cast(CheckpointInfo, last["next"])
        update_info(run, checkpoints={"last": last})
    path = run.checkpoints / "best.ckpt"
    if "sha256" not in last or best.get("sha256") == last["sha256"]:
        return
    if _holds(path, last["sha256"]):
        entry = best_entry(last, score=last.get("score"), monitor=monitor)
        update_info(run, checkpoints={"best": entry})


def _holds(path: Path, sha256: str | None) -> bool:
    return path.is_file() and file_sha256(path) == sha256


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


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside a file, whose content is to take its place; remove it where that fails."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error


class SyncedCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint where it belongs and onto the disk, not through the temporary folder."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a file and wait until it is on the disk.

        Args:
            checkpoint: What to save.
            path: A local file.
            storage_options: Not used.
        """
        content = io.BytesIO()  # torch's own writer would hide that a disk is full
        torch.save(checkpoint, content)
        with Path(path).open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
