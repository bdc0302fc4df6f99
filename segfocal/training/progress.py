"""Plain progress: one line per validation where no terminal shows a bar."""

from __future__ import annotations

import sys
import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer


def readable_time(seconds: float) -> str:
    """Return a duration as people write it.

    Args:
        seconds: Not negative.

    Returns:
        As ``1:02:03`` or ``2:03``.

    Example:
        >>> readable_time(3723), readable_time(123.4)
        ('1:02:03', '2:03')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class PlainProgress(Callback):
    """Writes step, losses, score and time left after each validation, and after each epoch without one.

    Args:
        monitor: Name of the score to show.
    """

    def __init__(self, monitor: str = "val/dice") -> None:
        self.monitor = monitor
        self._start = (0.0, 0)
        self._total = float("inf")
        self._shown_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and note the end: callbacks that average weights change what the trainer says."""
        self._start = (time.monotonic(), trainer.global_step)
        self._total = float(trainer.estimated_stepping_batches)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a line."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._write(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a line unless the validation just did."""
        if trainer.global_step != self._shown_step:
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        self._shown_step = trainer.global_step
        sys.stdout.write(progress_line(trainer, self.monitor, self._start, total=self._total) + "\n")
        sys.stdout.flush()


def shown(value: float | None) -> str:
    """Return a score in four digits; "-" where nothing could be scored.

    Example:
        >>> shown(0.5), shown(float("nan"))
        ('0.5000', '-')
    """
    return "-" if value is None or value != value else f"{value:.4f}"


def progress_line(trainer: Trainer, monitor: str, start: tuple[float, int], *, total: float) -> str:
    """Return one line on how far a training is.

    Args:
        trainer: The running one.
        monitor: Name of the score to show.
        start: Time and step at which this process began to train.
        total: Steps of the whole training, as its start knew them; infinite where nothing says.

    Returns:
        Epoch, step, losses and score where they are known, and the time left.
    """
    end = "" if total == float("inf") else f"/{total:.0f}"
    parts = [f"epoch {trainer.current_epoch + 1}", f"step {trainer.global_step}{end}"]
    metrics: dict[str, Any] = trainer.callback_metrics
    for name in ("train/loss", "val/loss", monitor):
        if name in metrics:
            parts.append(f"{name} {shown(float(metrics[name]))}")
    done = trainer.global_step - start[1]
    if done > 0 and total != float("inf"):
        left = (time.monotonic() - start[0]) / done * max(0.0, total - trainer.global_step)
        parts.append(f"left {readable_time(left)}")
    return "  ".join(parts)
