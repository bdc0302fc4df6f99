"""What the ``finetune`` section of a configuration says: where weights come from, and the phases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.training import optim

BatchNorm = Literal["train", "eval", "frozen"]


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own optimizer: which parts are trained, how fast, for how long.

    Parts are dotted names as ``encoder``, ``decoder.blocks.4`` or ``decoder.blocks.*.conv1``: a module with
    all that is in it, or a parameter; ``*``, ``?`` and ``[34]`` stand for characters between two dots. Names
    of a wrapped network may leave out the wrapper's. The longest part that names a parameter wins.

    Args:
        name: Of the phase, once per run.
        train: Parts to train, ``all`` for everything; whatever else is frozen: no gradients, its batch
            normalisation as in evaluation, its dropout off.
        learning_rate: Peak rate, or rates by part (of the trained ones; others take ``model.learning_rate``);
            None takes ``model.learning_rate``.
        layer_decay: Factor of the rate per layer away from the head, in (0, 1].
        batch_norm: "train": as usual in trained parts. "eval": every running mean and variance stays as it
            is. "frozen": and so do scale and shift, of every batch normalisation.
        max_epochs: End, in epochs of this phase.
        max_steps: End, in optimizer steps of this phase; the earlier of the two counts.
        schedule: "cosine", "poly" or "constant", over this phase; None takes ``model.schedule``.
        warmup_steps: Steps of linear rise at its beginning; None takes ``model.warmup_steps``.
    """

    name: str
    train: list[str] = field(default_factory=lambda: ["all"])
    learning_rate: float | dict[str, float] | None = None
    layer_decay: float = 1.0
    batch_norm: BatchNorm = "train"
    max_epochs: int | None = None
    max_steps: int | None = None
    schedule: Literal["cosine", "poly", "constant"] | None = None
    warmup_steps: int | None = None

    def __post_init__(self) -> None:
        where = f"phase {self.name!r}: "
        if not self.name or not self.train:
            raise SegfocalError(f"{where}name and train must not be empty. train: [all] trains everything.")
        check_range(f"{where}layer_decay", self.layer_decay, low=0.0, high=1.0, open_low=True)
        check_choice(f"{where}batch_norm", self.batch_norm, ("train", "eval", "frozen"))
        if self.schedule is not None:
            check_choice(f"{where}schedule", self.schedule, optim.SCHEDULES)
        for name in ("max_epochs", "max_steps"):
            if getattr(self, name) is not None:
                check_range(f"{where}{name}", getattr(self, name), low=1)
        if self.warmup_steps is not None:
            check_range(f"{where}warmup_steps", self.warmup_steps, low=0)
        rates = self.learning_rate if isinstance(self.learning_rate, dict) else {"": self.learning_rate}
        for part, rate in rates.items():
            if rate is not None:
                of_part = f" of {part}" if part else ""
                check_range(f"{where}learning_rate{of_part}", rate, low=0.0, open_low=True)

    @property
    def ends(self) -> bool:
        """Whether it says how long it lasts."""
        return self.max_epochs is not None or self.max_steps is not None


@dataclass(frozen=True)
class Finetune:
    """How `segfocal finetune` takes over weights, and in which phases it trains.

    Args:
        checkpoint: "best" or "last", of a run directory.
        first_conv: "sum" or "cycle": what a first convolution for other image channels is made of.
        min_matched: Share of the network's tensors that must come from the checkpoint.
        new_head: Whether the head starts anew though the checkpoint has one of the same size.
        head_prior: Bias of a head that is new: "measured" takes the class frequencies of the training split,
            a number is the foreground frequency, null leaves it as built.
        phases: In their order; null is one phase that trains everything. ``trainer.max_steps`` and
            ``trainer.max_epochs`` end the whole, counted over all phases; only the last phase may do without
            an end of its own. ``trainer.max_time`` ends each phase.
    """

    checkpoint: Literal["best", "last"] = "best"
    first_conv: Literal["sum", "cycle"] = "sum"
    min_matched: float = 0.5
    new_head: bool = False
    head_prior: Literal["measured"] | float | None = "measured"
    phases: list[Phase] | None = None


