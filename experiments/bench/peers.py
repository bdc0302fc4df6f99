"""What each library offers: name -> (loss, formula, dtype of its target). Imported when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Offer: TypeAlias = dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str, torch.dtype | None]]


def torchvision_binary() -> Offer:
    """Sigmoid focal loss of torchvision."""
    from torchvision.ops import sigmoid_focal_loss as focal

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return focal(logits, target, alpha=-1, gamma=2, reduction="mean")

    return {"torchvision": (loss, "binary focal", None)}


def monai_binary() -> Offer:
    """MONAI's focal loss with a sigmoid."""
    from monai.losses import FocalLoss

    return {"monai": (FocalLoss(gamma=2.0), "binary focal", None)}


def smp_binary() -> Offer:
    """segmentation-models-pytorch's binary focal loss."""
    from segmentation_models_pytorch.losses import FocalLoss

    return {"smp": (FocalLoss("binary", gamma=2.0), "binary focal", None)}


def kornia_binary() -> Offer:
    """Binary focal loss of kornia."""
    from kornia.losses import binary_focal_loss_with_logits as focal

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return focal(logits, target, alpha=None, gamma=2.0, reduction="mean")

    return {"kornia": (loss, "binary focal", None)}


def monai_softmax() -> Offer:
    """MONAI's DiceFocalLoss, and its focal loss and Dice put together by hand to be what ours is.

    In DiceFocalLoss(softmax=True) the focal half is sigmoid, one class against the rest, and Dice is per
    image. FocalLoss(use_softmax=True) divides by pixels times classes, hence the factor.
    """
    from monai.losses import DiceFocalLoss, DiceLoss, FocalLoss

    dice_focal = DiceFocalLoss(softmax=True, to_onehot_y=True, gamma=2.0)
    focal = FocalLoss(use_softmax=True, to_onehot_y=True, gamma=2.0)
    dice = DiceLoss(softmax=True, to_onehot_y=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)

    def as_offered(logits: Tensor, target: Tensor) -> Tensor:
        return dice_focal(logits, target.unsqueeze(1))

    def as_ours(logits: Tensor, target: Tensor) -> Tensor:
        masks = target.unsqueeze(1)
        return logits.shape[1] * focal(logits, masks) + dice(logits, masks)

    return {
        "monai DiceFocal": (as_offered, "one-against-rest focal + dice per image", torch.int64),
        "monai Focal+Dice": (as_ours, "softmax focal + dice", torch.int64),
    }


def smp_softmax() -> Offer:
    """segmentation-models-pytorch's multiclass focal loss, sigmoid one against the rest, plus its Dice."""
    from segmentation_models_pytorch.losses import DiceLoss, FocalLoss

    focal, dice = FocalLoss("multiclass", gamma=2.0), DiceLoss("multiclass")

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return focal(logits, target) + dice(logits, target)

    return {"smp Focal+Dice": (loss, "one-against-rest focal + dice", torch.int64)}


def kornia_softmax() -> Offer:
    """Softmax focal loss of kornia alone (its Dice is for 2D only); the mean is over pixels and classes."""
    from kornia.losses import focal_loss

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return focal_loss(logits, target, alpha=None, gamma=2.0, reduction="mean")

    return {"kornia focal": (loss, "softmax focal / classes", torch.int64)}


BINARY_FOCAL: dict[str, Callable[[], Offer]] = {
    "torchvision": torchvision_binary,
    "monai": monai_binary,
    "segmentation-models-pytorch": smp_binary,
    "kornia": kornia_binary,
}
SOFTMAX_FOCAL_AND_DICE: dict[str, Callable[[], Offer]] = {
    "monai": monai_softmax,
    "segmentation-models-pytorch": smp_softmax,
    "kornia": kornia_softmax,
}
