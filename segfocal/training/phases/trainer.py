"""A trainer that counts on from where an earlier one ended."""

from __future__ import annotations

import math
from typing import Any

from pytorch_lightning import Trainer


class PhaseTrainer(Trainer):
    """Lightning's trainer whose steps and epochs go on over several fits of one run.

    So the step in logs and checkpoints keeps rising, no epoch's random numbers come twice, and ``max_steps``
    and ``max_epochs`` are counted from the beginning of the run.

    Args:
        first_step: Optimizer steps taken before.
        first_epoch: Epochs begun before.
        settings: Of `pytorch_lightning.Trainer`.
    """

    def __init__(self, *, first_step: int, first_epoch: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.first_step, self.first_epoch = first_step, first_epoch
        # where Lightning counts; a checkpoint that is loaded overwrites all of it
        loop = self.fit_loop.epoch_loop
        loop.automatic_optimization.optim_progress.optimizer.step.total.completed = first_step
        loop._batches_that_stepped = first_step
        progress = self.fit_loop.epoch_progress
        for tracker in (progress.total, progress.current):
            tracker.__dict__.update(dict.fromkeys(tracker.__dict__, first_epoch))

    @property
    def steps_per_epoch(self) -> float:
        """Optimizer steps of an epoch, once the loaders are there."""
        if math.isinf(self.num_training_batches):
            return math.inf
        return math.ceil(self.num_training_batches / self.accumulate_grad_batches)

    @property
    def estimated_stepping_batches(self) -> int | float:
        """The step at which this fit ends; an earlier fit may have ended within an epoch."""
        estimate = super().estimated_stepping_batches
        if self.max_epochs == -1 or not math.isfinite(self.num_training_batches):
            return estimate
        assert self.max_epochs is not None
        by_epochs = self.first_step + int(self.steps_per_epoch) * (self.max_epochs - self.first_epoch)
        return by_epochs if self.max_steps == -1 else min(by_epochs, self.max_steps)
