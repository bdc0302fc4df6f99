"""Which scores of masks ``validate`` and ``test`` record, beside counts and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from segfocal.errors import SegfocalError, check_choice, check_range
from segfocal.metrics.centreline import CentrelineScores
from segfocal.metrics.froc import FrocScores
from segfocal.metrics.lesions import LesionScores
from segfocal.metrics.masks import MaskScores
from segfocal.metrics.surface import SurfaceScores
from segfocal.runs.scores import Empty

Task = Literal["binary", "multiclass", "multilabel"]
Wanted = bool | list[str]


@dataclass(frozen=True)
class FinalScores:
    """What is recorded: each for all foreground classes, for the classes named, or not at all.

    Args:
        surface: HD95 and NSD (``segfocal.metrics.surface``).
        lesions: Detection F1 of connected components, and FROC (``segfocal.metrics.lesions``, ``.froc``).
        centreline: clDice (``segfocal.metrics.centreline``).
        tolerance: Of NSD, in mm where cases have a spacing, else in pixels.
        min_lesion_px: Smaller components are neither lesions nor predictions.
        froc_level: Where candidates of FROC end, a probability.

    Raises:
        SegfocalError: For numbers out of range.

    Example:
        >>> chosen = FinalScores(surface=False, centreline=["vessel"])
        >>> masks = chosen.masks("binary", class_names=["vessel"], ignore_index=None)
        >>> [type(metric).__name__ for metric in masks]
        ['CentrelineScores']
    """

    surface: Wanted = True
    lesions: Wanted = False
    centreline: Wanted = False
    tolerance: float = 1.0
    min_lesion_px: int = 1
    froc_level: float = 0.125

    def __post_init__(self) -> None:
        check_range("test_scores.tolerance", self.tolerance, low=0.0)
        check_range("test_scores.min_lesion_px", self.min_lesion_px, low=1)
        check_range("test_scores.froc_level", self.froc_level, low=0.0, high=1.0, open_high=True)
        for name, wanted in self._wanted().items():
            if not isinstance(wanted, bool | list):
                raise SegfocalError(
                    f"test_scores.{name} must be true, false or a list of classes, got {wanted!r}."
                )

    def check(self, class_names: Sequence[str], *, background: int | None) -> None:
        """Raise for a class that the data do not have, or that is the background.

        Args:
            class_names: One per logit channel.
            background: Number of the background class; None: there is none.

        Raises:
            SegfocalError: Naming it and the nearest.
        """
        known = [name for index, name in enumerate(class_names) if index != background]
        for name, wanted in self._wanted().items():
            for each in wanted if isinstance(wanted, list) else []:
                check_choice(f"classes of test_scores.{name}", each, known)

    def masks(
        self,
        task: Task,
        *,
        class_names: Sequence[str],
        ignore_index: int | None,
        empty: Empty = "nan",
        thresholds: Sequence[float] | None = None,
        background: int | None = None,
    ) -> list[MaskScores]:
        """Return the scores of masks at one threshold per class.

        Args:
            task: "binary", "multiclass" or "multilabel".
            class_names: One per logit channel.
            ignore_index: Label that counts nowhere.
            empty: What empty masks score, see ``segfocal.runs.scores.dice``.
            thresholds: One per class; None: 0.5.
            background: Number of the class that has no such scores; None: all have.
        """
        common: dict[str, Any] = {
            "class_names": class_names,
            "ignore_index": ignore_index,
            "empty": empty,
            "thresholds": thresholds,
            "background": background,
        }
        kinds: dict[str, type[MaskScores]] = {
            "surface": SurfaceScores,
            "lesions": LesionScores,
            "centreline": CentrelineScores,
        }
        own: dict[str, dict[str, Any]] = {
            "surface": {"tolerance": self.tolerance},
            "lesions": {"min_size": self.min_lesion_px},
        }
        return [
            kinds[name](task, len(class_names), classes=_names(wanted), **common, **own.get(name, {}))
            for name, wanted in self._wanted().items()
            if wanted
        ]

    def froc(
        self,
        task: Task,
        *,
        class_names: Sequence[str],
        ignore_index: int | None,
        background: int | None = None,
    ) -> FrocScores | None:
        """Return what gathers FROC, which belongs to no threshold; args as ``masks``."""
        if not self.lesions:
            return None
        return FrocScores(
            task,
            len(class_names),
            class_names=class_names,
            ignore_index=ignore_index,
            classes=_names(self.lesions),
            min_size=self.min_lesion_px,
            level=self.froc_level,
            background=background,
        )

    def _wanted(self) -> dict[str, Wanted]:
        return {"surface": self.surface, "lesions": self.lesions, "centreline": self.centreline}


def _names(wanted: Wanted) -> list[str] | None:
    return wanted if isinstance(wanted, list) else None
