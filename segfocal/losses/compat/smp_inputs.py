"""The targets that segmentation-models-pytorch takes, by mode."""

from __future__ import annotations

from torch import Tensor

from segfocal.errors import SegfocalError, check_choice
from segfocal.losses.compat.adapter import not_carried
from segfocal.losses.compat.inputs import check_shape, elementwise, labels

MODES = ("binary", "multiclass", "multilabel")


def check_mode(mode: str, **of_classes: object) -> None:
    """Raise for an unknown mode, and for settings of classes in binary mode."""
    check_choice("mode", mode, MODES)
    for argument, value in of_classes.items():
        if mode == "binary" and value is not None:
            raise not_carried(argument, value, 'mode "binary" has no classes. Leave it None.')


def by_mode(mode: str, y_pred: Tensor, y_true: Tensor) -> tuple[Tensor, Tensor]:
    """Return prediction and target in the shapes of the pass.

    Args:
        mode: ``"binary"``: both of one shape, up to a channel axis of length 1, all elements are one channel.
            ``"multiclass"``: labels ``(N, *S)`` or ``(N, 1, *S)``. ``"multilabel"``: masks like ``y_pred``.
        y_pred: ``(N, C, *S)``; binary any shape.
        y_true: As the mode says.

    Returns:
        ``(N, C, *S)`` and label map ``(N, *S)`` or masks.

    Raises:
        SegfocalError: For shapes that do not fit; an equal number of elements is not enough.
    """
    if mode == "multilabel":
        check_shape("y_true", y_true, tuple(y_pred.shape), y_pred)
        return y_pred, y_true
    if mode == "multiclass":
        one = (y_pred.shape[0], 1, *y_pred.shape[2:])
        y_true = y_true.squeeze(1) if tuple(y_true.shape) == one else y_true
        check_shape("y_true", y_true, (y_pred.shape[0], *y_pred.shape[2:]), y_pred)
        return y_pred, labels(y_true)
    if y_true.ndim == y_pred.ndim - 1 > 0 and y_pred.shape[1] == 1:
        y_true = y_true.unsqueeze(1)
    elif y_true.ndim == y_pred.ndim + 1 > 1 and y_true.shape[1] == 1:
        y_pred = y_pred.unsqueeze(1)
    if y_true.shape != y_pred.shape:
        raise SegfocalError(
            f'mode "binary" takes y_true of the shape of y_pred, {tuple(y_pred.shape)}, got '
            f'{tuple(y_true.shape)}. For several exclusive classes use mode="multiclass".'
        )
    return elementwise(y_pred, y_true, one_channel=True)
