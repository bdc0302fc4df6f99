"""Temperature scaling: the one number that, dividing the logits, makes held-out labels most likely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import Module
from torchmetrics import Metric

from segfocal.errors import check_choice
from segfocal.metrics.batch import Task
from segfocal.metrics.checks import check_batch

Array = NDArray[np.float64]

COLDEST, HOTTEST = 1 / 16, 16.0
_POINTS = 17  # factors of sqrt(2)
_PIECE_CPU, _PIECE_CUDA = 2**15, 2**22


class TemperatureFit(Metric):
    """The temperature T that minimises the negative log-likelihood of softmax or sigmoid of ``logits / T``.

    One number for all classes, labels and pixels that are not ignored. No logits are kept: slope and
    curvature of the likelihood are summed at 17 inverse temperatures, and the zero of the slope is found on
    the cubic Hermite curve through them. T is within 0.02 % of the exact minimiser, which changes the
    likelihood by less than 1e-7 of itself; it is confined to [1/16, 16].

    Args:
        task: binary, multiclass or multilabel.
        num_classes: Channels of the logits: 1 for binary, else the number of classes.
        ignore_index: The label of pixels that count nowhere.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, section 4.2.

    Example:
        >>> fit = TemperatureFit("binary", 1)
        >>> fit.update(torch.tensor([[[4.0, 4.0, 4.0, 4.0]]]), torch.tensor([[1, 1, 1, 0]]), ["a"])
        >>> round(fit.compute().item(), 3)  # 4 / T is the log-odds of 3 to 1
        3.641
    """

    full_state_update = False

    def __init__(self, task: Task, num_classes: int, *, ignore_index: int | None = None) -> None:
        super().__init__()
        check_choice("task", task, get_args(Task))
        self.task: Task = task
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.inverses = np.geomspace(1 / HOTTEST, 1 / COLDEST, _POINTS)
        self.sums: Tensor
        self.pixels: Tensor
        self.add_state("sums", torch.zeros(2, _POINTS, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pixels", torch.tensor(0), dist_reduce_fx="sum")

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Module:
        """Move to another device, but keep the sums in double: half precision is for networks."""
        return super()._apply(lambda state: fn(state).to(state.dtype), exclude_state)

    def update(self, logits: Tensor, target: Tensor, names: Sequence[str]) -> None:
        """Add a batch of whole images.

        Args:
            logits: ``(N, C, *S)`` of any floating dtype.
            target: Labels, as ``SegmentationScores.update`` takes them.
            names: One per image, for messages.

        Raises:
            SegfocalError: For labels outside the classes, other shapes, or logits that are not finite.
        """
        logits = logits.detach().float()
        multiclass = self.task == "multiclass"
        scores = logits.softmax(1) if multiclass else logits.sigmoid()
        _, target = check_batch(
            scores,
            target,
            names,
            task=self.task,
            num_classes=self.num_classes,
            ignore_index=self.ignore_index,
        )
        gather = _softmax_sums if multiclass else _sigmoid_sums
        for values, labels in self._pieces(logits, target):
            self.sums += gather(values, labels, self.inverses)
            self.pixels += labels.numel()

    def compute(self) -> Tensor:
        """Return T; NaN where no labelled pixel was seen."""
        if not self.pixels:
            return torch.tensor(float("nan"))
        slope, curvature = self.sums.cpu().numpy()
        return torch.tensor(_minimiser(self.inverses, slope, curvature))

    def _pieces(self, logits: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield logits ``(n,)``, or ``(C, n)`` for multiclass, with their labels, the ignored left out."""
        size = _PIECE_CUDA if logits.is_cuda else _PIECE_CPU
        rows = logits.flatten(2) if self.task == "multiclass" else logits.flatten(1)
        for row, labels in zip(rows, target.flatten(1), strict=True):
            for values, own in zip(row.split(size, dim=-1), labels.split(size), strict=True):
                if self.ignore_index is None:
                    yield values, own
                else:
                    kept = own != self.ignore_index
                    yield values[..., kept], own[kept]


def _sigmoid_sums(logits: Tensor, labels: Tensor, inverses: Array) -> Tensor:
    """Return (2, points): first and second derivative of the summed loss by the inverse temperature."""
    squares, observed = logits * logits, torch.dot(logits, labels.to(logits.dtype)).double()
    found = []
    for inverse in inverses.tolist():
        p = torch.sigmoid(logits * inverse)
        slope = torch.dot(p, logits).double() - observed
        found.append(torch.stack([slope, torch.dot(p.mul_(1 - p), squares).double()]))
    return torch.stack(found, dim=1)


def _softmax_sums(logits: Tensor, labels: Tensor, inverses: Array) -> Tensor:
    """As ``_sigmoid_sums``, from logits ``(C, n)``."""
    logits = logits - logits.amax(0)  # so that the variance of confident pixels does not cancel
    squares, observed = logits * logits, logits.gather(0, labels.long()[None])[0]
    found = []
    for inverse in inverses.tolist():
        p = torch.softmax(logits * inverse, dim=0)
        mean = (p * logits).sum(0)
        variance = (p.mul_(squares)).sum(0) - mean * mean
        found.append(torch.stack([(mean - observed).sum().double(), variance.sum().double()]))
    return torch.stack(found, dim=1)


def _minimiser(inverses: Array, slope: Array, curvature: Array) -> float:
    """The loss is convex in the inverse temperature, so that its slope changes sign once at most."""
    if not slope.any():
        return 1.0  # every logit is 0: no temperature changes anything
    if slope[0] >= 0:
        return HOTTEST
    if slope[-1] <= 0:
        return COLDEST
    place = np.log(inverses)
    curve = CubicHermiteSpline(place, slope, curvature * inverses)
    first = int(np.argmax(slope > 0))
    return float(np.exp(-brentq(curve, place[first - 1], place[first], xtol=1e-12)))
