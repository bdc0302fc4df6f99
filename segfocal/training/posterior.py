"""Whether scores can be turned back into probabilities."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from segfocal.errors import SegfocalError
from segfocal.losses.base import SegmentationLoss
from segfocal.training.penalties.base import Penalty
from segfocal.training.penalties.confidence import ConfidencePenalty


def has_posterior(loss: nn.Module, *, num_classes: int, penalties: Iterable[Penalty]) -> bool:
    """Return whether the scores of a network trained so have an exact posterior (``loss.posterior``).

    Args:
        loss: What it was trained with; only a pixel loss that stands alone has one.
        num_classes: Channels of the scores.
        penalties: Added to it; one on the output moves the minimiser.

    Returns:
        False for losses from elsewhere, too.
    """
    if not isinstance(loss, SegmentationLoss) or any(
        isinstance(term, ConfidencePenalty) for term in penalties
    ):
        return False
    try:
        loss.posterior(torch.full((1, num_classes, 1), 1 / max(2, num_classes)))
    except SegfocalError:
        return False
    return True
