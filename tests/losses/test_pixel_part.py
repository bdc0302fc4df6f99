"""The pixel loss inside a loss: which one it is, and why there may be none."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import (
    CrossEntropyLoss,
    DeepSupervision,
    DiceLoss,
    FocalDiceLoss,
    FocalLoss,
    UnifiedFocalLoss,
)
from segfocal.losses.pixel_part import pixel_losses, pixel_part


def test_sums_and_deep_supervision_hand_out_their_pixel_loss():
    focal = FocalLoss("binary", gamma=3.0)
    for loss in (focal, focal + DiceLoss("binary"), DeepSupervision(0.5 * focal + DiceLoss("binary"))):
        assert pixel_part(loss).gamma.item() == 3.0
    assert isinstance(pixel_part(FocalDiceLoss("multiclass")), FocalLoss)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DiceLoss("binary"), "DiceLoss has no loss per pixel"),
        (lambda: UnifiedFocalLoss("binary"), "UnifiedFocalLoss has no loss per pixel"),
        (nn.BCEWithLogitsLoss, "BCEWithLogitsLoss has no loss per pixel"),
        (lambda: FocalLoss("binary") + CrossEntropyLoss("binary"), "several losses per pixel, FocalLoss and"),
    ],
    ids=["dice", "unified", "elsewhere", "two"],
)
def test_the_reason_is_named(make, words):
    with pytest.raises(SegfocalError, match=words):
        pixel_part(make())


@pytest.mark.parametrize("with_channel", [False, True])
def test_elements_of_a_binary_task(with_channel):
    logits = torch.tensor([[[0.0, 2.0, -1.0]]], requires_grad=True)
    target = torch.tensor([[1, 0, 255]])
    target = target[:, None] if with_channel else target
    found = pixel_losses(CrossEntropyLoss("binary", ignore_index=255), logits, target)
    wanted = nn.functional.binary_cross_entropy_with_logits(
        logits[..., :2].detach(), torch.tensor([[[1.0, 0.0]]]), reduction="none"
    )
    assert_close(found.values[..., :2], wanted)
    assert not found.values.requires_grad
    assert found.foreground[0, 0, :2].tolist() == [True, False]
    assert found.kept.tolist() == [[[True, True, False]]]
