"""What a caller probably meant: views that make shapes fit, a way out for values that are no labels."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

View = Callable[[Tensor], Tensor]

VIEWS_OF_LOGITS: dict[str, View] = {
    "": lambda x: x,
    ".movedim(-1, 1)": lambda x: x.movedim(-1, 1),
    ".unsqueeze(1)": lambda x: x.unsqueeze(1),
    ".unsqueeze(0)": lambda x: x.unsqueeze(0),
    ".movedim(-1, 0).unsqueeze(0)": lambda x: x.movedim(-1, 0).unsqueeze(0),
    ".mT": lambda x: x.mT,
}
VIEWS_OF_TARGET: dict[str, View] = {
    "": lambda x: x,
    ".squeeze(1)": lambda x: x.squeeze(1),
    ".squeeze(-1)": lambda x: x.squeeze(-1),
    ".movedim(-1, 1)": lambda x: x.movedim(-1, 1),
    ".unsqueeze(0)": lambda x: x.unsqueeze(0),
    ".unsqueeze(1)": lambda x: x.unsqueeze(1),
    ".movedim(-1, 0).unsqueeze(0)": lambda x: x.movedim(-1, 0).unsqueeze(0),
}


def views(tensor: Tensor, choices: dict[str, View]) -> dict[str, tuple[int, ...]]:
    """Return the shapes that a tensor has under each view that exists for it and changes it."""
    bare, found = torch.empty(tensor.shape, device="meta"), dict[str, tuple[int, ...]]()
    for name, view in choices.items():
        try:
            shape = tuple(view(bare).shape)
        except (IndexError, RuntimeError):  # too few axes
            continue
        if not name or shape != tuple(tensor.shape):
            found[name] = shape
    return found


def fits(logits: tuple[int, ...], target: tuple[int, ...], fewest: int, most: int | None, soft: bool) -> bool:
    """Tell whether logits and target have shapes that a loss takes."""
    if len(logits) < 2 or logits[1] < fewest or (most is not None and logits[1] > most):
        return False
    labels = (logits[0], *logits[2:])
    return target == logits or (target == labels and (not soft or logits[1] == 1))


def views_that_fit(logits: Tensor, target: object, *, fewest: int = 1, most: int | None = None) -> str:
    """Suggest the fewest views of logits and target with which a loss takes them.

    Args:
        logits: Any shape.
        target: Any shape; what is no tensor gives no hint.
        fewest: Channels that the loss needs at least.
        most: Channels that it takes at most; None: any number.

    Returns:
        A sentence with a leading space, empty where no view fits.

    Example:
        >>> views_that_fit(torch.zeros(8, 50, 27), torch.zeros(8, 50).long(), fewest=2)
        ' Did you mean logits.movedim(-1, 1)?'
    """
    if not isinstance(target, Tensor):
        return ""
    soft = target.is_floating_point()
    pairs = itertools.product(views(logits, VIEWS_OF_LOGITS).items(), views(target, VIEWS_OF_TARGET).items())
    for (of_logits, x), (of_target, y) in sorted(pairs, key=lambda pair: bool(pair[0][0]) + bool(pair[1][0])):
        if fits(x, y, fewest, most, soft) and (of_logits or of_target):
            named = {"logits": of_logits, "target": of_target}
            return f" Did you mean {' and '.join(name + view for name, view in named.items() if view)}?"
    return ""


def way_out(values: list[int], wrong: list[int], classes: int, ignore_index: int | None) -> str:
    """Say what to do about a target with values that are no labels.

    A mask of 0 and 255 is a picture of the foreground: to ignore 255 would leave the foreground out.

    Args:
        values: All values of the target, sorted.
        wrong: Those that are neither labels nor ignored.
        classes: Labels are 0 to ``classes - 1``; 2 for masks.
        ignore_index: Of the call.

    Returns:
        A sentence.

    Example:
        >>> way_out([0, 255], [255], 2, None), way_out([0, 1, 255], [255], 2, None)
        ('Did you mean target > 0?', 'Did you mean ignore_index=255?')
    """
    labels = set(values) - set(wrong)
    if classes == 2 and labels <= {0} and wrong[0] > 1:
        if len(wrong) == 1:
            return "Did you mean target > 0?"
        if wrong[-1] <= 255:
            return "A mask with levels of grey needs a threshold, for example target > 127."
    if wrong == [classes] and labels and 0 not in labels and ignore_index is None:
        return "Did you mean target - 1?"
    if len(wrong) == 1 and ignore_index is None:
        return f"Did you mean ignore_index={wrong[0]}?"
    return "Map them to classes or to ignore_index."
