"""What a resumed run needs to continue bit for bit: the place in the data; steps are seeded by theirs."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping

from segfocal.data.base import CaseData

_KEY = "segfocal_resume"


def seed_step(epoch: int, batch: int, *, rank: int) -> None:
    """Make the global randomness of a step (dropout) a function of the run's seed, its place and the rank.

    What draws between two steps (loaders, their workers or none, validation) then changes no weight, and a
    resumed run needs no random state.

    Args:
        epoch: From 0.
        batch: From 0, within the epoch.
        rank: Of this process.
    """
    seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
    words = np.random.SeedSequence((seed, epoch, batch, rank)).generate_state(2)
    torch.manual_seed((int(words[0]) << 31) ^ int(words[1]))
    np.random.seed(int(words[0]))  # noqa: NPY002
    random.seed(int(words[1]))


class ResumeState(Callback):
    """Saves and restores the place within the epoch and seeds each step; settings win over the stored."""

    def __init__(self) -> None:
        self._patience: list[tuple[EarlyStopping, int]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note the patience that the configuration gives: the checkpoint's would take its place."""
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        self._patience = [(each, each.patience) for each in callbacks if isinstance(each, EarlyStopping)]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the configured patience win over the stored one."""
        for callback, patience in self._patience:
            callback.patience = patience

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed what is drawn before the first step, such as the order of someone's own data."""
        seed_step(trainer.current_epoch, 0, rank=trainer.global_rank)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed the step."""
        seed_step(trainer.current_epoch, batch_idx, rank=trainer.global_rank)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add epoch and batches done in it."""
        progress = trainer.fit_loop.epoch_progress.current
        begun = progress.ready > progress.completed
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready if begun else 0
        checkpoint[_KEY] = {"epoch": trainer.current_epoch, "batch": done, "begun": begun}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Send the data to the place of the checkpoint, before any loader is made."""
        if trainer.state.fn != "fit" or _KEY not in checkpoint:
            return
        saved = checkpoint[_KEY]
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, CaseData):
            data.resume_at(saved["epoch"], saved["batch"])
