"""What one step does, whatever its stage: logits of a batch, scores, sums gathered without waiting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from segfocal.losses.base import SegmentationLoss
from segfocal.losses.counts import loss_and_counts
from segfocal.losses.evaluation import Counts, Evaluation
from segfocal.losses.reduction import Task
from segfocal.models.outputs import main_output
from segfocal.models.stride import crop_to, pad_to_multiple
from segfocal.training.prediction.tiles import Tiling, predict_tiled


def whole_logits(network: nn.Module, images: Tensor, *, multiple: int) -> Tensor:
    """Run the network on whole images of any size.

    Args:
        network: Images to logits.
        images: ``(N, Cin, *S)``.
        multiple: Of the sizes that the network takes; smaller images are padded and the logits cropped.

    Returns:
        Logits ``(N, C, *S)``.
    """
    return crop_to(main_output(network(pad_to_multiple(images, multiple))), images.shape[2:])


def whole_scores(
    network: nn.Module, images: Tensor, *, task: Task, multiple: int, tiling: Tiling | None = None
) -> tuple[Tensor, Tensor]:
    """Score whole images, those larger than a window in windows.

    Args:
        network: Images to logits.
        images: ``(N, Cin, *S)``.
        task: "binary", "multiclass" or "multilabel".
        multiple: Of the sizes that the network takes.
        tiling: The windows; None: none.

    Returns:
        Logits and probabilities ``(N, C, *S)``. Windows blend probabilities, as in prediction; the logits are
        those that give the blended ones.
    """
    if tiling is None or tiling.covers(images.shape[2:]):
        logits = whole_logits(network, images, multiple=multiple)
        return logits, probabilities_of(logits, task=task)

    last = images.ndim == 4 and images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format

    def predict(tiles: Tensor) -> Tensor:
        return probabilities_of(main_output(network(tiles.contiguous(memory_format=layout))), task=task)

    blended = [
        predict_tiled(predict, image, tiling=tiling, divisor=multiple, device=images.device)
        for image in images.cpu()
    ]
    probabilities = torch.stack(blended).to(images.device)
    if task == "multiclass":
        return probabilities.clamp(min=torch.finfo(torch.float32).tiny).log(), probabilities
    return torch.logit(probabilities, eps=1e-7), probabilities


def probabilities_of(logits: Tensor, *, task: Task) -> Tensor:
    """Return scores in [0, 1]: softmax over the classes, or one sigmoid per channel.

    Args:
        logits: ``(N, C, *S)`` of any floating dtype.
        task: "binary", "multiclass" or "multilabel".

    Returns:
        ``(N, C, *S)`` float32.

    Example:
        >>> probabilities_of(torch.zeros(1, 2, 1), task="multiclass").flatten().tolist()
        [0.5, 0.5]
    """
    logits = logits.float()
    return logits.softmax(dim=1) if task == "multiclass" else logits.sigmoid()


def evaluate_loss(
    loss: nn.Module, output: Any, target: Tensor, *, task: Task, ignore_index: int | None
) -> Evaluation:
    """Return the loss, its parts and the hard counts, from the loss's own pass where it is one of ours.

    Args:
        loss: A `SegmentationLoss`, or any module called as ``loss(logits, target)``.
        output: What the network returned.
        target: Labels or masks.
        task: For losses from elsewhere.
        ignore_index: For losses from elsewhere.

    Returns:
        Value, parts and counts; the counts belong to the full resolution.
    """
    if isinstance(loss, SegmentationLoss):
        return loss.evaluate(output, target, counts=True)
    value, counts = loss_and_counts(loss, output, target, task=task, ignore_index=ignore_index)
    return Evaluation(value, {}, counts)


@dataclass
class RunningSums:
    """Loss, its parts and counts since the last look, kept on the device so that no step waits for it."""

    steps: int = 0
    values: dict[str, Tensor] = field(default_factory=dict)
    counts: Tensor | None = None

    def add(self, evaluation: Evaluation, extra: Mapping[str, Tensor] | None = None) -> None:
        """Add one step.

        Args:
            evaluation: Of the step.
            extra: Further scalars by name, the same names in every step.
        """
        self.steps += 1
        for name, value in (_named_values(evaluation) | dict(extra or {})).items():
            self.values[name] = self.values[name] + value if name in self.values else value
        if evaluation.counts is not None:
            batch = _stack(evaluation.counts)
            self.counts = batch if self.counts is None else self.counts + batch

    def take(self) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return what was gathered and begin anew.

        Returns:
            Mean loss and parts over the steps, and counts ``(3, C)`` = tp, fp, fn or None.
        """
        means = {name: value / self.steps for name, value in self.values.items()}
        counts = self.counts
        self.steps, self.values, self.counts = 0, {}, None
        return means, counts

    def to(self, device: torch.device) -> RunningSums:
        """Return the same sums on a device."""
        values = {name: value.to(device) for name, value in self.values.items()}
        return RunningSums(self.steps, values, None if self.counts is None else self.counts.to(device))


def dataset_dice(counts: Tensor, *, background: int | None = None) -> Tensor:
    """Return the Dice of pooled counts, averaged over classes; one absent and unpredicted is left out.

    Args:
        counts: ``(3, C)`` = tp, fp, fn.
        background: Number of the class that the mean leaves out as well; None: none.

    Returns:
        Scalar, NaN where no class is left.

    Example:
        >>> dataset_dice(torch.tensor([[2, 0], [1, 0], [1, 0]])).item()
        0.6666666865348816
    """
    tp, fp, fn = counts
    values: Tensor = (2 * tp / (2 * tp + fp + fn)).float()
    kept = torch.arange(len(values), device=values.device) != (-1 if background is None else background)
    return values[kept].nanmean()


def _named_values(evaluation: Evaluation) -> dict[str, Tensor]:
    values = {"loss": evaluation.value.detach()}
    return values | {f"loss/{name}": value.detach() for name, value in evaluation.parts.items()}


def _stack(counts: Counts) -> Tensor:
    return torch.stack([counts.tp.sum(0), counts.fp.sum(0), counts.fn.sum(0)])
