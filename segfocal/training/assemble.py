"""The callbacks and loggers that every training has, in their order."""

from __future__ import annotations

import os
import sys

from pytorch_lightning import Callback
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from segfocal.runs.layout import RunPaths
from segfocal.training.boards import HyperParameters
from segfocal.training.checkpoints import RunCheckpoints
from segfocal.training.logger import RunLogger
from segfocal.training.previews import Previews
from segfocal.training.progress import PlainProgress
from segfocal.training.resume import ResumeState


def is_main_process() -> bool:
    """Return whether this process writes: the only one, or the first of a distributed run."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("LOCAL_RANK", "NODE_RANK", "RANK"))


def fit_callbacks(run: RunPaths, checkpoints: RunCheckpoints) -> list[Callback]:
    """Return what runs beside the callbacks of the configuration.

    Args:
        run: The run directory's paths.
        checkpoints: Attached to the run.

    Returns:
        Callbacks; the one that saves comes last, so that it sees what the others did.
    """
    bar = RichProgressBar() if sys.stderr.isatty() else PlainProgress(checkpoints.monitor)
    settings = HyperParameters(run, monitor=checkpoints.monitor)
    return [ResumeState(), Previews(run), settings, bar, checkpoints]


def fit_loggers(run: RunPaths, *, resume_step: int | None) -> list[Logger]:
    """Return metrics.csv and TensorBoard.

    Args:
        run: The run directory's paths.
        resume_step: Step of the checkpoint that training goes on from, or None.

    Returns:
        Loggers.
    """
    board = TensorBoardLogger(run.root, name=run.boards.name, version="", default_hp_metric=False)
    return [RunLogger(run, resume_step=resume_step), board]
