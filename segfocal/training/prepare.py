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
from segfocal.imbalance.background import background_class
from segfocal.losses.base import SegmentationLoss
from segfocal.models.head import head_width, set_head_bias
from segfocal.models.stride import check_patch
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


def check_patches(network: nn.Module, data: Any, *, divisor: int) -> None:
    """Raise where the network does not take the patches of the data.

    Args:
        network: The network.
        data: A data module; one without a ``patch_size`` is not checked.
        divisor: Multiple of the sizes that the network takes.

    Raises:
        SegfocalError: With the network's own complaint.
    """
    size = getattr(data, "patch_size", None)
    if isinstance(size, tuple):
        check_patch(network, size, divisor=divisor, in_channels=data.in_channels)


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
    network: nn.Module, *, num_classes: int, in_channels: int, spatial_dims: int, divisor: int
) -> None:
    """Raise unless the network makes one logit channel per class of the data.

    Args:
        network: Images to logits.
        num_classes: Logit channels that the data ask for.
        in_channels: Channels of its images.
        spatial_dims: 2 or 3.
        divisor: Multiple of the image sizes that it takes.

    Raises:
        SegfocalError: With both numbers.
    """
    width = head_width(network, in_channels=in_channels, spatial_dims=spatial_dims, divisor=divisor)
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

    Returns:
        The bias.

    Raises:
        SegfocalError: On any other word, or where the head has no bias.
    """
    bias = prior_bias(prior, task=task, counts=counts)
    set_head_bias(network, bias, in_channels=in_channels, spatial_dims=spatial_dims, divisor=divisor)
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
