"""What a monitored score of validation can see, and what it does where it is no number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor

from segfocal.data.base import CaseData
from segfocal.data.cases import threaded
from segfocal.errors import SegfocalError
from segfocal.imbalance.background import covered
from segfocal.runs.scores import Empty
from segfocal.training.prepare import DataFacts

WAY_OUT = "val/dataset_dice"


class ScoreEarlyStopping(EarlyStopping):
    """Lightning's early stopping, but for scores that are nan: such a validation neither stops nor counts."""

    @classmethod
    def of(cls, given: EarlyStopping) -> ScoreEarlyStopping:
        """Return one with the settings of another.

        Args:
            given: As the configuration made it.
        """
        made = cls.__new__(cls)
        made.__dict__.update(given.__dict__)
        return made

    @property
    def state_key(self) -> str:
        """That of Lightning's own, so that checkpoints of either fit both."""
        return self._generate_state_key(monitor=self.monitor, mode=self.mode).replace(
            type(self).__qualname__, EarlyStopping.__qualname__, 1
        )

    def _evaluate_stopping_criteria(self, current: Tensor) -> tuple[bool, str | None]:
        return (False, None) if bool(current.isnan()) else super()._evaluate_stopping_criteria(current)


def passes_nan(callback: Any) -> Any:
    """Return a callback of the configuration; early stopping on a score lets validations of nan pass.

    Args:
        callback: Any. A nan of a loss still stops.
    """
    if type(callback) is EarlyStopping and _is_score(callback.monitor):
        return ScoreEarlyStopping.of(callback)
    return callback


@dataclass(frozen=True)
class Presence:
    """Which classes the validation images hold.

    Args:
        facts: Of the data.
        images: How many there are.
        holding: Per class, how many hold a pixel of it.
    """

    facts: DataFacts
    images: int
    holding: NDArray[np.int64]

    @classmethod
    def of(cls, data: CaseData, facts: DataFacts, *, most: float = math.inf) -> Presence:
        """Read the labels of the validation images.

        Args:
            data: The data module, set up.
            facts: Of the data.
            most: So many images are scored at most.
        """
        cases = data.cases("val")
        images = int(min(len(cases), most))
        shape = images, len(facts.class_names)
        held = threaded(lambda index: cases.labels(index).rows.held(), range(images))
        holding = np.array(held, dtype=np.int64).reshape(shape).sum(axis=0)
        # what is too small for the size of the network may be in the files
        if not holding.all() and data.network_size() is not None:
            held = threaded(cases.holds, range(images))
            holding = np.array(held, dtype=np.int64).reshape(shape).sum(axis=0)
        return cls(facts, images, holding)

    def notes(self, monitors: Iterable[str], *, empty: Empty) -> list[str]:
        """Return what monitored scores cover and do not see, one line each.

        Args:
            monitors: Names of logged metrics.
            empty: What empty masks score.

        Raises:
            SegfocalError: Where one of them can see nothing at all.
        """
        lines = []
        for monitor in dict.fromkeys(monitors):
            if not self.images or not _is_score(monitor):
                continue
            watched, whole = self._watched(monitor)
            absent = [self.facts.class_names[index] for index in watched if not self.holding[index]]
            pooled = monitor.split("/")[1].startswith("dataset_")
            if len(absent) == len(watched) and empty != "one" and not (pooled and whole):
                raise self._blind(monitor, absent)
            if whole:
                lines.append(f"{monitor}: {covered(self.facts.class_names, self.facts.background)}")
            if absent:
                lines.append(self._unseen(monitor, absent, false_positives=pooled or empty == "one"))
        return lines

    def _watched(self, monitor: str) -> tuple[list[int], bool]:
        """Return the classes that a score is about, and whether it is a mean over them."""
        names, name = self.facts.class_names, monitor.split("/", 2)[2:]
        if name and name[0] in names:
            return [list(names).index(name[0])], False
        return [index for index in range(len(names)) if index != self.facts.background], True

    def _unseen(self, monitor: str, absent: Sequence[str], *, false_positives: bool) -> str:
        it = _it(absent)
        sees = f"sees only false positives of {it}" if false_positives else f"does not see {it}"
        return f"{_classes(absent)} {self._nowhere(absent)}: {monitor} {sees}"

    def _blind(self, monitor: str, absent: Sequence[str]) -> SegfocalError:
        return SegfocalError(
            f"{monitor} is monitored, but {_classes(absent)} {self._nowhere(absent)}: it would be nan at "
            f"every validation. Put images with {_it(absent)} into the validation split, or use "
            f"--checkpoint.monitor {WAY_OUT}, which needs none (early stopping has a monitor of its own)."
        )

    def _nowhere(self, absent: Sequence[str]) -> str:
        occurs = "occurs" if len(absent) == 1 else "occur"
        if self.images == 1:
            return f"{occurs} not in the 1 validation image"
        return f"{occurs} in none of the {self.images} validation images"


def _classes(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return f"class {shown}" if len(names) == 1 else f"classes {shown}"


def _it(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _is_score(monitor: str) -> bool:
    parts = monitor.split("/")
    return parts[0] == "val" and len(parts) > 1 and parts[1] not in ("loss", "threshold")
