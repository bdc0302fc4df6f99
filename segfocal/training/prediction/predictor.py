"""From an image array to masks and probabilities: the steps of validation, for images of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from segfocal.data.preprocess import Preprocess
from segfocal.errors import SegfocalError, check_choice
from segfocal.models.outputs import main_output
from segfocal.models.stride import size_divisor
from segfocal.training.prediction.checks import check_posterior, find_device, full_thresholds
from segfocal.training.prediction.tiles import Tiling, check_tiling, predict_tiled, scoring_tiling
from segfocal.training.prediction.tta import Symmetry, average_views
from segfocal.training.prepare import spatial_dims

if TYPE_CHECKING:  # brings MONAI, which images do not need
    from segfocal.data.volumes.preprocess import VolumePreprocess
    from segfocal.data.volumes.reading import Volume

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says about one image.

    Args:
        mask: At the image's size: binary ``(H, W)`` uint8 with 0 and 1; multiclass ``(H, W)`` class numbers,
            uint8, or int32 beyond 255 classes; multilabel ``(K, H, W)`` uint8 with 0 and 1. Of a volume
            likewise with ``(X, Y, Z)``, the axes of its file.
        probabilities: ``(C, H, W)`` float32, C the number of logit channels (binary: 1).
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        class_names: One per channel.
    """

    mask: Array
    probabilities: npt.NDArray[np.float32]
    task: str
    class_names: tuple[str, ...]


