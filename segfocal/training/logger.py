"""The Lightning logger that writes metrics.csv of the run directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from segfocal.runs.layout import RunPaths
from segfocal.runs.log import MetricsLog


class RunLogger(Logger):
    """Appends everything that is logged to metrics.csv, one value per line.

    Lightning's own CSVLogger deletes the file when a run is resumed, and rewrites it for every new name.

    Args:
        run: The run directory's paths.
        resume_step: Step of the checkpoint that training goes on from; later lines are cut. None: a new run.
    """

    def __init__(self, run: RunPaths, *, resume_step: int | None = None) -> None:
        super().__init__()
        self._run = run
        self._log = MetricsLog(run.metrics)
        if resume_step is not None:
            self._log.cut(after_step=resume_step)

    @property
    def name(self) -> str:
        """Empty: files lie in the run directory itself."""
        return ""

    @property
    def version(self) -> str:
        """Empty, see ``name``."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self._run.root)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: config.yaml holds the settings."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append values.

        Args:
            metrics: Name to number; Lightning adds ``epoch``.
            step: Optimizer steps, counted from 0 by Lightning; written as steps taken.
        """
        epoch = int(metrics.get("epoch", 0))
        values = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        self._log.append(values, step=(step or 0) + 1, epoch=epoch)
