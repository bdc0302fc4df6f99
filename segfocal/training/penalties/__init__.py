"""Penalties on weights and on the output, kept apart from the loss."""

from segfocal.training.penalties.base import Penalty, WeightPenalty
from segfocal.training.penalties.confidence import ConfidencePenalty
from segfocal.training.penalties.norms import L1, L2, L2SP

__all__ = ["L1", "L2", "L2SP", "ConfidencePenalty", "Penalty", "WeightPenalty"]
