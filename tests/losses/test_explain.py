"""Shares of the loss: by hand, and as gamma grows."""

import pytest
import torch
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import CrossEntropyLoss, DiceLoss, FocalLoss


def logits_for(losses):
    """Multiclass logits of two classes whose cross-entropy at label 0 is as given."""
    p = torch.exp(-torch.tensor(losses, dtype=torch.float64))
    return torch.stack([torch.logit(p), torch.zeros_like(p)]).unsqueeze(0)


def test_shares_by_hand():
    logits = logits_for([6.0, 2.0, 1.0, 1.0, 5.0, 4.0, 3.0])
    # the last three are foreground: mirrored, so that their loss is the same
    logits[:, :, 4:] *= -1
    target = torch.tensor([[0, 0, 0, 0, 1, 1, 1]])
    shares = CrossEntropyLoss("multiclass").explain(logits, target, [0.25, 0.5, 1.0])
    assert_close(shares.background, torch.tensor([0.6, 0.8, 1.0], dtype=torch.float64))
    # ceil(0.75) = 1 and ceil(1.5) = 2 of three pixels
    assert_close(shares.foreground, torch.tensor([5 / 12, 9 / 12, 1.0], dtype=torch.float64))
    assert shares.foreground_share.item() == pytest.approx(12 / 22)
    assert (shares.foreground_elements, shares.background_elements) == (3, 4)


def test_ignored_pixels_are_on_neither_side():
    logits = logits_for([6.0, 2.0, 1.0])
    shares = CrossEntropyLoss("multiclass", ignore_index=9).explain(logits, torch.tensor([[9, 0, 0]]), [0.5])
    assert shares.background.item() == pytest.approx(2 / 3)
    assert (shares.foreground_elements, shares.background_elements) == (0, 2)
    assert shares.foreground.isnan().all()


def test_a_label_that_the_dtype_cannot_hold_is_not_taken_modulo_256():
    target = torch.full((1, 3), 156, dtype=torch.uint8)  # -100 + 256
    shares = CrossEntropyLoss("multiclass", ignore_index=-100).explain(torch.zeros(1, 200, 3), target, [0.5])
    assert shares.foreground_elements == 3


@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
@pytest.mark.parametrize("soft", [False, True])
def test_every_target_form_has_the_same_sides(task, soft):
    g = torch.Generator().manual_seed(0)
    channels = 1 if task == "binary" else 3
    logits = torch.randn(2, channels, 4, 5, generator=g)
    labels = torch.randint(0, 2 if task == "binary" else 3, (2, 4, 5), generator=g)
    masks = labels.unsqueeze(1) if task == "binary" else torch.stack([labels == c for c in range(3)], 1)
    loss = FocalLoss(task)
    a = loss.explain(logits, labels)
    b = loss.explain(logits, masks.float() if soft else masks.to(torch.uint8))
    assert_close(a.foreground, b.foreground)
    assert_close(a.background, b.background)
    expected = (labels > 0).sum().item() if task == "multiclass" else masks.sum().item()
    assert a.foreground_elements == b.foreground_elements == expected


def test_gamma_concentrates_the_loss_of_the_background():
    # easy negatives and a few hard ones, as in dense detection
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 1, 100, 100, generator=g) * 2 - 4
    target = torch.zeros(1, 100, 100, dtype=torch.uint8)
    target[0, :10, :10] = 1
    by_gamma = [
        FocalLoss("binary", gamma).explain(logits, target, [0.1]).background.item()
        for gamma in (0, 0.5, 1, 2)
    ]
    assert by_gamma == sorted(by_gamma)
    assert by_gamma[-1] > 0.95
    assert by_gamma[0] < 0.8


def test_only_pixel_losses_explain():
    logits, target = torch.zeros(1, 1, 4), torch.tensor([[0, 1, 0, 1]])
    with pytest.raises(SegfocalError, match="no loss per pixel"):
        DiceLoss("binary").explain(logits, target)
    loss = FocalLoss("binary") + DiceLoss("binary")
    with pytest.raises(SegfocalError, match=r"loss\.terms\[0\]\.explain"):
        loss.explain(logits, target)
    assert loss.terms[0].explain(logits, target).foreground_share == 0.5
    with pytest.raises(SegfocalError, match="fractions must lie in"):
        FocalLoss("binary").explain(logits, target, [0.0])
    with pytest.raises(SegfocalError, match="at least one part"):
        FocalLoss("binary").explain(logits, target, [])
