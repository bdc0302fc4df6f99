"""Fit network, loss and data together before the first step, or say what contradicts what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from segfocal.data.base import CaseData
from segfocal.errors import SegfocalError
from segfocal.imbalance import bias_prior
from segfocal.imbalance.background import auto_note, background_class
from segfocal.losses.base import SegmentationLoss
from segfocal.losses.deep import DeepSupervision
from segfocal.models.head import head_width, set_head_bias, small_input
from segfocal.models.stride import size_divisor
from segfocal.models.trainable import accepts, check_activation, check_training
from segfocal.training.prediction.tiles import Tiling

Task = Literal["binary", "multiclass", "multilabel"]


@dataclass(frozen=True)
class DataFacts:
    """What a task must know of its data at every step.

    Args:
        task: "binary", "multiclass" or "multilabel".
        class_names: One per logit channel.
        ignore_index: Label that counts nowhere, or None.
        divisor: Multiple of the image sizes that the network takes, in pixels.
        tiling: Windows in which larger cases are scored; None: all are scored whole.
        background: Number of the class that means over classes leave out; None: all count.
        restored: Leads the scores of one case of a batch back to the size of its file, see
            ``CaseData.restored``; None: for data modules that know no files.
    """

    task: Task
    class_names: tuple[str, ...]
    ignore_index: int | None
    divisor: int
    tiling: Tiling | None = None
    background: int | None = None
    restored: Callable[[torch.Tensor, Mapping[str, Any], int], torch.Tensor] | None = None


def background_of(data: Any) -> int | None:
    """Return the background class of a data module; of a foreign one as its class names say."""
    if isinstance(data, CaseData):
        return data.background
    return background_class("auto", task=data.task, class_names=list(data.class_names))


def background_note(data: Any) -> str:
    """Return what decided which class is the background where no setting did; empty where one did."""
    if isinstance(data, CaseData):
        return data.background_note
    return auto_note(list(data.class_names)) if data.task == "multiclass" else ""


def spatial_dims(network: nn.Module) -> int:
    """Return 3 for a network with 3D convolutions, else 2."""
    return 3 if any(isinstance(module, nn.Conv3d) for module in network.modules()) else 2


def check_tasks(*, task: str | None, loss: nn.Module, data_task: Task) -> Task:
    """Return the one task that task, loss and data agree on.

    Args:
        task: model.task, or None.
        loss: Any loss; ours know their task and ignored label.
        data_task: The data module's.

    Returns:
        The task.

    Raises:
        SegfocalError: Naming which of them says what.
    """
    said = {"model.task": task, "data": data_task}
    if isinstance(loss, SegmentationLoss):
        said["model.loss"] = loss.task
    for name, value in said.items():
        if value is not None and value != data_task:
            raise SegfocalError(
                f"{name} is set to task {value!r}, but the data are {data_task!r}. "
                f"Set task: {data_task} there, or choose other data."
            )
    return data_task


def find_divisor(network: nn.Module, data: Any, *, divisor: int | None, spatial_dims: int) -> int:
    """Return the multiple of the sizes that a network takes, or say that it takes one size alone.

    Args:
        network: The network.
        data: A data module; volumes are run in windows of one size.
        divisor: Where it is known.
        spatial_dims: 2 or 3.

    Raises:
        SegfocalError: With the network's own complaint, or the one size.
    """
    window, channels = data.tile if isinstance(data, CaseData) else None, data.in_channels
    try:
        return size_divisor(
            network, in_channels=channels, spatial_dims=spatial_dims, divisor=divisor, window=window
        )
    except SegfocalError as error:
        if "No input size" in str(error):
            _refuse_one_size(network, data, window=window, axes=spatial_dims)
        raise


def _refuse_one_size(network: nn.Module, data: Any, *, window: tuple[int, ...] | None, axes: int) -> None:
    squares = [(edge,) * axes for edge in range(16, 513 if axes == 2 else 161, 16)]
    channels, patch = data.in_channels, window or patch_of(data)
    tried = ([] if patch is None else [patch]) + squares
    alone = next((size for size in tried if accepts(network, (1, channels, *size))), None)
    if alone is None:
        return
    name, edge = type(network).__name__, alone[0]
    if accepts(network, (1, channels, *(3 * side for side in alone))):
        raise SegfocalError(f"{name} takes multiples of {edge} pixels only. Set model.divisor: {edge}.")
    if window is not None:
        raise SegfocalError(
            f"{name} takes volumes of {list(alone)} voxels alone. Set data.init_args.patch_size to that; "
            "from 128 voxels on its sides must be multiples of 32, so that windows overlap."
        )
    raise SegfocalError(
        f"{name} takes images of {list(alone)} pixels alone, but validation, test and predict run on whole "
        "images. Take a network for any size, such as segfocal.models.SmallUNet, smp.Unet or SwinUNETR; "
        f"or set model.divisor: {edge} and data.init_args.patch_size: {edge} where no image is larger."
    )


def patch_of(data: Any) -> tuple[int, ...] | None:
    """Return the size of the patches of a data module; None for one without."""
    size = getattr(data, "patch_size", None)
    return size if isinstance(size, tuple) else None


def check_axes(network: nn.Module, data: Any, *, spatial_dims: int) -> None:
    """Raise where a network for volumes meets images, or the other way round.

    Args:
        network: The network.
        data: A data module; one without a ``patch_size`` is not checked.
        spatial_dims: Of the network.

    Raises:
        SegfocalError: Naming both.
    """
    size = patch_of(data)
    if size is not None and len(size) != spatial_dims:
        raise SegfocalError(
            f"{type(network).__name__} works on {spatial_dims} spatial axes, but the data have {len(size)} "
            f"(patch_size {list(size)}). Set its spatial_dims to {len(size)}, or take another network."
        )


def check_patches(network: nn.Module, loss: nn.Module, data: Any, *, divisor: int) -> str | None:
    """Raise where a network cannot be trained on the patches and batches of the data.

    Args:
        network: The network.
        loss: Any loss.
        data: A data module; one without a ``patch_size`` is not checked.
        divisor: Multiple of the sizes that the network takes.

    Returns:
        A sentence about outputs that are not scored; None where there is one output.

    Raises:
        SegfocalError: With the network's own complaint, or what it returns, and the way out.
    """
    size = patch_of(data)
    if size is None:
        return None
    return check_training(
        network,
        size=size,
        batch=data.batch_size,
        in_channels=data.in_channels,
        divisor=divisor,
        outputs=None if isinstance(loss, DeepSupervision) else 1,
    )


def check_logits(
    network: nn.Module,
    *,
    in_channels: int,
    spatial_dims: int,
    divisor: int,
    size: tuple[int, ...] | None = None,
) -> None:
    """Raise where a network returns probabilities in place of logits; arguments as in `check_head`.

    Raises:
        SegfocalError: Naming the way out.
    """
    images = small_input(network, in_channels, spatial_dims=spatial_dims, divisor=divisor, size=size)
    check_activation(network, in_channels=in_channels, size=images.shape[2:])


def check_ignored(loss: nn.Module, ignore_index: int | None) -> None:
    """Raise where the data hold ignored pixels that the loss would take for a class.

    Args:
        loss: Any loss; foreign ones are not checked.
        ignore_index: The data module's.

    Raises:
        SegfocalError: Naming both values.
    """
    if ignore_index is None or not isinstance(loss, SegmentationLoss):
        return
    terms = [term for term in loss.modules() if isinstance(term, SegmentationLoss)]
    leaves = [
        term for term in terms if not any(isinstance(child, SegmentationLoss) for child in term.children())
    ]
    for term in leaves:
        if term.ignore_index != ignore_index:
            raise SegfocalError(
                f"{type(term).__name__} has ignore_index={term.ignore_index}, but the data mark unlabelled "
                f"and padded pixels with {ignore_index}. Set ignore_index: {ignore_index} in the loss."
            )


def check_head(
    network: nn.Module,
    *,
    num_classes: int,
    in_channels: int,
    spatial_dims: int,
    divisor: int,
    size: tuple[int, ...] | None = None,
) -> None:
    """Raise unless the network makes one logit channel per class of the data.

    Args:
        network: Images to logits.
        num_classes: Logit channels that the data ask for.
        in_channels: Channels of its images.
        spatial_dims: 2 or 3.
        divisor: Multiple of the image sizes that it takes.
        size: Of an image that it takes, for networks that do not take a small one.

    Raises:
        SegfocalError: With both numbers.
    """
    width = head_width(
        network, in_channels=in_channels, spatial_dims=spatial_dims, divisor=divisor, size=size
    )
    if width != num_classes:
        raise SegfocalError(
            f"The network makes {width} logit channels, but the data have {num_classes} "
            f"(binary 1, multiclass all classes with the background, multilabel one per label). Set the "
            f"network's number of classes (num_classes, classes or out_channels) to {num_classes}."
        )


def resolve_loss(loss: nn.Module, counts: np.ndarray[Any, Any]) -> nn.Module:
    """Give a balanced loss its numbers.

    Args:
        loss: Any loss.
        counts: Pixel counts of the training split.

    Returns:
        The resolved copy; the loss itself where nothing waits for counts.
    """
    if isinstance(loss, SegmentationLoss) and loss.wants_counts():
        return loss.with_alpha(torch.as_tensor(counts))
    return loss


def resolved_alpha(loss: nn.Module) -> Any:
    """Return the numbers of the first alpha in a loss, for run.json; None where there is none."""
    for term in loss.modules():
        alpha = term.settings().get("alpha") if isinstance(term, SegmentationLoss) else None
        if alpha is not None:
            return alpha
    return None


def plain_settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a task's arguments as values that load with ``weights_only=True``.

    Args:
        arguments: The local variables of its constructor.

    Returns:
        The same without the task, objects replaced by class path and ``repr``.
    """
    settings = {name: value for name, value in arguments.items() if name not in ("self", "__class__")}
    settings |= {name: _plain(settings[name]) for name in ("network", "loss")}
    scores = settings["test_scores"]
    settings["test_scores"] = None if scores is None else asdict(scores)
    for name in ("changes", "penalties"):
        settings[name] = [_plain(each) for each in settings[name] or ()] or None
    return settings


