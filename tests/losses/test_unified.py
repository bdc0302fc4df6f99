"""Unified focal loss against an independent transcription of the published formula."""

import pytest
import torch
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import UnifiedFocalLoss
from segfocal.losses import needs as passes

EPSILON = 1e-7


def published(probabilities, onehot, *, symmetric, delta, gamma, weight):
    """The authors' loss for (background, foreground) maps: weight times region + (1 - weight) times pixel."""
    p = probabilities.clamp(EPSILON, 1 - EPSILON)
    space = tuple(range(2, p.ndim))
    tp = (onehot * probabilities).sum(space)
    fn = (onehot * (1 - probabilities)).sum(space)
    fp = ((1 - onehot) * probabilities).sum(space)
    missing = 1 - (tp + EPSILON) / (tp + delta * fn + (1 - delta) * fp + EPSILON)
    entropy = -onehot * p.log()
    background = (1 - delta) * (1 - p[:, 0]) ** gamma * entropy[:, 0]
    if symmetric:
        foreground = delta * (1 - p[:, 1]) ** gamma * entropy[:, 1]
        region = torch.stack([missing[:, 0] ** (1 - gamma), missing[:, 1] ** (1 - gamma)], -1).mean()
    else:
        foreground = delta * entropy[:, 1]
        region = torch.stack([missing[:, 0], missing[:, 1] ** (1 - gamma)], -1).mean()
    return weight * region + (1 - weight) * (background + foreground).mean()


def draw():
    g = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 2, 6, 5, generator=g, dtype=torch.float64) * 2
    target = (torch.rand(3, 6, 5, generator=g) < 0.3).to(torch.uint8)
    return logits.requires_grad_(), target, torch.stack([target == 0, target == 1], 1).double()


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("delta", "gamma", "weight"), [(0.6, 0.5, 0.5), (0.7, 0.2, 0.3), (0.5, 0.0, 1.0)])
def test_softmax_of_two_classes_is_the_published_loss(symmetric, delta, gamma, weight):
    logits, target, onehot = draw()
    settings = {"symmetric": symmetric, "delta": delta, "gamma": gamma}
    loss = UnifiedFocalLoss("multiclass", **settings, pixel_weight=1 - weight, region_weight=weight)
    ours = loss(logits, target)
    theirs = published(logits.softmax(1), onehot, **settings, weight=weight)
    assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("symmetric", [False, True])
def test_one_logit_is_the_difference_of_two(symmetric):
    logits, target, _ = draw()
    two = UnifiedFocalLoss("multiclass", symmetric=symmetric)(logits, target)
    one = UnifiedFocalLoss("binary", symmetric=symmetric)(logits[:, 1:] - logits[:, :1], target)
    assert_close(one, two)


def test_defaults_are_the_published_ones():
    loss = UnifiedFocalLoss("binary")
    assert (loss.delta, loss.gamma.item(), loss.pixel_weight, loss.region_weight) == (0.6, 0.5, 0.5, 0.5)
    assert not loss.symmetric


@pytest.mark.parametrize("per_image", [False, True])
def test_more_classes_are_all_foreground(per_image):
    g = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 4, 5, 5, generator=g, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 4, (2, 5, 5), generator=g)
    target[:, 0] = 9
    loss = UnifiedFocalLoss("multiclass", ignore_index=9, per_image=per_image)
    kept = target != 9
    p = logits.softmax(1).movedim(1, -1)[kept].gather(1, target[kept][:, None])[:, 0]
    ce = -p.log()
    pixel = torch.where(target[kept] == 0, 0.4 * (1 - p) ** 0.5 * ce, 0.6 * ce).mean()
    rows = [slice(n, n + 1) for n in range(2)] if per_image else [slice(None)]
    terms = []
    for row in rows:
        scores, labels = logits[row].softmax(1).movedim(1, -1)[kept[row]], target[row][kept[row]]
        for c in range(4):
            tp = scores[labels == c, c].sum()
            fp, fn = scores[labels != c, c].sum(), (1 - scores[labels == c, c]).sum()
            term = 1 - tp / (tp + 0.6 * fn + 0.4 * fp)
            terms.append(term if c == 0 else term**0.5)
    assert_close(loss(logits, target), 0.5 * pixel + 0.5 * torch.stack(terms).mean(), rtol=1e-6, atol=1e-7)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits)


@pytest.mark.parametrize(("task", "symmetric", "expected"), [
    ("multiclass", False, 1), ("multiclass", True, 1), ("binary", True, 1), ("binary", False, 2),
])  # fmt: skip
def test_passes_are_counted(task, symmetric, expected, monkeypatch):
    calls = []
    primitive = passes.pixel_sums
    monkeypatch.setattr(passes, "pixel_sums", lambda *a, **k: calls.append(1) or primitive(*a, **k))
    logits, target, _ = draw()
    UnifiedFocalLoss(task, symmetric=symmetric)(logits if task == "multiclass" else logits[:, :1], target)
    assert len(calls) == expected


def test_nothing_labelled_is_zero_with_zero_gradient():
    for task, channels in (("binary", 1), ("multiclass", 3)):
        logits = torch.randn(2, channels, 4, 4, requires_grad=True)
        value = UnifiedFocalLoss(task, ignore_index=255)(logits, torch.full((2, 4, 4), 255))
        value.backward()
        assert value == 0
        assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_batch_without_images_is_zero(symmetric):
    for task, channels in (("binary", 1), ("multiclass", 3)):
        loss = UnifiedFocalLoss(task, symmetric=symmetric)
        assert loss(torch.randn(0, channels, 4), torch.zeros(0, 4, dtype=torch.int64)) == 0


def test_perfect_prediction_has_finite_gradients():
    logits = torch.tensor([[[80.0, -80.0]]], requires_grad=True)
    UnifiedFocalLoss("binary")(logits, torch.tensor([[1, 0]])).backward()
    assert logits.grad.isfinite().all()


def test_multilabel_is_refused():
    with pytest.raises(SegfocalError, match="no multilabel form"):
        UnifiedFocalLoss("multilabel")
    with pytest.raises(SegfocalError, match=r"passes\(channels\)"):
        UnifiedFocalLoss("binary").needs()
