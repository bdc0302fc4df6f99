"""A configuration as the training room reads it, tried on a labelled batch of its data; needs torch."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import nn

from segfocal.data.base import CaseData
from segfocal.errors import SegfocalError
from segfocal.training.cli import SegfocalCLI
from segfocal.training.evaluation import validation_names
from segfocal.training.phases.settings import Finetune, phases_of
from segfocal.training.prepare import check_ignored, check_tasks, resolve_loss
from segfocal.training.rebuild import build_loss
from segfocal.training.steps import evaluate_loss


def resolved(config: Path, *, verb: str, splits: Collection[str] = ()) -> tuple[str, LightningDataModule]:
    """Build network, loss and data of a configuration, and see whether they fit together.

    Args:
        config: The file.
        verb: "fit" or "finetune".
        splits: Of the data that a cell needs beside train: "val" for a search, "test".

    Returns:
        The configuration with every default, as text, and its data.

    Raises:
        SegfocalError: Saying what the parser or a class refused, or what contradicts what.
    """
    cli = SegfocalCLI(["--config", str(config)], pretrained=False)
    if verb == "finetune":
        phases_of(cli.finetune or Finetune(), ends=cli.ends)
    else:
        cli.check_end()
    data: Any = cli.datamodule
    data.prepare_data()
    data.setup("fit")
    if isinstance(data, CaseData):
        check_splits(data, splits)
    cli.model.prepare(data, "validate")  # all but the counts of the whole training split
    cli.check_monitors(validation_names(task=data.task, class_names=data.class_names))
    try_loss(cli.model.loss, data)
    return cli.dump(), data


def check_splits(data: CaseData, needed: Collection[str]) -> None:
    """Raise where the data lack a split that each cell needs after its training.

    Args:
        data: Set up.
        needed: Names of splits.

    Raises:
        SegfocalError: Naming the split.
    """
    why = {"val": "a search chooses by them", "test": "arms are compared on them"}
    for split in sorted(set(needed) - set(data.splits())):
        raise SegfocalError(
            f"the data have no {split} images, and {why[split]}. Give the split {split} some."
        )


def try_section(section: dict[str, Any], data: Any) -> None:
    """Try the loss of a section ``model`` on data that were set up for another arm.

    Args:
        section: Of the configuration.
        data: Any data module.

    Raises:
        SegfocalError: As `try_loss`.
    """
    loss = build_loss(section)
    check_tasks(task=section.get("task"), loss=loss, data_task=data.task)
    check_ignored(loss, data.ignore_index)
    try_loss(loss, data)


def try_loss(loss: nn.Module, data: Any) -> None:
    """Compute a loss and its gradient on one batch of training labels, at logits of zero.

    Args:
        loss: Any loss; one that wants counts is given equal ones.
        data: Any data module; only of ours a batch is drawn.

    Raises:
        SegfocalError: Where the loss refuses the labels, or is not finite.
    """
    if not isinstance(data, CaseData):
        return
    target = _labels(data)
    shape = (target.shape[0], data.num_classes, *target.shape[1 + (data.task == "multilabel") :])
    logits = torch.zeros(shape, requires_grad=True)
    pairs = (data.num_classes,) if data.task == "multiclass" else (data.num_classes, 2)
    common: Any = {"task": data.task, "ignore_index": data.ignore_index}
    name = type(loss).__name__
    try:
        value = evaluate_loss(resolve_loss(loss, np.ones(pairs, np.int64)), logits, target, **common).value
        value.backward()
    except Exception as error:  # a loss from elsewhere raises whatever it likes
        words = " ".join(str(error).split()) or type(error).__name__
        raise SegfocalError(f"{name} refuses a labelled batch of the data: {words}") from error
    if not bool(torch.isfinite(value)):
        raise SegfocalError(f"{name} is {float(value.detach())} on a labelled batch of the data.")


def _labels(data: CaseData) -> torch.Tensor:
    workers, data.num_workers = data.num_workers, 0
    try:
        batch: Any = next(iter(data.train_dataloader()))
    finally:
        data.num_workers = workers
    labels: torch.Tensor = batch["mask"]
    return labels
