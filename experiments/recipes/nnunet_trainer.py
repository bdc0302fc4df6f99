"""Use focal + Dice as the loss of an nnU-Net v2 trainer.

Copy this file into ``nnunetv2/training/nnUNetTrainer/variants/loss/`` of your installation, then
Command: nnUNetv2_train DATASET_ID 3d_fullres FOLD -tr nnUNetTrainerFocalDice
"""

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from segfocal.losses import DeepSupervision, FocalDiceLoss


class ListTargets(torch.nn.Module):
    """Feed nnU-Net's float targets, one per resolution, to a loss with deep supervision."""

    def __init__(self, loss: DeepSupervision, *, regions: bool) -> None:
        super().__init__()
        self.loss = loss
        self.regions = regions

    def forward(self, logits: list[torch.Tensor], target: list[torch.Tensor]) -> torch.Tensor:
        """Return the loss of a list of logits; the target is resized from the full resolution."""
        full = target[0] if isinstance(target, list) else target
        return self.loss(logits, full.to(torch.int16) if self.regions else full[:, 0].to(torch.int16))


class nnUNetTrainerFocalDice(nnUNetTrainer):  # nnU-Net finds trainers by names like this one
    """nnU-Net with softmax focal + Dice, or sigmoid focal + Dice where regions overlap."""

    gamma = 2.0

    def _build_loss(self) -> torch.nn.Module:
        regions = self.label_manager.has_regions
        if regions and self.label_manager.ignore_label is not None:
            raise ValueError(
                "nnU-Net keeps the ignore mask of regions in an extra channel; use labels instead."
            )
        loss = FocalDiceLoss(
            "multilabel" if regions else "multiclass",
            gamma=self.gamma,
            ignore_index=self.label_manager.ignore_label,
            smooth=1e-5,
            include_background=regions,
            per_image=not self.configuration_manager.batch_dice,
        )
        levels = len(self._get_deep_supervision_scales()) if self.enable_deep_supervision else 1
        weights = [0.5**i for i in range(levels)]
        if levels > 1 and not self.is_ddp:
            weights[-1] = 0.0  # as nnU-Net does: the lowest resolution is not trained
        return ListTargets(DeepSupervision(loss, [w / sum(weights) for w in weights]), regions=regions)
