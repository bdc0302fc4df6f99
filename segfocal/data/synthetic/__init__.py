"""Generated vessels, lesions and lanes with a known posterior."""

from __future__ import annotations

from segfocal.data.synthetic.bayes import bayes_counts, bayes_dice, dice_decision, threshold_dice
from segfocal.data.synthetic.data import SyntheticData
from segfocal.data.synthetic.folder import write_folder, write_splits

__all__ = [
    "SyntheticData",
    "bayes_counts",
    "bayes_dice",
    "dice_decision",
    "threshold_dice",
    "write_folder",
    "write_splits",
]
