"""gamma and alpha of a loss as functions of the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError, check_choice
from segfocal.losses.base import SegmentationLoss

SETTINGS = ("gamma", "alpha")
Knots = Mapping[int, float | Sequence[float]]


class LossSchedule:
    """Sets gamma and alpha of every term of a loss that has them, at the beginning of each epoch.

    Between two epochs that are given the value moves along a line, before the first and behind the last it
    rests; ``{0: 0.0, 4: 0.0, 5: 2.0}`` is a step. Epochs are counted from 0, over all phases of a run. The
    numbers of a loss are tensors, changed in place, so that nothing is compiled anew.

    Args:
        settings: "gamma" or "alpha" to values by epoch; None changes nothing.

    Raises:
        SegfocalError: For another setting, no or negative epochs, or values of several lengths.

    Example:
        >>> LossSchedule({"gamma": {0: 0.0, 10: 2.0}}).values(epoch=5)
        {'gamma': 1.0}
    """

    def __init__(self, settings: Mapping[str, Knots] | None) -> None:
        self._knots: dict[str, tuple[list[int], Any]] = {}
        for name, given in (settings or {}).items():
            check_choice("loss_schedule", name, SETTINGS)
            by_epoch = sorted((int(epoch), value) for epoch, value in given.items())
            epochs, values = [epoch for epoch, _ in by_epoch], [value for _, value in by_epoch]
            if not epochs or epochs[0] < 0 or len({np.shape(value) for value in values}) > 1:
                raise SegfocalError(
                    f"loss_schedule.{name} must map epochs from 0 on to numbers, or to equally many numbers "
                    f"each, as {{0: 0.0, 10: 2.0}}, got {dict(given)!r}."
                )
            self._knots[name] = epochs, np.asarray(values, dtype=np.float64)

    def values(self, *, epoch: int) -> dict[str, Any]:
        """Return the numbers of an epoch.

        Args:
            epoch: From 0.

        Returns:
            Setting to a number, or to a list of them.
        """
        found: dict[str, Any] = {}
        for name, (epochs, values) in self._knots.items():
            columns = values.reshape(len(epochs), -1).T
            now = [float(np.interp(epoch, epochs, column)) for column in columns]
            found[name] = now[0] if values.ndim == 1 else now
        return found

    def check(self, loss: nn.Module) -> None:
        """Raise unless the loss has what is scheduled, and takes every value.

        Args:
            loss: With numbers for a balanced alpha.

        Raises:
            SegfocalError: Naming the setting.
        """
        for name, (epochs, _) in self._knots.items():
            terms = _terms(loss, name)
            if not terms:
                with_number = " with a number to begin with" if name == "alpha" else ""
                raise SegfocalError(
                    f"loss_schedule.{name} needs a loss with {name}{with_number}, such as FocalLoss, got "
                    f"{loss!r}. Leave {name} out of the schedule."
                )
            for epoch in epochs:
                value = self.values(epoch=epoch)[name]
                for term in terms:
                    _check_value(term, name, value)

    def apply(self, loss: nn.Module, *, epoch: int) -> None:
        """Set the numbers of an epoch in place.

        Args:
            loss: As `check`.
            epoch: From 0.
        """
        for name, value in self.values(epoch=epoch).items():
            for term in _terms(loss, name):
                buffer = getattr(term, name)
                buffer.copy_(torch.as_tensor(value, dtype=buffer.dtype))

    def logged(self, *, epoch: int) -> dict[str, Tensor]:
        """Return what to log: ``train/gamma``; where there is one per class ``train/gamma/0``, ..."""
        found: dict[str, Tensor] = {}
        for name, value in self.values(epoch=epoch).items():
            several = value if isinstance(value, list) else None
            if several is None:
                found[f"train/{name}"] = torch.tensor(value)
            else:
                found |= {f"train/{name}/{i}": torch.tensor(each) for i, each in enumerate(several)}
        return found


def _terms(loss: nn.Module, name: str) -> list[SegmentationLoss]:
    """The terms that hold this number themselves and were given it as an argument."""
    return [
        term
        for term in loss.modules()
        if isinstance(term, SegmentationLoss)
        and name in term.settings()
        and isinstance(dict(term.named_buffers(recurse=False)).get(name), Tensor)
    ]


def _check_value(term: SegmentationLoss, name: str, value: Any) -> None:
    shape = tuple(getattr(term, name).shape)
    if np.shape(value) not in ((), shape):
        raise SegfocalError(
            f"loss_schedule.{name} must give {type(term).__name__} numbers of shape {shape}, got {value!r}."
        )
    try:
        type(term)(**(term.settings() | {name: value}))
    except SegfocalError as error:
        raise SegfocalError(f"loss_schedule.{name}: {error}") from error