@dataclass(frozen=True)
class ActivePhase:
    """A phase that is being trained.

    Args:
        phase: Which.
        number: From 1.
        first_step: Optimizer steps taken before it.
        first_epoch: Epochs begun before it.
    """

    phase: Phase
    number: int
    first_step: int
    first_epoch: int

    def limits(self, *, max_steps: int, max_epochs: int | None) -> dict[str, int]:
        """Return where its trainer stops, counted from the beginning of the first phase.

        Args:
            max_steps: Of the whole, -1 for none.
            max_epochs: Of the whole, None or -1 for none.

        Returns:
            ``max_steps`` and ``max_epochs`` for a trainer, -1 for none.
        """
        steps = [self.first_step + self.phase.max_steps] if self.phase.max_steps else []
        epochs = [self.first_epoch + self.phase.max_epochs] if self.phase.max_epochs else []
        steps += [max_steps] if max_steps != -1 else []
        epochs += [max_epochs] if max_epochs is not None and max_epochs != -1 else []
        return {"max_steps": min(steps, default=-1), "max_epochs": min(epochs, default=-1)}

    def reached(self, *, max_steps: int, max_epochs: int | None) -> bool:
        """Return whether there is anything left of the whole when it begins."""
        epochs = math.inf if max_epochs is None or max_epochs == -1 else max_epochs
        steps = math.inf if max_steps == -1 else max_steps
        return self.first_step < steps and self.first_epoch < epochs

    def finished(self, *, step: int, steps_per_epoch: float, max_steps: int, max_epochs: int | None) -> bool:
        """Return whether a fit of it that ended was not merely cut off by the end of the whole.

        Args:
            step: At its end.
            steps_per_epoch: Optimizer steps.
            max_steps: Of the whole, -1 for none.
            max_epochs: Of the whole, None or -1 for none.
        """
        own = self._last_step(self.limits(max_steps=-1, max_epochs=None), steps_per_epoch)
        both = self._last_step(self.limits(max_steps=max_steps, max_epochs=max_epochs), steps_per_epoch)
        return step < both or step >= own  # before both ends it was a callback

    def _last_step(self, limits: dict[str, int], steps_per_epoch: float) -> float:
        ends = [float(limits["max_steps"])] if limits["max_steps"] != -1 else []
        if limits["max_epochs"] != -1:
            ends.append(self.first_step + steps_per_epoch * (limits["max_epochs"] - self.first_epoch))
        return min(ends, default=math.inf)


def phases_of(settings: Finetune, *, ends: bool) -> list[Phase]:
    """Return the phases to train.

    Args:
        settings: The section.
        ends: Whether the trainer's settings end the whole.

    Returns:
        At least one.

    Raises:
        SegfocalError: For two of a name, and for a phase without an end.

    Example:
        >>> [phase.name for phase in phases_of(Finetune(), ends=True)]
        ['all']
    """
    phases: Sequence[Phase] = [Phase("all")] if settings.phases is None else settings.phases
    names = [phase.name for phase in phases]
    if not names or len(set(names)) < len(names):
        raise SegfocalError(f"finetune.phases must be a list of phases with different names, got {names}.")
    for phase in phases[:-1]:
        if not phase.ends:
            raise SegfocalError(
                f"phase {phase.name!r} has no end, so that none after it would begin. Give it max_epochs or "
                "max_steps."
            )
    if not phases[-1].ends and not ends:
        raise SegfocalError(
            f"phase {phases[-1].name!r} has no end. Give it max_epochs or max_steps, or set "
            "trainer.max_epochs or trainer.max_steps, which end the whole."
        )
    return list(phases)
