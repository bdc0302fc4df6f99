"""Counts of labels, and the class weights and head biases that follow from them."""

from __future__ import annotations

from segfocal.imbalance.alpha import alpha_from_counts, binary_alpha
from segfocal.imbalance.counts import count_all, count_labels
from segfocal.imbalance.prior import bias_prior

__all__ = ["count_labels", "count_all", "alpha_from_counts", "binary_alpha", "bias_prior"]
