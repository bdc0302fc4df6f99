"""Test-time augmentation: average a prediction over mirror images and turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from segfocal.errors import SegfocalError, check_choice

Symmetry = Literal["none", "mirror", "flips", "turns"]
SYMMETRIES: tuple[str, ...] = get_args(Symmetry)

# the axes that are mirrored, of (B, C, X, Y, Z)
_VOLUMES: dict[str, tuple[tuple[int, ...], ...]] = {
    "none": ((),),
    "mirror": ((), (2,)),
    "flips": tuple(axes for n in range(4) for axes in itertools.combinations((2, 3, 4), n)),
}
# (quarter turns, whether mirrored left to right)
_VIEWS: dict[str, tuple[tuple[int, bool], ...]] = {
    "none": ((0, False),),
    "mirror": ((0, False), (0, True)),
    "flips": ((0, False), (0, True), (2, False), (2, True)),
    "turns": tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True)),
}


def average_views(
    predict: Callable[[Tensor], Tensor], images: Tensor, *, symmetry: Symmetry = "none"
) -> Tensor:
    """Predict transformed copies of the images, undo the transformation, and average.

    Args:
        predict: Maps images ``(B, C, H, W)`` to scores ``(B, K, H, W)``.
        images: ``(B, C, H, W)``, square or not, or volumes ``(B, C, X, Y, Z)``.
        symmetry: ``"none"``; ``"mirror"``: 2 views, left and right only (streets); ``"flips"``: 4 views, both
            axes; ``"turns"``: 8 views, quarter turns too (microscopes, the eye's background). Volumes:
            ``"mirror"`` their first axis, ``"flips"`` all three, 8 views; they have no turns.

    Returns:
        The mean of the scores over the views, ``(B, K, H, W)``.

    Raises:
        SegfocalError: For an unknown symmetry, and turns of volumes.

    Example:
        >>> average_views(lambda x: x.cumsum(-1), torch.ones(1, 1, 1, 3), symmetry="mirror").flatten()
        tensor([2., 2., 2.])
    """
    check_choice("tta", symmetry, SYMMETRIES)
    if images.ndim == 5:
        return _average_volumes(predict, images, symmetry=symmetry)
    views = _VIEWS[symmetry]
    total = torch.zeros(())
    for turns, mirrored in views:
        seen = torch.rot90(images.flip(-1) if mirrored else images, turns, (-2, -1))
        scores = torch.rot90(predict(seen), -turns, (-2, -1))
        scores = scores.flip(-1) if mirrored else scores
        total = scores if total.ndim == 0 else total + scores
    return total / len(views)


def _average_volumes(predict: Callable[[Tensor], Tensor], images: Tensor, *, symmetry: Symmetry) -> Tensor:
    if symmetry not in _VOLUMES:
        raise SegfocalError(f"tta of volumes must be one of {', '.join(_VOLUMES)}, got {symmetry!r}.")
    views = _VOLUMES[symmetry]
    scores = [predict(images.flip(axes)).flip(axes) for axes in views]
    total = scores[0]
    for each in scores[1:]:
        total = total + each
    return total / len(views)
