"""Calibration before and after: which scores can be recalibrated, and the temperature of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytorch_lightning import Trainer
from pytorch_lightning.utilities.model_helpers import is_overridden

from segfocal.data.base import CaseData
from segfocal.metrics.temperature import TemperatureFit
from segfocal.runs.info import read_info, update_info
from segfocal.runs.layout import RunPaths
from segfocal.training.record import data_sha256

if TYPE_CHECKING:
    from segfocal.training.task import SegmentationTask


def find_temperature(
    trainer: Trainer, task: SegmentationTask, *, data: Any, argv: Sequence[str], run: RunPaths, sha256: str
) -> float | None:
    """Return the temperature of a checkpoint: the one in run.json, else fitted on the validation images.

    A collective: call it on every process. Fitting is one pass over the validation images, whose result is
    kept in run.json.

    Args:
        trainer: Runs the pass.
        task: With the checkpoint's weights.
        data: The data module.
        argv: Overrides of the run's configuration.
        run: The run directory's paths.
        sha256: Of the checkpoint.

    Returns:
        None where there are no validation images, or where they are not those of the run.
    """
    info = read_info(run)
    known = info.get("temperatures", {}).get(sha256[:12])
    if known is not None:
        return known
    if not has_validation(data) or not _same_data(data, argv, known=info.get("data", {})):
        return None
    assert task.facts is not None
    task.fitting = fit = TemperatureFit(
        task.facts.task, len(task.facts.class_names), ignore_index=task.facts.ignore_index
    )
    try:
        trainer.validate(task, datamodule=data, verbose=False)
        value = float(fit.compute())
    finally:
        task.fitting = None
    if value != value:  # no labelled pixel
        return None
    if trainer.is_global_zero:
        update_info(run, temperatures={sha256[:12]: value})
    return value


def has_validation(data: Any) -> bool:
    """Return whether a data module has validation images."""
    if isinstance(data, CaseData):
        return "val" in data.splits()
    return is_overridden("val_dataloader", data)


def _same_data(data: Any, argv: Sequence[str], *, known: Mapping[str, Any]) -> bool:
    """Only overrides can change the data, and only then is it worth reading all masks to find out."""
    if not any(word.startswith(("--data", "--config")) for word in argv):
        return True
    return data_sha256(data, known=known) == known.get("sha256")
