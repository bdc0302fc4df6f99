"""What a resumed run needs to continue bit for bit: the place in the data and the random states."""

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


def random_states() -> dict[str, Any]:
    """Return the global random states as tensors, lists and numbers, so that they load with weights_only.

    Returns:
        States of torch, its CUDA devices, numpy and Python.
    """
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "numpy": [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
        "python": [random.getstate()[0], list(random.getstate()[1]), random.getstate()[2]],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put back what `random_states` returned.

    Args:
        states: From a checkpoint; CUDA states are skipped on a machine with another number of devices.

    Example:
        >>> states = random_states()
        >>> first = torch.rand(3), np.random.rand(), random.random()
        >>> set_random_states(states)
        >>> second = torch.rand(3), np.random.rand(), random.random()
        >>> bool((first[0] == second[0]).all()), first[1:] == second[1:]
        (True, True)
    """
    torch.set_rng_state(states["torch"].cpu())
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))


def seed_epoch(epoch: int, *, rank: int) -> None:
    """Make the global randomness of an epoch (dropout) a function of the run's seed, the epoch and the rank.

    Args:
        epoch: From 0.
        rank: Of this process.
    """
    seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
    words = np.random.SeedSequence((seed, epoch, rank)).generate_state(2)
    torch.manual_seed((int(words[0]) << 31) ^ int(words[1]))
    np.random.seed(int(words[0]))  # noqa: NPY002
    random.seed(int(words[1]))


class ResumeState(Callback):
    """Saves and restores the place within the epoch and the random states; settings win over the stored."""

    def __init__(self) -> None:
        self._pending: dict[str, Any] | None = None
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
        """Seed the epoch, so that a run resumed at its beginning needs no random state."""
        seed_epoch(trainer.current_epoch, rank=trainer.global_rank)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add epoch, batches done in it, and the random states."""
        progress = trainer.fit_loop.epoch_progress.current
        begun = progress.ready > progress.completed
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready if begun else 0
        place = {"epoch": trainer.current_epoch, "batch": done, "begun": begun}
        checkpoint[_KEY] = place | {"random": random_states()}

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
        # an epoch that is yet to begin is seeded by on_train_epoch_start
        self._pending = saved if saved["begun"] else None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore the random states before the first step; making the loader drew from them."""
        if self._pending is not None:
            if batch_idx == self._pending["batch"] and trainer.current_epoch == self._pending["epoch"]:
                set_random_states(self._pending["random"])
            self._pending = None
