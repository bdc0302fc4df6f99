"""Walk through a batch of probabilities and labels image by image, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from torch import Tensor

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
