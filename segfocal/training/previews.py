"""Reduced pictures of a few cases: into loggers while training, into ``cases/`` of the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pytorch_lightning import Callback, LightningModule, Trainer

from segfocal.runs.layout import RunPaths
from segfocal.runs.pictures import case_stem, class_part, write_pictured
from segfocal.runs.write import write_bytes
from segfocal.training.boards import show_picture
from segfocal.training.prediction.overlay import IGNORED, axial, overlay, telling_slices, to_picture
from segfocal.training.prediction.pictures import png
from segfocal.training.task import SegmentationTask

Array = npt.NDArray[Any]
SHOWN = 4  # of a training's last validation: in loggers, and in cases/live for the dashboard
LIVE = "live"
FINAL_CASES = 100  # what `validate` and `test` keep, so that a report can choose the telling ones


@dataclass(frozen=True, eq=False)
class Preview:
    """One case at a reduced size.

    Args:
        stem: What its files are called, see ``case_stem``.
        image: ``(H, W, 3)`` uint8.
        reference: Class numbers ``(H, W)`` or masks ``(K, H, W)``, uint8.
        prediction: Likewise.
        probability: ``(C, H, W)`` uint8, 255 for 1.
    """

    stem: str
    image: Array
    reference: Array
    prediction: Array
    probability: Array


def preview(
    image: Array,
    reference: Array,
    probabilities: Array,
    *,
    stem: str,
    task: str,
    longest_px: int,
    edges: tuple[float, float] = (1.0, 1.0),
) -> Preview:
    """Reduce one case.

    Args:
        image: ``(Cin, H, W)`` as the network saw it.
        reference: Labels ``(H, W)``, or ``(K, H, W)`` for multilabel.
        probabilities: ``(C, H, W)`` float.
        stem: What its files are called.
        task: "binary", "multiclass" or "multilabel".
        longest_px: Longest side of the result.
        edges: Height and width of a pixel, in any unit: pictures have the proportions of what they show.

    Returns:
        The case; a class is predicted above 0.5, or where it is the largest.
    """
    height, width = (n * edge / min(edges) for n, edge in zip(reference.shape[-2:], edges, strict=True))
    factor = min(1.0, longest_px / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    scores = np.stack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in probabilities])
    labels = reference.astype(np.uint8)
    picture = cv2.resize(to_picture(image.transpose(1, 2, 0)), size, interpolation=cv2.INTER_AREA)
    return Preview(
        stem=stem,
        image=picture,
        reference=_nearest(labels, size),
        prediction=_decide(scores, task),
        probability=np.round(255 * scores).astype(np.uint8),
    )


def side_by_side(case: Preview) -> Array:
    """Return image, reference and prediction next to each other, ``(H, 3 W, 3)`` uint8."""
    tinted = [overlay(case.image, case.reference), overlay(case.image, case.prediction)]
    return np.concatenate([case.image, *tinted], axis=1)


def case_files(case: Preview, class_names: list[str]) -> dict[str, bytes]:
    """Encode a case as PNG files.

    Args:
        case: The case.
        class_names: One per channel.

    Returns:
        File name to content: ``<stem>.image.png``, ``.reference.png``, ``.prediction.png`` (class numbers;
        one per class in multilabel) and ``.probability.<class>.png`` (255 stands for 1).
    """
    stem = case.stem
    files = {f"{stem}.image.png": png(case.image)}
    for kind, labels in (("reference", case.reference), ("prediction", case.prediction)):
        if labels.ndim == 2:
            files[f"{stem}.{kind}.png"] = png(labels)
        else:
            names = zip(class_names, labels, strict=True)
            files |= {f"{stem}.{kind}.{class_part(name)}.png": png(plane) for name, plane in names}
    scores = zip(class_names, case.probability, strict=True)
    return files | {f"{stem}.probability.{class_part(name)}.png": png(plane) for name, plane in scores}


class Previews(Callback):
    """Keeps the first few cases of each pass, on the first process; of volumes some slices.

    Args:
        run: The run directory's paths.
        count: How many images or volumes.
        longest_px: Longest side of the pictures.
    """

    def __init__(self, run: RunPaths, *, count: int = 8, longest_px: int = 256) -> None:
        self.run = run
        self.count = count
        self.longest_px = longest_px
        self.cases: list[Preview] = []
        self.seen = 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the cases of the pass before."""
        self.cases, self.seen = [], 0

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the cases of the pass before."""
        self.cases, self.seen = [], 0

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first cases."""
        self._keep(trainer, pl_module, outputs, batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first cases."""
        self._keep(trainer, pl_module, outputs, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the cases where loggers take pictures; in training keep them for the dashboard."""
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        shown = self.cases[:SHOWN]
        for logger in trainer.loggers:
            for case in shown:
                show_picture(logger, f"val/{case.stem}", side_by_side(case), step=trainer.global_step)
        if (
            trainer.state.fn == "fit"
            and isinstance(pl_module, SegmentationTask)
            and pl_module.facts is not None
        ):
            self._write(shown, LIVE, list(pl_module.facts.class_names))

    def write(self, stage: str, class_names: list[str], *, checkpoint: str) -> None:
        """Write the cases kept into ``cases/<stage>/``, and then whose they are.

        Args:
            stage: "val" or "test".
            class_names: One per channel.
            checkpoint: sha256 of the weights.
        """
        write_pictured(self.run, stage, checkpoint=None, stems=())
        self._write(self.cases, stage, class_names)
        stems = [case.stem for case in self.cases]
        write_pictured(self.run, stage, checkpoint=checkpoint, stems=stems)

    def _write(self, cases: Sequence[Preview], stage: str, class_names: list[str]) -> None:
        for case in cases:
            for name, content in case_files(case, class_names).items():
                write_bytes(self.run.case_pictures / stage / name, content)

    def _keep(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Mapping[str, Any]
    ) -> None:
        missing = self.count - self.seen
        if missing <= 0 or not trainer.is_global_zero:
            return
        assert isinstance(module, SegmentationTask)
        assert module.facts is not None
        for index in range(min(missing, len(batch["name"]))):
            self.seen += 1
            whole = (
                batch["image"][index].float().cpu().numpy(),
                batch["mask"][index].cpu().numpy(),
                outputs["probabilities"][index].float().cpu().numpy(),
            )
            edges = _edges(batch, index)
            self.cases += [
                preview(*planes, stem=stem, task=module.facts.task, longest_px=self.longest_px, edges=edges)
                for stem, planes in flat_pictures(*whole, name=str(batch["name"][index]))
            ]


def flat_pictures(
    image: Array, reference: Array, probabilities: Array, *, name: str
) -> list[tuple[str, tuple[Array, Array, Array]]]:
    """Return an image as it is, and of a volume a few axial slices.

    Args:
        image: ``(Cin, *S)``.
        reference: ``(*S)``, or ``(K, *S)`` for multilabel.
        probabilities: ``(C, *S)``.
        name: Of the image.

    Returns:
        What its files are called, and image, reference and probabilities of two axes. Slices are those of
        `axial`, lie evenly between the first and the last that hold foreground, or over the volume where none
        does, and are numbered from below.
    """
    if image.ndim == 3:
        return [(case_stem(name), (image, reference, probabilities))]
    return [
        (
            case_stem(name, slice_index=place),
            (axial(image, place), axial(reference, place), axial(probabilities, place)),
        )
        for place in telling_slices((reference > 0) & (reference != IGNORED))
    ]


def _edges(batch: Mapping[str, Any], index: int) -> tuple[float, float]:
    """Return height and width of a pixel of what is shown: of an axial slice in mm."""
    if "spacing" not in batch:
        return 1.0, 1.0
    right, anterior, _ = batch["spacing"][index].tolist()
    return float(anterior), float(right)


def _nearest(labels: Array, size: tuple[int, int]) -> Array:
    if labels.ndim == 2:
        return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))
    return np.stack([_nearest(plane, size) for plane in labels])


def _decide(scores: Array, task: str) -> Array:
    if task == "multiclass":
        return np.asarray(scores.argmax(axis=0), dtype=np.uint8)
    masks = (scores > 0.5).astype(np.uint8)
    return masks if task == "multilabel" else masks[0]
