"""Stop a training whose loss is no longer a number, naming the batch, the files and the likely cause."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from segfocal.errors import SegfocalError

_MOST_NAMES = 8
_DIVERGED = (
    "The weights diverged: lower model.learning_rate, add trainer.gradient_clip_val, or train in "
    "trainer.precision=32-true."
)


def describe_names(names: Sequence[str]) -> str:
    """Quote the first few names of a batch.

    Args:
        names: Names of the samples.

    Returns:
        A phrase for a message.

    Example:
        >>> describe_names(["a", "b"])
        "'a', 'b'"
    """
    shown = ", ".join(repr(name) for name in names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def find_cause(batch: Mapping[str, Any], *, num_classes: int, ignore_index: int | None) -> str:
    """Look through a batch for what makes a loss NaN.

    Args:
        batch: With ``image``, ``mask`` and ``name``.
        num_classes: Channels of the logits.
        ignore_index: The label that stands for "not labelled".

    Returns:
        The first cause found and its remedy, as a sentence.
    """
    image, mask, names = batch["image"], batch["mask"], batch["name"]
    broken = [name for name, one in zip(names, image, strict=True) if not bool(torch.isfinite(one).all())]
    if broken:
        return f"The image of {describe_names(broken)} holds NaN or infinite values: repair or remove it."
    highest = max(num_classes - 1, 1) if mask.ndim == image.ndim - 1 else 1
    for name, one in zip(names, mask, strict=True):
        labels, counts = torch.unique(one, return_counts=True)
        wrong = [
            f"{int(label)} ({int(count)} pixels)"
            for label, count in zip(labels, counts, strict=True)
            if not 0 <= int(label) <= highest and int(label) != ignore_index
        ]
        if wrong:
            return (
                f"The mask of {describe_names([name])} holds labels outside 0..{highest}: {', '.join(wrong)}."
            )
    return f"Images and labels of the batch are sound. {_DIVERGED}"


@contextmanager
def naming_images(batch: Mapping[str, Any], logits: Tensor, *, step: int) -> Iterator[None]:
    """Say in errors raised inside which images were scored, at which step, and whether the network diverged.

    Args:
        batch: With ``name``.
        logits: What the network made of it.
        step: Optimizer steps taken.

    Raises:
        SegfocalError: In place of the one raised inside.
    """
    try:
        yield
    except SegfocalError as error:
        finite = bool(torch.isfinite(logits).all())
        why = str(error) if finite else f"the network's output is not finite. {_DIVERGED}"
        raise SegfocalError(f"step {step}, image {describe_names(batch['name'])}: {why}") from error


@dataclass
class LossGuard:
    """Watches the losses of the steps; on an accelerator only now and then, because a look waits for it.

    Args:
        every_n_steps: How many losses to gather before looking at them, off the CPU.
    """

    every_n_steps: int = 50
    _pending: list[tuple[str, Tensor]] = field(default_factory=list)

    def watch(self, loss: Tensor, *, where: str, batch: Mapping[str, Any], **cause: Any) -> None:
        """Note one loss and raise if it, or on an accelerator one of the last few, is not finite.

        Args:
            loss: Scalar.
            where: The step in words.
            batch: What it came from.
            cause: Arguments of `find_cause`.

        Raises:
            SegfocalError: Naming the step, the files and the cause.
        """
        if loss.device.type == "cpu":
            if not bool(torch.isfinite(loss)):
                raise SegfocalError(
                    f"The loss became {float(loss.detach())} at {where} "
                    f"(files {describe_names(batch['name'])}). {find_cause(batch, **cause)}"
                )
            return
        self._pending.append((f"{where} (files {describe_names(batch['name'])})", loss.detach()))
        if len(self._pending) >= self.every_n_steps:
            self.check()

    def check(self) -> None:
        """Look at the losses gathered so far.

        Raises:
            SegfocalError: Naming the first step whose loss was not finite.
        """
        pending, self._pending = self._pending, []
        if not pending:
            return
        values = torch.stack([loss for _, loss in pending]).float().cpu()
        wrong = torch.nonzero(~torch.isfinite(values)).flatten().tolist()
        if wrong:
            where, _ = pending[wrong[0]]
            raise SegfocalError(
                f"The loss became {float(values[wrong[0]])} at {where}. Check these images and masks, lower "
                "model.learning_rate, or add trainer.gradient_clip_val."
            )
