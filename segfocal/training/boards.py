"""What TensorBoard, Weights & Biases and MLflow are shown beside scalars: pictures and hyper-parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from segfocal.runs.layout import RunPaths
from segfocal.yaml_text import read_yaml

# settings of the logging itself say nothing about the result
_NO_SETTING = ("trainer.logger", "trainer.callbacks", "trainer.default_root_dir", "trainer.plugins")


class MLFlowFiles(MLFlowLogger):
    """Lightning's MLFlowLogger for MLflow's file store, where a name cannot be a file and a folder.

    ``val/dice/lesion`` is written as ``val/dice.lesion`` beside ``val/dice``. Databases and servers need no
    such change: use ``pytorch_lightning.loggers.MLFlowLogger`` there. Arguments are its arguments.
    """

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values under names of at most one slash.

        Args:
            metrics: Name to number.
            step: Optimizer steps, counted from 0.
        """
        super().log_metrics({_one_slash(name): value for name, value in metrics.items()}, step)


def show_picture(logger: Logger, name: str, picture: npt.NDArray[np.uint8], *, step: int) -> None:
    """Log a picture where the logger takes some; metrics.csv and loggers of other kinds take none.

    Args:
        logger: Of the trainer.
        name: Its tag, such as "val/IDRiD_55".
        picture: ``(H, W, 3)``.
        step: Optimizer steps taken.
    """
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, picture, step, dataformats="HWC")
    elif isinstance(logger, WandbLogger):
        logger.log_image(name, [picture], step=step)
    elif isinstance(logger, MLFlowLogger):
        key = re.sub(r"[^\w/. -]", "_", name, flags=re.ASCII)
        logger.experiment.log_image(logger.run_id, picture, key=key, step=step)


def hyper_parameters(config: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Return the settings of a run under short names.

    Args:
        config: The content of config.yaml.

    Returns:
        Dotted name to value; a class stands under the name of its argument, its arguments below it. Settings
        that are not given are left out, lists become text.

    Example:
        >>> loss = {"class_path": "segfocal.losses.FocalLoss", "init_args": {"gamma": 2.0, "alpha": None}}
        >>> hyper_parameters({"model": {"loss": loss}})
        {'model.loss': 'FocalLoss', 'model.loss.gamma': 2.0}
    """
    found = {}
    for key, value in _leaves(config, ""):
        if value is not None and not key.startswith(_NO_SETTING):
            found[key] = value if isinstance(value, bool | int | float) else str(value)
    return found


class HyperParameters(Callback):
    """Hands the settings of config.yaml to the loggers: once, with the first score.

    TensorBoard lists a run under HPARAMS only together with a score.

    Args:
        run: The run directory's paths.
        monitor: Name of the score.
    """

    def __init__(self, run: RunPaths, *, monitor: str = "val/dice") -> None:
        self.run = run
        self.monitor = monitor
        self.told = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell after the first validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and trainer.is_global_zero:
            self._tell(trainer, trainer.loggers)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell where nothing was validated."""
        if trainer.is_global_zero:
            self._tell(trainer, trainer.loggers)

    def _tell(self, trainer: Trainer, loggers: Sequence[Logger]) -> None:
        if self.told:
            return
        self.told = True
        params = hyper_parameters(read_yaml(Path(self.run.config), what="the configuration") or {})
        known = trainer.callback_metrics
        scores = {name: float(known[name]) for name in (self.monitor, "train/loss") if name in known}
        for logger in loggers:
            if isinstance(logger, TensorBoardLogger):  # under the step at which Lightning logged the score
                logger.log_hyperparams(params, scores, max(0, trainer.global_step - 1))
            else:
                logger.log_hyperparams(params)


def _one_slash(name: str) -> str:
    first, slash, rest = name.partition("/")
    return first + slash + rest.replace("/", ".")


def _leaves(value: Any, key: str) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [(key, value)]
    if "class_path" in value:
        own = [(key, str(value["class_path"]).rsplit(".", 1)[-1])]
        return own + (_leaves(value["init_args"], key) if isinstance(value.get("init_args"), Mapping) else [])
    parts = ((f"{key}.{name}" if key else str(name), part) for name, part in value.items())
    return [leaf for name, part in parts for leaf in _leaves(part, name)]
