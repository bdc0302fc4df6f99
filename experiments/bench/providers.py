"""The same losses by ours and by the peers: functions from logits and labels to a scalar."""

from __future__ import annotations

from collections.abc import Callable

import kornia
import monai
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from segfocal.losses.sums import pixel_sums

Loss = Callable[[Tensor, Tensor], Tensor]


def binary_focal(backend: str) -> Loss:
    """Focal loss, mean over pixels, gamma 2, no alpha."""

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        sums = pixel_sums(logits, target, activation="sigmoid", want=["loss"], gamma=2.0, backend=backend)
        return sums.loss.sum() / target.numel()

    return loss


def focal_and_dice(backend: str) -> Loss:
    """Softmax focal loss plus Dice loss from one pass."""
    want = ["loss", "intersection", "prediction", "target"]

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        sums = pixel_sums(logits, target, activation="softmax", want=want, gamma=2.0, backend=backend)
        i, p, y = (getattr(sums, name).sum(0) for name in want[1:])
        return sums.loss.sum() / target.numel() + (1 - (2 * i + 1) / (p + y + 1)).mean()

    return loss


def binary_providers() -> dict[str, tuple[Loss, torch.dtype]]:
    """Name every provider of the binary focal loss with the dtype of target that it takes."""
    of_monai = monai.losses.FocalLoss(gamma=2.0)
    of_smp = smp.losses.FocalLoss("binary", gamma=2.0)
    of_kornia = kornia.losses.binary_focal_loss_with_logits
    return {
        "segfocal compiled": (binary_focal("compiled"), torch.uint8),
        "segfocal eager": (binary_focal("eager"), torch.uint8),
        "torchvision": (
            lambda x, y: torchvision.ops.sigmoid_focal_loss(x, y, alpha=-1, gamma=2, reduction="mean"),
            torch.float32,
        ),
        "monai": (of_monai, torch.float32),
        "smp": (of_smp, torch.float32),
        "kornia": (lambda x, y: of_kornia(x, y, alpha=None, gamma=2.0, reduction="mean"), torch.float32),
        "torch bce": (F.binary_cross_entropy_with_logits, torch.float32),
    }


def softmax_providers() -> dict[str, tuple[Loss, torch.dtype]]:
    """Name every provider of softmax focal plus Dice; kornia has focal alone, torch cross-entropy alone."""
    of_monai = monai.losses.DiceFocalLoss(softmax=True, to_onehot_y=True, gamma=2.0)
    of_smp, dice_of_smp = smp.losses.FocalLoss("multiclass", gamma=2.0), smp.losses.DiceLoss("multiclass")
    return {
        "segfocal compiled": (focal_and_dice("compiled"), torch.uint8),
        "segfocal eager": (focal_and_dice("eager"), torch.uint8),
        "monai DiceFocal": (lambda x, y: of_monai(x, y.unsqueeze(1)), torch.int64),
        "smp Focal+Dice": (lambda x, y: of_smp(x, y) + dice_of_smp(x, y), torch.int64),
        "kornia focal": (
            lambda x, y: kornia.losses.focal_loss(x, y, alpha=None, gamma=2.0, reduction="mean"),
            torch.int64,
        ),
        "torch cross_entropy": (F.cross_entropy, torch.int64),
    }
