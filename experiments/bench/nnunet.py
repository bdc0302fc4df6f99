"""The loss of nnU-Net's trainer by its formula, as a module of our own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossEntropyAndDice(nn.Module):
    """Cross-entropy minus the Dice score of the foreground classes, masks made by scatter.

    What its users run by default: softmax in the logits' dtype, masks in float32, the sums of the batch
    where ``batch_dice`` is set, both terms with weight 1.
    """

    def __init__(self, *, batch_dice: bool = True, smooth: float = 1e-5) -> None:
        super().__init__()
        self.batch_dice = batch_dice
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (N, C, *S) and a label map (N, *S)."""
        probabilities = torch.softmax(logits, 1)
        with torch.no_grad():
            masks = torch.zeros(logits.shape, device=logits.device)
            masks.scatter_(1, target.unsqueeze(1).long(), 1)
            masks = masks[:, 1:]
        axes = tuple(range(2, logits.ndim))
        foreground = probabilities[:, 1:]
        both = (foreground * masks).sum(axes, dtype=torch.float32)
        either = foreground.sum(axes, dtype=torch.float32) + masks.sum(axes, dtype=torch.float32)
        if self.batch_dice:
            both, either = both.sum(0), either.sum(0)
        score = (2 * both + self.smooth) / (either + self.smooth).clamp_min(1e-8)
        return F.cross_entropy(logits, target.long()) - score.mean()
