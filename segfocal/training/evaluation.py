"""The metrics of one pass over whole images: what every stage counts, and what only a final one does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn
from torchmetrics import MeanMetric

from segfocal.losses.pixel_part import PixelLosses
from segfocal.metrics.concentration import LossConcentration
from segfocal.metrics.curves import PixelCurves
from segfocal.metrics.masks import MaskScores
from segfocal.metrics.segmentation import SegmentationScores
from segfocal.metrics.surface import SurfaceScores
from segfocal.metrics.threshold import Choice, ThresholdSearch
from segfocal.runs.curves import ScoreKind
from segfocal.runs.scores import Empty
from segfocal.training.final_scores import FinalScores


class StageScores(nn.Module):
    """Scores at threshold 0.5, the best thresholds, and for a final stage those at the tuned one and curves.

    Args:
        task: "binary", "multiclass" or "multilabel".
        class_names: One per logit channel.
        ignore_index: Label that counts nowhere.
        empty: What empty masks score, see ``segfocal.runs.scores.dice``.
        background: Number of the class that means over classes leave out; None: all count.
        thresholds: Tuned thresholds to score beside 0.5; None: none are known.
        search: Whether to look for the best thresholds (validation); never in multiclass, which takes the
            argmax.
        curves: Whether to gather calibration and precision-recall (final stages).
        final: Which scores of masks a final stage records; None: none.
        recalibrated: Kinds of scores whose calibration is gathered beside that of the network's own.
        pixel_loss_name: Class of the pixel loss whose spread over the pixels is gathered; None: of none.
    """

    def __init__(
        self,
        *,
        task: Literal["binary", "multiclass", "multilabel"],
        class_names: Sequence[str],
        ignore_index: int | None,
        empty: Empty = "nan",
        background: int | None = None,
        thresholds: Sequence[float] | None = None,
        search: bool = False,
        curves: bool = False,
        final: FinalScores | None = None,
        recalibrated: Sequence[ScoreKind] = (),
        pixel_loss_name: str | None = None,
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {"class_names": class_names, "ignore_index": ignore_index}
        common["background"] = background
        classes = len(class_names)
        sigmoid = task != "multiclass"
        self.loss = MeanMetric(nan_strategy="disable")
        self.fixed = SegmentationScores(task, classes, empty=empty, **common)
        self.tuned = (
            SegmentationScores(task, classes, empty=empty, thresholds=thresholds, **common)
            if thresholds is not None and sigmoid
            else None
        )
        self.search = ThresholdSearch(task, classes, empty=empty, **common) if search and sigmoid else None
        self.curves = PixelCurves(task, classes, **common) if curves else None
        masks = final.masks(task, empty=empty, **common) if final else []
        self.at_half = nn.ModuleList(masks)
        both = final is not None and self.tuned is not None
        masks = final.masks(task, empty=empty, thresholds=thresholds, **common) if final and both else []
        self.at_tuned = nn.ModuleList(masks)
        self.froc = None if final is None else final.froc(task, **common)
        self.pixel_loss_name = pixel_loss_name
        self.concentration = None if pixel_loss_name is None else LossConcentration()
        self.recalibrated = nn.ModuleDict(
            {kind: PixelCurves(task, classes, precision_recall=False, **common) for kind in recalibrated}
        )

    def update(
        self,
        probabilities: Tensor,
        batch: Mapping[str, Any],
        *,
        loss: Tensor,
        recalibrated: Mapping[str, Tensor] | None = None,
        pixels: PixelLosses | None = None,
    ) -> None:
        """Count a batch of whole images.

        Args:
            probabilities: ``(N, C, *S)`` in [0, 1].
            batch: With ``mask`` and ``name``; with ``spacing``, distances are in mm; with
                ``stored_region``, the edge of a region is no edge of masks.
            loss: Of the batch.
            recalibrated: Kind of score to probabilities, for the kinds given to the constructor.
            pixels: The loss of every element, where its spread is gathered.
        """
        target, names = batch["mask"], list(batch["name"])
        self.loss.update(loss.detach().float(), weight=len(names))
        for metric in (self.fixed, self.tuned, self.search, self.curves):
            if metric is not None:
                metric.update(probabilities, target, names)
        for masks in self._all_masks():
            if isinstance(masks, SurfaceScores):
                masks.update(probabilities, target, names, batch.get("spacing"), batch.get("stored_region"))
            else:
                masks.update(probabilities, target, names, batch.get("spacing"))
        for kind, curves in self.recalibrated_curves().items():
            curves.update((recalibrated or {})[kind], target, names)
        if self.concentration is not None and pixels is not None:
            self.concentration.update(pixels.values, pixels.foreground, pixels.kept)

    def compute(self) -> dict[str, Tensor]:
        """Return every score as a scalar; collective.

        Returns:
            Names as `SegmentationScores` and the scores of masks give them, those at the tuned threshold
            under ``tuned_...``; those of the curves as `PixelCurves` gives them, of other kinds of scores
            under ``temperature_...`` and ``posterior_...``; and ``loss``.
        """
        values: dict[str, Tensor] = {"loss": self.loss.compute(), **self.fixed.compute()}
        for masks in [*self.fixed_masks(), *([] if self.froc is None else [self.froc])]:
            values |= masks.compute()
        for tuned in [*([] if self.tuned is None else [self.tuned]), *self.tuned_masks()]:
            values |= {f"tuned_{name}": value for name, value in tuned.compute().items()}
        if self.search is not None:
            values |= self.search.compute()
        if self.curves is not None:
            values |= self.curves.compute()
        for kind, curves in self.recalibrated_curves().items():
            values |= {f"{kind}_{name}": value for name, value in curves.compute().items()}
        return values

    def recalibrated_curves(self) -> dict[str, PixelCurves]:
        """Return the curves of each further kind of scores."""
        return {kind: m for kind, m in self.recalibrated.items() if isinstance(m, PixelCurves)}

    def fixed_masks(self) -> list[MaskScores]:
        """Return the scores of masks at 0.5, or of the argmax."""
        return [metric for metric in self.at_half if isinstance(metric, MaskScores)]

    def tuned_masks(self) -> list[MaskScores]:
        """Return the scores of masks at the tuned thresholds."""
        return [metric for metric in self.at_tuned if isinstance(metric, MaskScores)]

    def choices(self) -> list[Choice] | None:
        """Return the threshold of each class and why, or None where none was looked for; collective."""
        return None if self.search is None else self.search.choices()

    def reset(self) -> None:
        """Forget every image."""
        others = [*self.recalibrated_curves().values(), *self._all_masks(), self.concentration]
        for metric in (self.loss, self.fixed, self.tuned, self.search, self.curves, *others):
            if metric is not None:
                metric.reset()

    def _all_masks(self) -> list[MaskScores]:
        return [*self.fixed_masks(), *self.tuned_masks(), *([] if self.froc is None else [self.froc])]


def validation_names(
    *, task: Literal["binary", "multiclass", "multilabel"], class_names: Sequence[str]
) -> list[str]:
    """Return the names under which a validation in training logs its scores, without seeing an image.

    Args:
        task: "binary", "multiclass" or "multilabel".
        class_names: One per logit channel.

    Returns:
        Names such as ``val/dice``.

    Example:
        >>> "val/dice/lesion" in validation_names(task="binary", class_names=["lesion"])
        True
    """
    scores = StageScores(task=task, class_names=class_names, ignore_index=None, search=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nothing was counted, which is the point
        return [f"val/{name}" for name in scores.compute()]