def start_at_prior(
    network: nn.Module,
    prior: str | float,
    *,
    task: Task,
    counts: np.ndarray[Any, Any],
    in_channels: int,
    spatial_dims: int,
    divisor: int,
    size: tuple[int, ...] | None = None,
) -> list[float]:
    """Set the head's bias so that the first scores equal the class frequencies.

    Args:
        network: Changed in place.
        prior: "measured" takes the counts; a number is the foreground frequency.
        task: "binary", "multiclass" or "multilabel".
        counts: Pixel counts of the training split.
        in_channels: Of the images.
        spatial_dims: 2 or 3.
        divisor: Multiple of the image sizes that it takes.
        size: As in `check_head`.

    Returns:
        The bias.

    Raises:
        SegfocalError: On any other word, or where the head has no bias.
    """
    bias = prior_bias(prior, task=task, counts=counts)
    set_head_bias(
        network, bias, in_channels=in_channels, spatial_dims=spatial_dims, divisor=divisor, size=size
    )
    return bias


def prior_bias(prior: str | float, *, task: Task, counts: np.ndarray[Any, Any]) -> list[float]:
    """Return the bias at which a head scores the class frequencies.

    Args:
        prior: "measured" takes the counts; a number is the foreground frequency.
        task: "binary", "multiclass" or "multilabel".
        counts: Pixel counts of the training split.

    Returns:
        One bias per logit channel, in nats.

    Raises:
        SegfocalError: On any other word.
    """
    if isinstance(prior, str) and prior != "measured":
        raise SegfocalError(f"head_prior must be 'measured', a foreground frequency or null, got {prior!r}.")
    known = counts if isinstance(prior, str) else [prior] * (len(counts) if task == "multilabel" else 1)
    return [float(value) for value in bias_prior(known, task=task)]


def _plain(thing: object) -> dict[str, str]:
    kind = type(thing)
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "repr": repr(thing)}
