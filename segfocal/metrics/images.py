"""The base of metrics that keep numbers per image, exact under any order and number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from segfocal.errors import SegfocalError, check_choice
from segfocal.imbalance.background import Background, background_class
from segfocal.metrics.batch import Task
from segfocal.metrics.checks import check_batch


class ImageMetric(Metric):
    """Rows per image, gathered over processes and sorted by the image's name (abstract).

    Args:
        task: binary, multiclass or multilabel.
        num_classes: Channels of the probabilities: 1 for binary, else the number of classes.
        class_names: One per channel; by default their numbers.
        ignore_index: The label of pixels that count nowhere.
        background: Number of the class that means over classes leave out; None: all count; "auto": class 0 of
            multiclass where its name says background or says nothing (``background_class``).

    Raises:
        SegfocalError: Where task, number of classes and names contradict each other.
    """

    full_state_update = False

    def __init__(
        self,
        task: Task,
        num_classes: int,
        *,
        class_names: Sequence[str] | None = None,
        ignore_index: int | None = None,
        background: Background = "auto",
    ) -> None:
        super().__init__()
        check_choice("task", task, get_args(Task))
        if not isinstance(num_classes, int) or isinstance(num_classes, bool):
            raise SegfocalError(f"num_classes must be a whole number, got {num_classes!r}.")
        if num_classes < (2 if task == "multiclass" else 1) or (task == "binary" and num_classes != 1):
            raise SegfocalError(
                f"num_classes must be 1 for binary, at least 2 for multiclass, got {num_classes} for {task}."
            )
        if not isinstance(class_names, Sequence | None) or isinstance(class_names, str):
            raise SegfocalError(f"class_names must be a list of names, got {class_names!r}.")
        names = [str(index) for index in range(num_classes)] if class_names is None else list(class_names)
        if len(names) != num_classes or len(set(names)) != num_classes:
            raise SegfocalError(f"class_names must hold {num_classes} different names, got {names}.")
        self.task: Task = task
        self.num_classes = num_classes
        self.class_names = names
        self.ignore_index = ignore_index
        self.background = background_class(background, task=task, class_names=names)
        self._row_types: dict[str, torch.dtype] = {}
        self.add_rows("name_bytes", torch.uint8)
        self.add_rows("name_lengths", torch.int64)

    def add_rows(self, state: str, dtype: torch.dtype) -> None:
        """Declare a state: a flat list of numbers, the same number for every image."""
        self.add_state(state, [], dist_reduce_fx="cat")
        self._row_types[state] = dtype

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather over processes; one that saw no image still sends tensors of the right type."""
        for state, dtype in self._row_types.items():
            if isinstance(getattr(self, state), list) and not getattr(self, state):
                getattr(self, state).append(torch.zeros(0, dtype=dtype, device=self.device))
        super().sync(*args, **kwargs)

    def check(self, probabilities: Tensor, target: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Check a batch against this metric's task, and remember the names; see ``check_batch``."""
        checked = check_batch(
            probabilities,
            target,
            names,
            task=self.task,
            num_classes=self.num_classes,
            ignore_index=self.ignore_index,
        )
        for name in names:
            text = name.encode("utf-8")
            self.append("name_bytes", torch.tensor(list(text), dtype=torch.uint8))
            self.append("name_lengths", torch.tensor([len(text)]))
        return checked

    def append(self, state: str, values: Tensor) -> None:
        """Add numbers to a state declared with ``add_rows``."""
        getattr(self, state).append(values.to(self.device, self._row_types[state]).flatten())

    def image_names(self) -> list[str]:
        """Return the names of the images in the order in which they came, process by process."""
        text, names, start = bytes(self._flat("name_bytes").tolist()), [], 0
        for length in self._flat("name_lengths").tolist():
            names.append(text[start : start + length].decode("utf-8"))
            start += length
        return names

    def sorted_rows(self, state: str, *shape: int) -> tuple[list[str], Tensor]:
        """Return the images' names, sorted, and a state's rows in that order, (images, *shape), on the CPU.

        Raises:
            SegfocalError: Where a name comes twice, as when a sampler repeats images to fill its batches.
        """
        names = self.image_names()
        order = sorted(range(len(names)), key=names.__getitem__)
        ordered = [names[index] for index in order]
        twice = {a for a, b in pairwise(ordered) if a == b}
        if twice:
            raise SegfocalError(
                f"image names must be unique within a pass, got {', '.join(sorted(twice)[:5])} more than "
                "once. Name images by folder and file, reset the metric after each epoch, and with several "
                "processes use a sampler that repeats no image."
            )
        return ordered, self._flat(state).cpu().reshape(len(names), *shape)[order]

    def _scalar(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float32, device=self.device)

    def _flat(self, state: str) -> Tensor:
        rows = getattr(self, state)
        if isinstance(rows, Tensor):
            return rows
        return torch.cat(rows) if rows else torch.zeros(0, dtype=self._row_types[state])
