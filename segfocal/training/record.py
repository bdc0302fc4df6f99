"""What a run writes about itself: data and alpha in run.json, rows of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from torch import nn

from segfocal.data.base import CaseData
from segfocal.metrics.masks import with_columns
from segfocal.runs.calibration import write_calibration
from segfocal.runs.cases import CASES_SCHEMA, replace_rows, write_cases
from segfocal.runs.concentration import write_concentration
from segfocal.runs.curves import write_curves
from segfocal.runs.data_files import write_data_files
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths
from segfocal.training.evaluation import StageScores
from segfocal.training.prepare import background_of, resolved_alpha
from segfocal.training.task import SegmentationTask


def describe(task: SegmentationTask, data: Any, *, seed: Any) -> dict[str, Any]:
    """Return what run.json says about data, classes and alpha.

    Args:
        task: Prepared for the data.
        data: The data module.
        seed: What seeded the process.

    Returns:
        Fields for ``create_info``.
    """
    fields: dict[str, Any] = {
        "task": data.task,
        "num_classes": data.num_classes,
        "class_names": list(data.class_names),
        "background": background_of(data),
        "in_channels": data.in_channels,
        "parameters": count_parameters(task.network),
        "ignore_index": data.ignore_index,
        "data": data.fingerprint(),
        "class_counts": task.class_counts,
        "alpha": _plain(resolved_alpha(task.loss)),
        "seeds": {"process": int(seed)},
    }
    if task.penalties.terms:
        fields["extra"] = {"penalties": task.penalties.describe(task.network)}
    if isinstance(data, CaseData):
        fields["preprocess"] = data.preprocess_settings()
        fields["seeds"]["data"] = data.seed
    return fields


def data_sha256(data: Any, *, known: Mapping[str, Any]) -> str:
    """Return the hash of data as a run recorded them: by the content of all files, or the earlier way.

    Args:
        data: The data module.
        known: What its run.json says about data; without ``splits`` an earlier version wrote it.
    """
    if isinstance(data, CaseData) and is_former(known):
        return data.former_sha256()
    return str(data.fingerprint()["sha256"])


def is_former(known: Mapping[str, Any]) -> bool:
    """Return whether a run recorded images by their names and sizes alone, as earlier versions did.

    Args:
        known: What its run.json says about data.
    """
    return "sha256" in known and "splits" not in known


def record_files(run: RunPaths, data: Any) -> None:
    """Write what each file of the data holds, so that later changes are named.

    Args:
        run: The run directory's paths.
        data: The data module; one of other libraries has no files that are known.
    """
    if isinstance(data, CaseData):
        write_data_files(run.data_files, data.file_hashes())


def count_parameters(network: nn.Module) -> dict[str, int]:
    """Return how many numbers a network learns and holds.

    Args:
        network: Any module.

    Returns:
        Counts under "trainable" and "total", without buffers.

    Example:
        >>> count_parameters(nn.Linear(2, 3))
        {'trainable': 9, 'total': 9}
    """
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    return {
        "trainable": sum(size for size, learns in sizes if learns),
        "total": sum(size for size, _ in sizes),
    }


def groups_of(data: LightningDataModule, stage: str) -> dict[str, str]:
    """Return the group (patient, sequence) of every image of a split.

    Args:
        data: Any data module; foreign ones have none.
        stage: "val" or "test".

    Returns:
        Image name to group.
    """
    if not isinstance(data, CaseData):
        return {}
    source = data.cases("test" if stage == "test" else "val").source
    return dict(zip(source.names, source.groups, strict=True))


def write_scores(
    run: RunPaths,
    scores: StageScores,
    *,
    stage: str,
    sha256: str,
    epoch: int,
    step: int,
    groups: dict[str, str],
    writes: bool,
    temperature: float | None = None,
) -> None:
    """Write rows of cases.parquet, and of the other tables what was gathered for them; collective.

    Readers ask cases.parquet first, so its rows come last: what is there is complete.

    Args:
        run: The run directory's paths.
        scores: After a pass over all images.
        stage: "val" or "test".
        sha256: Of the checkpoint.
        epoch: Epochs behind its weights.
        step: Optimizer steps behind them.
        groups: Image name to group.
        writes: Whether this process is the one that writes.
        temperature: What the logits were divided by for the kind "temperature".
    """
    fixed = with_columns(scores.fixed.cases(), scores.fixed_masks())
    tuned = [] if scores.tuned is None else with_columns(scores.tuned.cases(), scores.tuned_masks())
    kinds: dict[Any, Any] = (
        {} if scores.curves is None else {"raw": scores.curves, **scores.recalibrated_curves()}
    )
    tables = {kind: (metric.curves(), metric.likelihoods()) for kind, metric in kinds.items()}
    spread = None if scores.concentration is None else scores.concentration.histograms()
    if not writes:
        return
    divided = {"raw": 1.0, "temperature": temperature, "posterior": None}
    for kind, (bins, sums) in tables.items():
        same: dict[str, Any] = {"stage": stage, "checkpoint": sha256, "kind": kind}
        write_curves(run, bins, **same)
        write_calibration(run, sums, temperature=divided[kind], **same)
    if spread is not None:
        name = str(scores.pixel_loss_name)
        write_concentration(run, spread, stage=stage, checkpoint=sha256, loss_name=name)
    common: dict[str, Any] = {"stage": stage, "checkpoint": sha256, "epoch": epoch, "step": step}
    if tuned:
        write_cases(run, tuned, threshold_kind="tuned", groups=groups, **common)
    kind = "argmax" if scores.fixed.task == "multiclass" else "fixed"
    write_cases(run, fixed, threshold_kind=kind, groups=groups, **common)  # type: ignore[arg-type]


def record_best(run: RunPaths, trainer: Trainer, module: LightningModule) -> None:
    """Put the validation rows of a new best checkpoint in place of the former best's.

    A kill leaves no rows, or rows that name another checkpoint: a resumed run then validates again.

    Args:
        run: The run directory's paths.
        trainer: At the end of a validation.
        module: The task.
    """
    assert isinstance(module, SegmentationTask)
    assert module.scores is not None
    writes, sha256 = trainer.is_global_zero, ""
    if writes:
        sha256 = read_info(run)["checkpoints"]["best"]["sha256"]
        replace_rows(run.cases, CASES_SCHEMA.to_frame(), same={"stage": "val"})
    write_scores(
        run,
        module.scores,
        stage="val",
        sha256=sha256,
        epoch=trainer.current_epoch + 1,
        step=trainer.global_step,
        groups=groups_of(trainer.datamodule, "val"),  # type: ignore[attr-defined]
        writes=writes,
    )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, torch.Tensor) else value