class Predictor:
    """A trained network with everything it takes to apply it to an image array.

    ``segfocal.load(run_dir)`` makes one from a run directory.

    Args:
        network: Images ``(N, in_channels, *S)`` to logits ``(N, C, *S)``; moved to ``device``, evaluation
            mode.
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"``.
        preprocess: The steps of validation from an image array, or a volume, to the network's input.
        class_names: One per logit channel.
        thresholds: One per channel, as chosen on validation; ``None``: .5. Not for multiclass.
        loss: The loss the network was trained with, for ``posterior=True``.
        device: ``None``: an accelerator where there is one, else the CPU.
        divisor: Multiple that the network's input sizes must have; ``None``: found by trying.

    Raises:
        SegfocalError: For an unknown task, thresholds that do not fit it, or a device that is not there.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        task: str,
        preprocess: Preprocess | VolumePreprocess,
        class_names: Sequence[str],
        thresholds: Sequence[float] | None = None,
        loss: nn.Module | None = None,
        device: torch.device | str | None = None,
        divisor: int | None = None,
    ) -> None:
        check_choice("task", task, ("binary", "multiclass", "multilabel"))
        self.task = task
        self.preprocess = preprocess
        self.class_names = tuple(class_names)
        self.thresholds = full_thresholds(thresholds, task=task, channels=len(self.class_names))
        self.loss = loss
        self.device = find_device(device)
        axes = spatial_dims(network)
        self.memory_format = torch.channels_last if axes == 2 else torch.channels_last_3d
        self.network = network.to(self.device).to(memory_format=self.memory_format).eval()
        self.tiling = _tiling_of(preprocess)
        self.divisor = size_divisor(
            self.network,
            in_channels=preprocess.in_channels,
            spatial_dims=axes,
            divisor=divisor,
            window=self.tiling.edges(axes) if self.tiling.pad else None,
        )

    def __call__(
        self,
        image: Array | Volume,
        *,
        tiling: Tiling | None = None,
        tta: Symmetry = "none",
        posterior: bool = False,
        threshold: float | Sequence[float] | None = None,
    ) -> Prediction:
        """Predict one image.

        Args:
            image: ``(H, W)`` or ``(H, W, C)``, uint8, uint16 or float, any size; what ``preprocess`` accepts.
                Or a volume from ``segfocal.data.volumes.reading.read_volume``.
            tiling: How to cut large images; ``None``: the defaults of ``Tiling``, of volumes the windows of
                the training.
            tta: Average over ``"mirror"`` images, ``"flips"`` or quarter ``"turns"``.
            posterior: Return class posteriors, read out of the scores through the loss. The mask stays what
                the scores and the run's own thresholds make it.
            threshold: Instead of the run's own: one number or one per class, applied to the probabilities
                that are returned. Not for multiclass.

        Returns:
            Mask and probabilities at the size of ``image``, also where ``preprocess`` resamples it.

        Raises:
            SegfocalError: For images that ``preprocess`` refuses, scores that are not finite, a loss
                without an exact posterior, and a threshold that does not fit.
        """
        override = self.check(tiling=tiling, posterior=posterior, threshold=threshold)
        scores = self._scores(image, tiling=tiling, tta=tta)
        probabilities = self._posterior(scores) if posterior else scores
        mask = (
            self._mask(scores, self.thresholds) if override is None else self._mask(probabilities, override)
        )
        return Prediction(mask, probabilities, self.task, self.class_names)

    def check(
        self,
        *,
        tiling: Tiling | None = None,
        posterior: bool = False,
        threshold: float | Sequence[float] | None = None,
    ) -> tuple[float, ...] | None:
        """Raise for wishes that no image can fulfil; args as for a prediction.

        Returns:
            One threshold per channel where some were given, else None.

        Raises:
            SegfocalError: For tiles too small for the network, a loss without an exact posterior, and a
                threshold that does not fit.
        """
        check_tiling(tiling or self.tiling, self.divisor)
        if posterior:
            check_posterior(self.loss, channels=len(self.class_names))
        if threshold is None:
            return None
        return full_thresholds(threshold, task=self.task, channels=len(self.class_names))

    def _scores(
        self, image: Array | Volume, *, tiling: Tiling | None, tta: Symmetry
    ) -> npt.NDArray[np.float32]:
        prepared, restore = _prepared(self.preprocess, image)
        with torch.inference_mode():
            found = predict_tiled(
                lambda tiles: average_views(self._activate, tiles, symmetry=tta),
                prepared,
                tiling=tiling or self.tiling,
                divisor=self.divisor,
                device=self.device,
            )
        scores: npt.NDArray[np.float32] = found.numpy()
        if len(scores) != len(self.class_names):
            raise SegfocalError(
                f"The network must have {len(self.class_names)} logit channels, one for each of "
                f"{', '.join(self.class_names)}, got {len(scores)}."
            )
        if not np.isfinite(scores).all():
            raise SegfocalError(
                "The network's scores for this image are not finite. Its weights are broken or its training "
                "diverged: choose another checkpoint."
            )
        return restore(scores)

    def _activate(self, tiles: Tensor) -> Tensor:
        logits = main_output(self.network(tiles.contiguous(memory_format=self.memory_format))).float()
        return logits.softmax(dim=1) if self.task == "multiclass" else logits.sigmoid()

    def _posterior(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        loss = check_posterior(self.loss, channels=len(self.class_names))
        found = loss.posterior(torch.from_numpy(scores)[None])[0].float().numpy()
        return np.asarray(found, dtype=np.float32)

    def _mask(self, probabilities: npt.NDArray[np.float32], thresholds: tuple[float, ...] | None) -> Array:
        if thresholds is None:
            numbers = probabilities.argmax(axis=0)
            return np.asarray(numbers, dtype=np.uint8 if len(self.class_names) <= 255 else np.int32)
        limits = np.array(thresholds, dtype=np.float32).reshape(-1, *(1,) * (probabilities.ndim - 1))
        chosen = (probabilities > limits).astype(np.uint8)
        return np.asarray(chosen[0] if self.task == "binary" else chosen)


def load(
    run_dir: str | Path,
    *,
    checkpoint: str | Path = "best",
    device: str | torch.device | None = None,
    trust: bool = False,
) -> Predictor:
    """Make a Predictor from a run directory; nothing else is needed, the training images neither.

    Args:
        run_dir: The folder that ``segfocal fit --run`` made.
        checkpoint: ``"best"``, ``"last"``, or a file.
        device: ``None``: an accelerator where there is one, else the CPU.
        trust: Whether the configuration of a run that was not trained here may name any class, which is to
            run code of whoever wrote it; False: public classes of known packages alone (docs/security.md).

    Returns:
        The Predictor, with the run's preprocessing, class names and thresholds.

    Raises:
        SegfocalError: If the folder is no run of this version, holds no such checkpoint, names classes that
            ask for trust, or the weights do not fit the configuration.
    """
    from segfocal.training.rebuild import (
        rebuild_task,
    )  # brings Lightning

    rebuilt = rebuild_task(run_dir, checkpoint=checkpoint, trust=trust)
    info = rebuilt.info
    return Predictor(
        rebuilt.task.network,
        task=info["task"],
        preprocess=_preprocess_of(info["preprocess"]),
        class_names=info["class_names"],
        thresholds=None if info["task"] == "multiclass" else rebuilt.task.thresholds,
        loss=rebuilt.task.loss,
        device=device,
        divisor=rebuilt.task.divisor,
    )


def _preprocess_of(settings: dict[str, Any]) -> Preprocess | VolumePreprocess:
    if "volume" not in settings:
        return Preprocess.from_dict(settings)
    from segfocal.data.volumes.preprocess import VolumePreprocess

    return VolumePreprocess.from_dict(settings["volume"])


def _tiling_of(preprocess: Preprocess | VolumePreprocess) -> Tiling:
    return scoring_tiling(None if isinstance(preprocess, Preprocess) else preprocess.tile)


def _prepared(
    preprocess: Preprocess | VolumePreprocess, image: Array | Volume
) -> tuple[Tensor, Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]]:
    """Return the network's input, and what leads its scores back to the grid of the image."""
    if isinstance(preprocess, Preprocess):
        if not isinstance(image, np.ndarray):
            raise SegfocalError(f"this network segments images of two axes, got {type(image).__name__}.")
        size = image.shape[:2]
        return torch.from_numpy(preprocess(image)), lambda scores: preprocess.restore(scores, size)
    if isinstance(image, np.ndarray):
        raise SegfocalError("this network segments volumes: read them with data.volumes.reading.read_volume.")
    prepared = preprocess.image(image)
    return prepared.as_tensor(), lambda scores: preprocess.restore(torch.from_numpy(scores), prepared)
