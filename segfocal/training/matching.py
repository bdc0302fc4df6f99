"""Rescale a loss so that its gradient is as large as that of cross-entropy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from segfocal.errors import SegfocalError
from segfocal.losses import CrossEntropyLoss, DeepSupervision, SegmentationLoss
from segfocal.losses.ranks import Ranks
from segfocal.losses.reduction import Task

REFERENCES = ("cross_entropy",)
Reference = Literal["cross_entropy"]
logger = logging.getLogger(__name__)


def reference_loss(loss: nn.Module, *, task: Task, ignore_index: int | None) -> SegmentationLoss:
    """Return the mean cross-entropy that takes the place of a loss.

    Args:
        loss: Any; within `DeepSupervision` the cross-entropy has the same weights.
        task: "binary", "multiclass" or "multilabel".
        ignore_index: Label that counts nowhere.

    Returns:
        A loss, not synchronised.
    """
    plain = CrossEntropyLoss(task, ignore_index=ignore_index)
    return DeepSupervision(plain, loss.weights) if isinstance(loss, DeepSupervision) else plain


def matching_factor(loss: nn.Module, reference: nn.Module, output: Any, target: Tensor) -> Tensor:
    """Return the factor at which both losses have a gradient of the same norm at the logits.

    Norms are of the whole batch over all ranks, in float32 at least also where the network computes in half.

    Args:
        loss: To be multiplied by the factor.
        reference: From `reference_loss`.
        output: What the network returned; of several outputs the gradient at the first one counts.
        target: Labels or masks.

    Returns:
        Float64 scalar without gradient; 1 where the loss has none.

    Raises:
        SegfocalError: For a list of outputs with a loss that is no `DeepSupervision`.

    Source:
        Ours: the control for "focal loss is only a smaller step".

    Example:
        >>> from segfocal.losses import CrossEntropyLoss
        >>> loss = CrossEntropyLoss("binary")
        >>> logits, target = torch.randn(1, 1, 4), torch.ones(1, 4, dtype=torch.uint8)
        >>> matching_factor(4 * loss, loss, logits, target)
        tensor(0.2500, dtype=torch.float64)
    """
    if not isinstance(output, Tensor) and not isinstance(loss, DeepSupervision):
        raise SegfocalError(
            f"match_gradient needs one tensor of logits, or DeepSupervision over several, got a list of "
            f"{len(output)} outputs and {type(loss).__name__}. Wrap the loss: DeepSupervision(loss)."
        )
    squares = [_squared_gradient(each, output, target) for each in (loss, reference)]
    own, wanted = Ranks().add_up(squares) if Ranks().several() else squares
    return torch.where(own > 0, (wanted / own.masked_fill(own <= 0, 1.0)).sqrt(), 1.0)


class GradientMatch:
    """Matches a training's loss to a reference, which it makes at the first step.

    Args:
        reference: "cross_entropy", or None for no matching.
    """

    def __init__(self, reference: Reference | None) -> None:
        self.on = reference is not None
        self.reference: nn.Module | None = None

    def announce(self, optimizer: torch.optim.Optimizer, *, rank: int) -> None:
        """Say what an adaptive optimizer makes of it.

        Args:
            optimizer: Of the training.
            rank: Only the first one speaks.
        """
        if self.on and rank == 0 and not isinstance(optimizer, torch.optim.SGD):
            logger.warning(
                "model.match_gradient means something beside SGD only: %s divides the scale of the gradient "
                "out again. Take model.optimizer sgd for this comparison.",
                type(optimizer).__name__,
            )

    def factor(
        self, loss: nn.Module, output: Any, target: Tensor, *, task: Task, ignore_index: int | None
    ) -> Tensor:
        """Return the factor of a step, see `matching_factor`; collective under data parallelism.

        Args:
            loss: The training's.
            output: What the network returned.
            target: Labels or masks.
            task: "binary", "multiclass" or "multilabel".
            ignore_index: Label that counts nowhere.

        Returns:
            Scalar.
        """
        if self.reference is None:
            reference = reference_loss(loss, task=task, ignore_index=ignore_index)
            reference.synchronize(Ranks().several())
            self.reference = reference.to(target.device)
        return matching_factor(loss, self.reference, output, target)


def _squared_gradient(loss: nn.Module, output: Any, target: Tensor) -> Tensor:
    """Return the squared norm of the gradient at the first output, as float64 where the device has it."""
    outputs: Sequence[Tensor] = [output] if isinstance(output, Tensor) else output
    device = outputs[0].device.type
    with torch.enable_grad(), torch.autocast(device, enabled=False):
        leaves = [_leaf(each) for each in outputs]
        value = loss(leaves[0] if isinstance(output, Tensor) else leaves, target)
        (gradient,) = torch.autograd.grad(value, leaves[0])
    wide = torch.float32 if device == "mps" else torch.float64
    norm: Tensor = torch.linalg.vector_norm(gradient, dtype=wide)
    return norm.square()


def _leaf(logits: Tensor) -> Tensor:
    return (logits if logits.dtype == torch.float64 else logits.float()).detach().requires_grad_()
