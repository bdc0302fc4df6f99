"""What a task does in validation and test: whole images, one by one, scored from counts."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.losses.base import SegmentationLoss
from segfocal.losses.pixel_part import PixelLosses, pixel_losses
from segfocal.runs.curves import ScoreKind
from segfocal.runs.scores import Empty
from segfocal.training.concentration import find_pixel_loss
from segfocal.training.evaluation import StageScores
from segfocal.training.final_scores import FinalScores
from segfocal.training.guard import naming_images
from segfocal.training.penalties.callback import Penalties
from segfocal.training.posterior import has_posterior
from segfocal.training.prepare import DataFacts
from segfocal.training.steps import probabilities_of, whole_scores


class TakesLogits(Protocol):
    """What gathers something else than scores in a pass over whole images."""

    def update(self, logits: Tensor, target: Tensor, names: Sequence[str]) -> None:
        """Add a batch of whole images."""

    def to(self, device: torch.device) -> Self:
        """Move to a device."""
        ...


class ScoringModule(LightningModule, ABC):
    """The half of a task that scores; the other half, how to train, is `SegmentationTask`."""

    network: nn.Module
    loss: nn.Module
    channels_last: bool
    empty: Empty
    thresholds: list[float] | None
    threshold_reasons: list[str] | None  # where they come from, class by class
    facts: DataFacts | None
    scores: StageScores | None
    test_scores: FinalScores
    penalties: Penalties
    temperature: float | None  # of these weights, where known
    fitting: TakesLogits | None  # takes the place of scores in a pass that looks for something else

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
        if self.fitting is not None:
            self.fitting = self.fitting.to(self.device)
            return
        facts = self._facts()
        pixel_loss, _ = find_pixel_loss(self.loss) if final else (None, None)
        self.scores = StageScores(
            task=facts.task,
            class_names=facts.class_names,
            ignore_index=facts.ignore_index,
            empty=self.empty,
            background=facts.background,
            thresholds=self.thresholds if final else None,
            search=not final,
            curves=final,
            final=self.test_scores if final else None,
            recalibrated=self._kinds() if final else (),
            pixel_loss_name=None if pixel_loss is None else type(pixel_loss).__name__,
        ).to(self.device)

    def _score(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        facts = self._facts()
        images = self._formatted(batch["image"])
        logits, probabilities = whole_scores(
            self.network, images, task=facts.task, multiple=facts.divisor, tiling=facts.tiling
        )
        with naming_images(batch, logits, step=self.global_step):
            if self.fitting is not None:
                self.fitting.update(logits, batch["mask"], list(batch["name"]))
            else:
                self._count(logits, probabilities, batch)
        return {"probabilities": probabilities}

    def _count(self, logits: Tensor, probabilities: Tensor, batch: Mapping[str, Any]) -> None:
        """Count what `predict` would write against the masks as they are stored.

        The loss, and how it spreads over the pixels, are of the size that the network sees.
        """
        assert self.scores is not None
        loss, pixels = self.loss(logits, batch["mask"]), self._pixels(logits, batch)
        kinds: dict[str, Tensor] = {"raw": probabilities}
        if "temperature" in self.scores.recalibrated:
            kinds["temperature"] = self._cooled(logits)
        for found, part in self._at_file_size(kinds, batch):
            raw = found.pop("raw")
            if "posterior" in self.scores.recalibrated:
                assert isinstance(self.loss, SegmentationLoss)
                found["posterior"] = self.loss.posterior(raw)
            self.scores.update(raw, part, loss=loss, recalibrated=found, pixels=pixels)
            pixels = None  # of the whole batch, once

    def _at_file_size(
        self, kinds: Mapping[str, Tensor], batch: Mapping[str, Any]
    ) -> Iterator[tuple[dict[str, Tensor], Mapping[str, Any]]]:
        """Yield scores and masks of the same size: the batch as it is, or image by image as stored."""
        restored = self._facts().restored
        if restored is None or "stored_mask" not in batch:
            yield dict(kinds), batch
            return
        for index, mask in enumerate(batch["stored_mask"]):
            part: dict[str, Any] = {"mask": mask[None], "name": [batch["name"][index]]}
            if "stored_spacing" in batch:
                part["spacing"] = batch["stored_spacing"][index][None]
            if "stored_region" in batch:
                part["stored_region"] = [batch["stored_region"][index]]
            yield (
                {
                    kind: restored(scores[index], batch, index)[None].to(scores.device)
                    for kind, scores in kinds.items()
                },
                part,
            )

    def _pixels(self, logits: Tensor, batch: Mapping[str, Any]) -> PixelLosses | None:
        assert self.scores is not None
        if self.scores.concentration is None:
            return None
        pixel_loss, _ = find_pixel_loss(self.loss)
        assert pixel_loss is not None
        return pixel_losses(pixel_loss, logits, batch["mask"])

    def _kinds(self) -> list[ScoreKind]:
        kinds: list[ScoreKind] = [] if self.temperature is None else ["temperature"]
        exact = has_posterior(
            self.loss, num_classes=len(self._facts().class_names), penalties=self.penalties.terms
        )
        return [*kinds, "posterior"] if exact else kinds

    def _cooled(self, logits: Tensor) -> Tensor:
        assert self.temperature is not None
        return probabilities_of(logits.float() / self.temperature, task=self._facts().task)

    def _finish(self, prefix: str) -> None:
        if self.fitting is not None:
            return
        assert self.scores is not None
        values = self.scores.compute()
        if "temperature" in self.scores.recalibrated:
            values["temperature"] = torch.tensor(self.temperature)
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            choices = self.scores.choices()
            self.thresholds = None if choices is None else [choice.threshold for choice in choices]
            self.threshold_reasons = None if choices is None else [choice.reason() for choice in choices]
        self.log_dict({f"{prefix}/{name}": value for name, value in values.items()})
