"""Deep supervision: weights, resized targets, errors."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import CrossEntropyLoss, DeepSupervision, DiceLoss, FocalLoss, loss_and_counts
from segfocal.losses.deep import nearest


def draw(channels=3, sizes=((12, 9), (6, 5), (3, 2))):
    g = torch.Generator().manual_seed(0)
    outputs = [torch.randn(2, channels, *s, generator=g, dtype=torch.float64).requires_grad_() for s in sizes]
    target = torch.randint(0, max(channels, 2), (2, *sizes[0]), generator=g)
    target[0, :2] = 255
    return outputs, target


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.bool, torch.float32])
@pytest.mark.parametrize(
    ("old", "new"), [((8, 6), (4, 3)), ((9, 7), (4, 5)), ((5, 5, 6), (2, 3, 2)), ((7,), (3,))]
)
def test_nearest_is_that_of_torch(dtype, old, new):
    g = torch.Generator().manual_seed(1)
    values = torch.randint(0, 2, (2, *old), generator=g).to(dtype)
    expected = F.interpolate(values.float().unsqueeze(1), size=new, mode="nearest-exact").squeeze(1)
    assert torch.equal(nearest(values, new), expected.to(dtype))


def test_default_weights_halve_and_sum_to_one():
    outputs, target = draw()
    inner = FocalLoss("multiclass", ignore_index=255) + DiceLoss("multiclass", ignore_index=255)
    terms = [inner(each, nearest(target, each.shape[2:])) for each in outputs]
    assert_close(DeepSupervision(inner)(outputs, target), (4 * terms[0] + 2 * terms[1] + terms[2]) / 7)
    given = DeepSupervision(inner, [1.0, 0.0, 3.0])
    assert_close(given(outputs, target), terms[0] + 3 * terms[2])


def test_every_output_gets_a_gradient():
    outputs, target = draw()
    DeepSupervision(FocalLoss("multiclass", ignore_index=255))(outputs, target).backward()
    assert all(output.grad.abs().sum() > 0 for output in outputs)


def test_masks_and_weights_are_resized_too():
    outputs, _ = draw()
    masks = torch.randint(0, 2, (2, 3, 12, 9), generator=torch.Generator().manual_seed(2))
    weight = torch.rand(2, 12, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    inner = CrossEntropyLoss("multilabel")
    expected = sum(
        share * inner(each, nearest(masks, each.shape[2:]), nearest(weight, each.shape[2:]))
        for share, each in zip((4 / 7, 2 / 7, 1 / 7), outputs, strict=True)
    )
    assert_close(DeepSupervision(inner)(outputs, masks, weight), expected)


def test_a_single_tensor_is_the_loss_itself():
    outputs, target = draw()
    inner = FocalLoss("multiclass", ignore_index=255)
    assert_close(DeepSupervision(inner, [1.0, 0.5])(outputs[0], target), inner(outputs[0], target))


def test_counts_are_of_the_first_output():
    outputs, target = draw()
    loss = DeepSupervision(DiceLoss("multiclass", ignore_index=255))
    value, counts = loss_and_counts(loss, outputs, target)
    assert_close(value, loss(outputs, target))
    hits = (outputs[0].argmax(1) == target).sum()
    assert counts.tp.sum() == hits


def test_number_of_weights_must_match():
    outputs, target = draw()
    loss = DeepSupervision(FocalLoss("multiclass", ignore_index=255), [1.0, 0.5])
    with pytest.raises(SegfocalError, match="one per output, got 2 for 3"):
        loss(outputs, target)
    with pytest.raises(SegfocalError, match="empty list"):
        DeepSupervision(FocalLoss("multiclass"))([], target)
    with pytest.raises(SegfocalError, match="weights must lie in"):
        DeepSupervision(FocalLoss("multiclass"), [-1.0])


def test_losses_that_outputs_cannot_share_are_refused():
    with pytest.raises(SegfocalError, match="must be a loss of segfocal, got BCELoss"):
        DeepSupervision(torch.nn.BCELoss())
    with pytest.raises(SegfocalError, match='reduction "none"'):
        DeepSupervision(FocalLoss("binary", reduction="none"))
    with pytest.raises(SegfocalError, match=r"got list.*DeepSupervision"):
        FocalLoss("binary")([torch.zeros(1, 1, 4)], torch.zeros(1, 4))


def test_it_wraps_sums_and_is_no_term_of_one():
    with pytest.raises(SegfocalError, match=r"Wrap the sum"):
        DeepSupervision(FocalLoss("multiclass")) + DiceLoss("multiclass")


def test_what_the_wrapped_loss_offers_is_passed_on():
    loss = DeepSupervision(FocalLoss("binary", alpha="balanced"))
    assert loss.wants_counts()
    resolved = loss.with_alpha([[99, 1]])
    assert resolved.loss.alpha.item() == pytest.approx(0.99)
    plain = DeepSupervision(FocalLoss("binary"))
    assert plain.posterior(torch.tensor([0.6])).item() == pytest.approx(0.7475, abs=1e-4)
    assert plain.explain(torch.zeros(1, 1, 2), torch.tensor([[0, 1]])).foreground_share == 0.5
