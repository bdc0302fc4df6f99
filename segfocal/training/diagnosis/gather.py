"""One pass over logits: how far every pixel is from its label, calibration and temperature."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.losses.focal import CrossEntropyLoss
from segfocal.losses.pixel_part import PixelLosses, pixel_losses
from segfocal.losses.reduction import Task
from segfocal.metrics.curves import PixelCurves
from segfocal.metrics.diagnosis import MarginHistograms
from segfocal.metrics.temperature import TemperatureFit
from segfocal.training.interrupt import StopSignal

MISSED = 0.9  # a foreground pixel is missed where the background is given more than this


class Gathering(nn.Module):
    """Counts the pixels of whole images; takes the place of a task's scores in a validation pass.

    Groups of elements: under sigmoid, channel by channel those labelled otherwise, then those labelled with
    the class; in multiclass, the labels, then the labels again for foreground pixels that are missed.

    Args:
        task: "binary", "multiclass" (class 0 is the background) or "multilabel".
        class_names: One per logit channel.
        ignore_index: Label that counts nowhere.
        stop: Memory of SIGINT and SIGTERM, looked at before every batch; None: they are not looked at.
    """

    def __init__(
        self,
        task: Task,
        class_names: Sequence[str],
        *,
        ignore_index: int | None,
        stop: StopSignal | None = None,
    ) -> None:
        super().__init__()
        classes = len(class_names)
        self.task: Task = task
        self.class_names = tuple(class_names)
        self.stop = stop
        self.loss = CrossEntropyLoss(task, ignore_index=ignore_index, validate=True)
        self.margins = MarginHistograms(2 * classes)
        self.curves = PixelCurves(task, classes, class_names=class_names, ignore_index=ignore_index)
        self.temperature = TemperatureFit(task, classes, ignore_index=ignore_index)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        """Move to another device, but keep the sums in double: half precision is for networks."""
        moved: nn.Module = super()._apply(lambda state: fn(state).to(state.dtype), recurse)
        return moved

    def update(self, logits: Tensor, target: Tensor, names: Sequence[str]) -> None:
        """Add a batch of whole images.

        Args:
            logits: ``(N, C, *S)``.
            target: Labels, as ``SegmentationScores.update`` takes them.
            names: One per image, for messages.

        Raises:
            SegfocalError: For labels outside the classes, or logits that are not finite.
        """
        if self.stop is not None:
            self.stop.raise_if_asked()
        logits = logits.detach().float()
        probabilities = logits.softmax(1) if self.task == "multiclass" else logits.sigmoid()
        self.curves.update(probabilities, target, names)
        found = pixel_losses(self.loss, logits, target)
        if not bool(torch.isfinite(found.values[found.kept]).all()):
            raise SegfocalError("logits must be finite where there is a label, got NaN or infinite losses.")
        groups = self._groups(found, probabilities, target)
        self.margins.update(found.values[found.kept], groups[found.kept])
        self.temperature.update(logits, target, names)

    def _groups(self, found: PixelLosses, probabilities: Tensor, target: Tensor) -> Tensor:
        classes = len(self.class_names)
        if self.task == "multiclass":
            missed = found.foreground & (probabilities[:, 0] > MISSED)
            return target.long() + classes * missed
        channels = torch.arange(classes, device=target.device).view(1, -1, *[1] * (probabilities.ndim - 2))
        return 2 * channels + found.foreground.long()
