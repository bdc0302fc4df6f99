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
    ".flatten(0, -2)": lambda x: x.flatten(0, -2),
}
VIEWS_OF_TARGET: dict[str, View] = {
    "": lambda x: x,
    ".squeeze(1)": lambda x: x.squeeze(1),
    ".squeeze(-1)": lambda x: x.squeeze(-1),
    ".flatten()": lambda x: x.flatten(),
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
    pairs = itertools.product(views(logits, VIEWS_OF_LOGITS).items(), views(target, VIEWS_OF_TARGET).items())
    simplest = sorted(pairs, key=lambda pair: bool(pair[0][0]) + bool(pair[1][0]))
    for soft in dict.fromkeys((target.is_floating_point(), False)):  # label maps of floats last
        for (of_logits, x), (of_target, y) in simplest:
            if fits(x, y, fewest, most, soft) and (of_logits or of_target):
                cast = "" if soft == target.is_floating_point() else ".long()"
                named = {"logits": of_logits, "target": of_target + cast}
                return f" Did you mean {' and '.join(name + view for name, view in named.items() if view)}?"
    return ""


def another_shape(logits: tuple[int, ...], target: tuple[int, ...]) -> str:
    """Say what a target that no view makes fit may be: of another size, or a colour picture.

    Example:
        >>> another_shape((2, 3, 4, 4), (2, 16, 16))
        ' Did you mean torch.nn.functional.interpolate(logits, size=(16, 16))?'
    """
    images, places = logits[0], logits[2:]
    if sorted(target) in (sorted((images, *places)), sorted(logits)):
        return " The axes seem to be in another order."
    colours = [(images, n, *places) for n in (3, 4)] + [(images, *places, n) for n in (3, 4)]
    if places and target in colours:
        return " A picture in colours? Give each colour its label, and a label map."
    masks = len(target) == len(logits) and target[1] in (1, logits[1])
    size = target[2:] if masks else target[1:] if len(target) == len(logits) - 1 else ()
    if len(size) >= 1 and target[0] == images and len(size) == len(places) and 0 not in size:
        return f" Did you mean torch.nn.functional.interpolate(logits, size={tuple(size)})?"
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
    if classes == 2 and ignore_index is None and values == [-1, 1]:
        return "Did you mean target > 0?"
    if classes == 2 and labels <= {0} and wrong[0] > 1:
        if len(wrong) == 1:
            return "Did you mean target > 0?"
        if wrong[-1] <= 255:
            return "A mask with levels of grey needs a threshold, for example target > 127."
    if wrong == [classes] and labels and 0 not in labels and ignore_index is None:
        return "Did you mean target - 1?"
    if len(wrong) == 1 and ignore_index is None:
        return f"Did you mean ignore_index={wrong[0]}?"
    if labels == {0} and len(values) == classes and wrong[0] > 0:  # a level of grey per class
        return f"Did you mean torch.bucketize(target.long(), torch.tensor({values}))?"
    return "Map them to classes or to ignore_index."


def way_out_of_floats(target: Tensor, logits: Tensor, ignore_index: int | None) -> str:
    """Say what to do about soft masks with values outside [0, 1].

    Example:
        >>> mask = torch.tensor([[[0.0, 255.0]]])
        >>> way_out_of_floats(mask, torch.zeros(1, 1, 2), None)
        'Did you mean target > 0?'
    """
    if bool(target.isnan().any()):
        return "NaN is no label: give such places a number, and that number as ignore_index."
    values = whole_numbers(target)
    if values is not None:
        wrong = [value for value in values if value not in (0, 1, ignore_index)]
        return way_out(values, wrong, 2, ignore_index)
    if bool(((logits == 0) | (logits == 1)).all()):
        return "Did you swap logits and target?"
    low, high = target.min().item(), target.max().item()
    if low >= 0 and high <= 255:
        return f"Did you mean target / {255 if high > 100 else 100}?"
    return "Did you mean target.sigmoid()?" if high < 100 else "Scale the target."


def way_out_of_float_labels(target: Tensor, classes: int, ignore_index: int | None) -> str:
    """Say how a map of floating point numbers becomes a label map, with what its numbers need besides."""
    if bool(target.isnan().any()):
        return "NaN is no label: give such places a number, and that number as ignore_index."
    for view, numbers in ((".long()", target), (".mul(255).round().long()", target.double() * 255)):
        values = whole_numbers(numbers)
        if values is None or (view != ".long()" and values[-1] >= classes):
            continue
        wrong = [each for each in values if not 0 <= each < classes and each != ignore_index]
        hint = way_out(values, wrong, classes, ignore_index) if wrong else f"Did you mean target{view}?"
        return hint.replace("mean ignore_index", f"mean target{view} and ignore_index")
    return "Labels are whole numbers."


def whole_numbers(tensor: Tensor) -> list[int] | None:
    """Return the values, sorted, where all are whole numbers (but for rounding) and few."""
    values = tensor.double().unique()
    if len(values) > 256 or bool(((values - values.round()).abs() > 1e-4).any()):
        return None
    found: list[int] = values.round().long().unique().tolist()
    return found
