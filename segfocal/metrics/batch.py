"""Check a batch of probabilities and labels, and walk through it image by image, class by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from segfocal.errors import SegfocalError

_PIECE_CPU, _PIECE_CUDA = 2**17, 2**24

Task = Literal["binary", "multiclass", "multilabel"]


class Channel(NamedTuple):
    """One class of one image as a yes-or-no question; all tensors have shape (pixels,)."""

    image: int
    class_index: int
    probability: Tensor
    positive: Tensor  # bool: labelled with the class
    negative: Tensor  # bool: labelled otherwise; ignored pixels are neither

    def pieces(self, band: Tensor) -> Iterator[tuple[Channel, Tensor]]:
        """Cut this channel and a mask of the same pixels into pieces that fit a processor's cache.

        Twice as fast on a CPU as whole images, and the memory does not grow with them.
        """
        size = _PIECE_CUDA if band.is_cuda else _PIECE_CPU
        masks = (self.probability, self.positive, self.negative, band)
        for p, positive, negative, inside in zip(*(mask.split(size) for mask in masks), strict=True):
            yield Channel(self.image, self.class_index, p, positive, negative), inside


def check_batch(
    probabilities: Tensor,
    target: Tensor,
    names: Sequence[str],
    *,
    task: Task,
    num_classes: int,
    ignore_index: int | None,
) -> tuple[Tensor, Tensor]:
    """Check shapes, ranges and labels.

    Args:
        probabilities: (N, C, *S), floating, in [0, 1]; C is 1 for binary.
        target: Integer or bool labels: (N, *S) for binary and multiclass, (N, C, *S) for multilabel; binary
            takes (N, 1, *S) too.
        names: One per image.
        task: binary, multiclass or multilabel.
        num_classes: C.
        ignore_index: The label of pixels that count nowhere.

    Returns:
        The probabilities as float32 (float64 stays) and the target, detached; target (N, *S) for multiclass,
        (N, C, *S) otherwise.

    Raises:
        SegfocalError: Naming what was expected and what came; for labels outside the classes, their values
            and counts; for values outside [0, 1], a reminder that logits are not probabilities.
    """
    _check_probabilities(probabilities, num_classes=num_classes)
    target = _shaped_target(probabilities, target, task=task)
    if isinstance(names, str) or len(names) != len(probabilities):
        raise SegfocalError(
            f"names must hold one name per image ({len(probabilities)}), got {names!r}. "
            "Pass batch['name'] along with the batch."
        )
    highest = num_classes - 1 if task == "multiclass" else 1
    target = _wide_enough(target, highest, ignore_index)
    check_labels(target, names, highest=highest, ignore_index=ignore_index)
    if probabilities.dtype != torch.float64:
        probabilities = probabilities.float()
    return probabilities.detach(), target


def check_labels(target: Tensor, names: Sequence[str], *, highest: int, ignore_index: int | None) -> None:
    """Raise unless every label lies in [0, highest] or is the ignored one.

    Args:
        target: Labels, of a type that holds ``highest`` and ``ignore_index``.
        names: Names of the images, for the message.
        highest: Largest label.
        ignore_index: The label of pixels that count nowhere.

    Raises:
        SegfocalError: Listing the offending labels with their counts.
    """
    if target.numel() == 0:
        return
    low, high = torch.aminmax(target)
    if low >= 0 and high <= highest:
        return
    wrong = (target < 0) | (target > highest)
    if ignore_index is not None:
        wrong &= target != ignore_index
    values, counts = torch.unique(target[wrong], return_counts=True)
    if len(values):
        found = ", ".join(f"{v} ({n} px)" for v, n in zip(values[:8].tolist(), counts.tolist(), strict=False))
        raise SegfocalError(
            f"labels must lie in 0..{highest}{_or_ignored(ignore_index)}, got {found} in {', '.join(names)}. "
            "Set ignore_index, or correct the masks."
        )


def channels(
    probabilities: Tensor, target: Tensor, *, task: Task, ignore_index: int | None
) -> Iterator[Channel]:
    """Yield every class of every image, one against the rest in multiclass.

    Args:
        probabilities: As ``check_batch`` returns them.
        target: As ``check_batch`` returns it.
        task: binary, multiclass or multilabel.
        ignore_index: The label of pixels that count nowhere.

    Yields:
        Images in order, and for each its classes in order; flattened.
    """
    one_hot = task != "multiclass"
    for image, (scores, labels) in enumerate(zip(probabilities.flatten(2), target, strict=True)):
        flat = labels.flatten(1) if one_hot else labels.flatten()
        for index, probability in enumerate(scores):
            positive = flat[index] == 1 if one_hot else flat == index
            negative = flat[index] == 0 if one_hot else ~positive
            if ignore_index is not None and (not one_hot or ignore_index in (0, 1)):
                kept = (flat[index] if one_hot else flat) != ignore_index
                positive, negative = positive & kept, negative & kept
            yield Channel(image, index, probability, positive, negative)


def _check_probabilities(probabilities: Tensor, *, num_classes: int) -> None:
    shape = tuple(probabilities.shape)
    if probabilities.ndim < 2 or shape[1] != num_classes or not probabilities.is_floating_point():
        raise SegfocalError(
            f"probabilities must be floating with shape (N, {num_classes}, *S), got {probabilities.dtype} "
            f"of shape {shape}."
        )
    if probabilities.numel():
        low, high = (float(value) for value in torch.aminmax(probabilities.detach()))
        if not (low >= 0 and high <= 1):  # NaN compares false
            raise SegfocalError(
                f"probabilities must lie in [0, 1], got [{low:g}, {high:g}]. "
                "Apply sigmoid or softmax to the logits first; NaN comes from the network."
            )


def _shaped_target(probabilities: Tensor, target: Tensor, *, task: Task) -> Tensor:
    if target.is_floating_point() or target.is_complex():
        raise SegfocalError(
            f"target must hold integer or bool labels, got {target.dtype}. "
            "Scores need hard masks: threshold soft ones first, e.g. (target > 0.5)."
        )
    batch, classes, *space = probabilities.shape
    label_map, masks = (batch, *space), (batch, classes, *space)
    if task == "binary" and tuple(target.shape) == label_map:
        target = target.unsqueeze(1)
    expected = label_map if task == "multiclass" else masks
    if tuple(target.shape) != expected:
        raise SegfocalError(
            f"target must have shape {expected} to match probabilities {masks}, got {tuple(target.shape)}."
        )
    return target.detach()


def _wide_enough(target: Tensor, *values: int | None) -> Tensor:
    """Widen small integer types that cannot hold the values: torch would compare modulo 256."""
    if target.dtype == torch.bool:
        target = target.view(torch.uint8)
    if target.dtype in (torch.uint32, torch.uint64):  # torch can hardly compute with them
        return target.long()
    info = torch.iinfo(target.dtype)
    fits = all(value is None or info.min <= value <= info.max for value in values)
    return target if fits and target.dtype != torch.uint16 else target.int()


def _or_ignored(ignore_index: int | None) -> str:
    return "" if ignore_index is None else f" or be {ignore_index} (ignored)"
