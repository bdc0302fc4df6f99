"""SegmentationTask: one step for training, validation and test, for every task and number of axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from pytorch_lightning import Callback
from pytorch_lightning.core.mixins.hparams_mixin import _given_hyperparameters
from torch import Tensor, nn

from segfocal.data.base import CaseData
from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.losses import SegmentationLoss
from segfocal.models.changes import Change
from segfocal.models.outputs import as_supervised
from segfocal.models.trainable import check_weights
from segfocal.runs.scores import Empty
from segfocal.training import optim
from segfocal.training.evaluation import StageScores
from segfocal.training.final_scores import FinalScores
from segfocal.training.guard import LossGuard
from segfocal.training.loss_schedule import LossSchedule
from segfocal.training.matching import REFERENCES, GradientMatch, Reference
from segfocal.training.penalties import Penalty
from segfocal.training.penalties.callback import Penalties
from segfocal.training.phases.learning_rates import optimizer_of, schedule_of
from segfocal.training.phases.settings import ActivePhase
from segfocal.training.prediction.tiles import scoring_tiling
from segfocal.training.prepare import (
    DataFacts,
    background_of,
    check_axes,
    check_head,
    check_ignored,
    check_logits,
    check_patches,
    check_tasks,
    find_divisor,
    patch_of,
    plain_settings,
    resolve_loss,
    spatial_dims,
    start_at_prior,
)
from segfocal.training.scoring import ScoringModule, TakesLogits
from segfocal.training.steps import RunningSums, dataset_dice, evaluate_loss


class SegmentationTask(ScoringModule):
    """A network, a loss and how to optimise them.

    What depends on the data (alpha, head bias, class names) is settled in ``setup("fit")`` from the training
    split alone. Metrics come from counts; those of training from the loss's own pass.

    Args:
        network: Images ``(N, Cin, *S)`` to logits ``(N, C, *S)``, two or three spatial axes.
        loss: A segfocal loss, or any module called as ``loss(logits, target)``.
        changes: Of the network, applied in their order: ``segfocal.models.Dropout``, ``Pooling``.
        penalties: ``L1``, ``L2``, ``L2SP``, ``ConfidencePenalty`` of ``segfocal.training.penalties``.
        match_gradient: "cross_entropy" rescales the loss in each step so that its gradient at the logits has
            the norm of cross-entropy's; for comparisons beside SGD.
        loss_schedule: gamma and alpha by epoch, as ``{gamma: {0: 0.0, 10: 2.0}}``: `LossSchedule`.
        task: "binary", "multiclass" or "multilabel"; None takes the data's.
        optimizer: "adamw" or "sgd".
        learning_rate: Its peak.
        weight_decay: Of weights; biases and normalisation layers are exempt.
        momentum: Of SGD.
        decay_norm_and_bias: Whether those decay as well.
        schedule: "cosine", "poly" or "constant".
        warmup_steps: Steps of linear rise before it.
        head_prior: "measured" sets the head's bias to the class frequencies of the training split, a number
            to that foreground frequency, None leaves it. For new heads only.
        channels_last: Whether network and images use that memory format (two spatial axes only).
        compile: Whether the network runs through ``torch.compile``.
        divisor: Multiple of the image sizes that the network takes; None finds it.
        empty: What empty masks score: "one", "nan" or "exclude", see ``segfocal.runs.scores.dice``.
        test_scores: What validate and test record beside counts and curves; None: HD95 and NSD.

    Example:
        >>> from segfocal.losses import FocalLoss
        >>> task = SegmentationTask(nn.Conv2d(3, 1, 1), FocalLoss("binary"), learning_rate=0.01)
        >>> task(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 1, 8, 8])
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        changes: list[Change] | None = None,
        penalties: list[Penalty] | None = None,
        match_gradient: Reference | None = None,
        loss_schedule: dict[str, dict[int, float | list[float]]] | None = None,
        task: Literal["binary", "multiclass", "multilabel"] | None = None,
        optimizer: Literal["adamw", "sgd"] = "adamw",
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        momentum: float = 0.9,
        decay_norm_and_bias: bool = False,
        schedule: Literal["cosine", "poly", "constant"] = "cosine",
        warmup_steps: int = 0,
        head_prior: Literal["measured"] | float | None = None,
        channels_last: bool = False,
        compile: bool = False,
        divisor: int | None = None,
        empty: Empty = "nan",
        test_scores: FinalScores | None = None,
    ) -> None:
        super().__init__()
        check_choice("schedule", schedule, optim.SCHEDULES)
        check_choice("optimizer", optimizer, optim.OPTIMIZERS)
        check_range("model.learning_rate", learning_rate, low=0.0, open_low=True)
        check_range("model.weight_decay", weight_decay, low=0.0)
        check_range("model.momentum", momentum, low=0.0, high=1.0, open_high=True)
        check_range("model.warmup_steps", warmup_steps, low=0)
        if match_gradient is not None:
            check_choice("match_gradient", match_gradient, REFERENCES)
        self._save_settings(locals())
        for change in changes or ():
            change.apply(network)
        self.network = network.to(memory_format=torch.channels_last) if channels_last else network
        self.loss = loss
        self.task = task
        self.channels_last = channels_last
        self.divisor = divisor
        self.empty: Empty = empty
        self.test_scores = test_scores or FinalScores()
        self.head_prior = head_prior
        self.thresholds: list[float] | None = None
        self.threshold_reasons: list[str] | None = None
        self.class_counts: list[Any] | None = None
        self.facts: DataFacts | None = None
        self.note: str | None = None
        self.scores: StageScores | None = None
        self.temperature: float | None = None
        self.fitting: TakesLogits | None = None
        self.sums = RunningSums()
        self.guard = LossGuard()
        self.penalties = Penalties(penalties or ())
        self.matching = GradientMatch(match_gradient)
        self.loss_schedule = LossSchedule(loss_schedule)
        self.phase: ActivePhase | None = None
        self.total_steps = math.inf
        if compile:
            self.network.compile(dynamic=False)

    def forward(self, images: Tensor) -> Any:
        """Return what the network makes of images: logits, or a list that begins with them."""
        return self.network(images)

    def setup(self, stage: str) -> None:
        """Match network, loss and data, unless that was done before.

        Args:
            stage: "fit", "validate" or "test".

        Raises:
            SegfocalError: Where they contradict one another.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None:
            raise SegfocalError(
                "SegmentationTask needs a data module, got loaders. Pass trainer.fit(task, datamodule=...)."
            )
        self.prepare(data, stage)

    def prepare(self, data: Any, stage: str) -> None:
        """Settle once what depends on the data; callbacks that copy the weights must come later.

        Args:
            data: A data module, as ``segfocal.data.base.CaseData``.
            stage: "fit", "validate" or "test"; only "fit" reads training labels.

        Raises:
            SegfocalError: Where network, loss and data contradict one another.
        """
        if self.facts is not None:
            return
        task = check_tasks(task=self.task, loss=self.loss, data_task=data.task)
        check_ignored(self.loss, data.ignore_index)
        self.test_scores.check(data.class_names, background=background_of(data))
        axes = spatial_dims(self.network)
        if stage == "fit":
            check_weights(self.network)
            check_axes(self.network, data, spatial_dims=axes)
        divisor = find_divisor(self.network, data, divisor=self.divisor, spatial_dims=axes)
        shape: dict[str, Any] = {"in_channels": data.in_channels, "spatial_dims": axes, "divisor": divisor}
        shape["size"] = patch_of(data)
        if stage == "fit":
            self.note = check_patches(self.network, self.loss, data, divisor=divisor)
        check_head(self.network, num_classes=data.num_classes, **shape)
        if stage == "fit":
            check_logits(self.network, **shape)
            counts = np.asarray(data.class_counts())
            self.class_counts = counts.tolist()
            self.loss = resolve_loss(self.loss, counts)
            self.loss_schedule.check(self.loss)
            if self.head_prior is not None:
                start_at_prior(self.network, self.head_prior, task=task, counts=counts, **shape)
        known = isinstance(data, CaseData)
        tiling = scoring_tiling(data.tile if known else None)
        restored = data.restored if known else None
        names, background = tuple(data.class_names), background_of(data)
        self.facts = DataFacts(task, names, data.ignore_index, divisor, tiling, background, restored)

    def on_train_start(self) -> None:
        """Let settings win over what a checkpoint stored; over ranks, make the loss the whole batch's."""
        if self.trainer.world_size > 1 and isinstance(self.loss, SegmentationLoss):
            self.loss.synchronize()
        self.sums = self.sums.to(self.device)
        self.total_steps = float(self.trainer.estimated_stepping_batches)
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        assert not isinstance(optimizer, list)
        fresh = optimizer_of(self.network, self.hparams, self.phase)
        if scheduler is not None:  # weight averaging, resumed, sets rates of its own
            optim.apply_settings(optimizer.optimizer, fresh, scheduler)  # type: ignore[arg-type]
        self.matching.announce(optimizer.optimizer, rank=self.global_rank)
        self.loss_schedule.apply(self.loss, epoch=self.current_epoch)  # resumed, no epoch may begin

    def on_train_epoch_start(self) -> None:
        """Set what the loss's schedule says for this epoch."""
        self.loss_schedule.apply(self.loss, epoch=self.current_epoch)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Return what to minimise for one batch: its loss, as the task's settings rescale it and add to it.

        Args:
            batch: With ``image``, ``mask`` and ``name``.
            batch_idx: Number within the epoch.

        Returns:
            Scalar.

        Raises:
            SegfocalError: If the loss is no number.
        """
        facts = self._facts()
        images = self._formatted(batch["image"])
        output = as_supervised(self.network(images), axes=images.ndim - 2)
        found = evaluate_loss(
            self.loss, output, batch["mask"], task=facts.task, ignore_index=facts.ignore_index
        )
        self.guard.watch(
            found.value,
            where=f"epoch {self.current_epoch}, batch {batch_idx}",
            batch=batch,
            num_classes=len(facts.class_names),
            ignore_index=facts.ignore_index,
        )
        value, extra = self._minimised(found.value, output, batch["mask"])
        self.sums.add(found, extra)
        step = self.global_step + 1
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if (every and step % every == 0) or step == self.total_steps:
            self._log_training()
        return value

    def configure_callbacks(self) -> list[Callback]:
        """Return what acts between gradient and step, and behind it."""
        return [self.penalties] if self.penalties.in_use else []

    def configure_optimizers(self) -> Any:
        """Return optimizer and schedule, which moves once per step."""
        optimizer = optimizer_of(self.network, self.hparams, self.phase)
        last_step = float(self.trainer.estimated_stepping_batches)
        scheduler = schedule_of(optimizer, self.hparams, self.phase, last_step=last_step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Look at the losses not yet seen, and keep what belongs to these weights."""
        self.guard.check()
        checkpoint["thresholds"] = self.thresholds
        checkpoint["threshold_reasons"] = self.threshold_reasons
        checkpoint["class_counts"] = self.class_counts
        checkpoint["running_sums"] = asdict(self.sums)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the thresholds and the training counts of these weights."""
        self.thresholds = checkpoint.get("thresholds")
        self.threshold_reasons = checkpoint.get("threshold_reasons")
        self.sums = RunningSums(**checkpoint.get("running_sums", {}))
        counts = checkpoint.get("class_counts")
        if self.class_counts is None and counts is not None:
            self.class_counts = counts
            self.loss = resolve_loss(self.loss, np.asarray(counts))
        self.loss_schedule.apply(self.loss, epoch=int(checkpoint.get("epoch", 0)))

    def _save_settings(self, arguments: dict[str, Any]) -> None:
        """Keep plain values only, so that checkpoints load with ``weights_only=True``."""
        if _given_hyperparameters.get() is not None:  # the command line gives class paths
            self.save_hyperparameters(logger=False)
            return
        self.save_hyperparameters(plain_settings(arguments), logger=False)

    def _minimised(self, loss: Tensor, output: Any, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        facts, extra = self._facts(), {}
        common: dict[str, Any] = {"task": facts.task, "ignore_index": facts.ignore_index}
        if self.matching.on:
            factor = self.matching.factor(self.loss, output, target, **common).to(loss.dtype)
            loss, extra["gradient_factor"] = loss * factor, factor
        for name, value in self.penalties.of_output(output, target, **common).items():
            extra[name] = value.detach()
            loss = loss + value
        return loss, extra

    def _log_training(self) -> None:
        (means, counts), strategy = self.sums.take(), self.trainer.strategy
        values = {
            name if name.startswith("penalty/") else f"train/{name}": strategy.reduce(value, reduce_op="mean")
            for name, value in means.items()
        }
        if counts is not None:
            values["train/dataset_dice"] = dataset_dice(
                strategy.reduce(counts, reduce_op="sum"), background=self._facts().background
            )
        groups = self.trainer.optimizers[0].param_groups
        values["learning_rate"] = torch.tensor(max(group["lr"] for group in groups))
        if self.phase is not None:
            values["phase"] = torch.tensor(float(self.phase.number))
        values |= self.loss_schedule.logged(epoch=self.current_epoch)
        self.log_dict(values | self.penalties.values(self.network))
