"""What a task does in validation and test: whole images, one by one, scored from counts."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.runs.scores import Empty
from segfocal.training.evaluation import StageScores
from segfocal.training.guard import naming_images
from segfocal.training.prepare import DataFacts
from segfocal.training.steps import probabilities_of, whole_logits


class ScoringModule(LightningModule, ABC):
    """The half of a task that scores; the other half, how to train, is `SegmentationTask`."""

    network: nn.Module
    loss: nn.Module
    channels_last: bool
    empty: Empty
    thresholds: list[float] | None
    facts: DataFacts | None
    scores: StageScores | None

    def on_validation_epoch_start(self) -> None:
        """Begin to count; outside of fit with the tuned thresholds and curves as well."""
        self._begin(final=self.trainer.state.fn != "fit")

    def on_test_epoch_start(self) -> None:
        """Begin to count."""
        self._begin(final=True)

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Score whole images of the validation split and return their probabilities."""
        return self._score(batch)

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Score whole images of the test split and return their probabilities."""
        return self._score(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the scores; in training, keep the thresholds they were best at."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores."""
        self._finish("test")

    def _facts(self) -> DataFacts:
        if self.facts is None:
            raise SegfocalError(
                "SegmentationTask does not know its data yet: call task.prepare(data, 'fit')."
            )
        return self.facts

    def _formatted(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def _begin(self, *, final: bool) -> None:
        facts = self._facts()
        self.scores = StageScores(
            task=facts.task,
            class_names=facts.class_names,
            ignore_index=facts.ignore_index,
            empty=self.empty,
            thresholds=self.thresholds if final else None,
            search=not final,
            curves=final,
        ).to(self.device)

    def _score(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        assert self.scores is not None
        facts = self._facts()
        logits = whole_logits(self.network, self._formatted(batch["image"]), multiple=facts.divisor)
        probabilities = probabilities_of(logits, task=facts.task)
        with naming_images(batch, logits, step=self.global_step):
            self.scores.update(probabilities, batch, loss=self.loss(logits, batch["mask"]))
        return {"probabilities": probabilities}

    def _finish(self, prefix: str) -> None:
        assert self.scores is not None
        values = self.scores.compute()
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.thresholds = self.scores.best_thresholds()
        self.log_dict({f"{prefix}/{name}": value for name, value in values.items()})
