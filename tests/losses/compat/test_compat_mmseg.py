"""mmsegmentation's formulas, which is not installed, in plain torch beside its adapters."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from segfocal.losses.compat import mmseg

X = 2 * torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 4, (3, 5, 6), generator=torch.Generator().manual_seed(1))
HOLE = Y.masked_fill(torch.rand(Y.shape, generator=torch.Generator().manual_seed(2)) < 0.3, 255)
WEIGHTS = [0.5, 1.0, 2.0, 0.1]


def masks_of(labels):
    """(N, C, H, W), all 0 where ignored."""
    return torch.stack([labels == c for c in range(4)], 1).float()


def both(call):
    """Value, and gradient of its sum by the logits."""
    leaf = X.clone().requires_grad_()
    value = call(leaf)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


def agree(ours, theirs):
    for mine, other in zip(both(ours), both(theirs), strict=True):
        assert_close(mine, other, rtol=2e-5, atol=1e-6)


def reduce(values, reduction, avg_factor):
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.sum() / (avg_factor or values.numel())


@pytest.mark.parametrize("alpha", [0.3, [0.1, 0.2, 0.5, 0.9]])
@pytest.mark.parametrize("class_weight", [None, WEIGHTS])
@pytest.mark.parametrize("shape", [None, (90,), (90, 4)])
def test_focal(alpha, class_weight, shape):
    pixel = None if shape is None else torch.rand(shape, generator=torch.Generator().manual_seed(3))

    def theirs(x, labels, reduction, avg_factor):
        t, p = masks_of(labels), x.sigmoid()
        a = torch.tensor(alpha).view(1, -1, 1, 1)
        away = (t - p).abs()
        values = F.binary_cross_entropy_with_logits(x, t, reduction="none") * away**1.5
        values = values * torch.where(t > 0, a, 1 - a) * (labels != 255).unsqueeze(1)
        if class_weight is not None:
            values = values * torch.tensor(class_weight).view(1, -1, 1, 1)
        if pixel is not None:
            values = values * pixel.view(3, 5, 6, -1).permute(0, 3, 1, 2)
        return 3.0 * reduce(values, reduction, avg_factor)

    loss = mmseg.FocalLoss(gamma=1.5, alpha=alpha, class_weight=class_weight, loss_weight=3.0)
    for reduction, avg_factor in (("mean", None), ("mean", 7), ("sum", None), ("none", None)):
        for labels, target in ((HOLE, HOLE), (Y, masks_of(Y)), (Y, masks_of(Y).long())):
            k = {"weight": pixel, "avg_factor": avg_factor, "reduction_override": reduction}
            agree(
                lambda x: loss(x, target, **k),  # noqa: B023
                lambda x: theirs(x, labels, reduction, avg_factor),  # noqa: B023
            )


ACTIVATION = ({"use_sigmoid": True}, {"use_sigmoid": False}, {"activate": False})


@pytest.mark.parametrize("activation", ACTIVATION)
@pytest.mark.parametrize("naive", [False, True])
@pytest.mark.parametrize("ignore_index", [255, None, 2])
def test_dice(activation, naive, ignore_index):
    images = torch.tensor([0.2, 1.0, 3.0])

    def theirs(x, weight, reduction, avg_factor):
        p = x.softmax(1) if activation != ACTIVATION[0] else x.sigmoid()
        keep = [c for c in range(4) if c != ignore_index]
        p, t = p[:, keep].flatten(1), masks_of(Y)[:, keep].flatten(1)
        i = (p * t).sum(1)
        if naive:
            values = 1 - (2 * i + 0.1) / (p.sum(1) + t.sum(1) + 0.1)
        else:
            values = 1 - 2 * i / ((p**2).sum(1) + (t**2).sum(1) + 0.2)
        values = 3.0 * values
        return reduce(values if weight is None else values * weight, reduction, avg_factor)

    settings = {"naive_dice": naive, "ignore_index": ignore_index, "eps": 0.1, "loss_weight": 3.0}
    loss = mmseg.DiceLoss(**activation, **settings)
    for weight, target in itertools.product((None, images), (Y, masks_of(Y))):
        for reduction, avg_factor in (("mean", None), ("mean", 7), ("sum", None), ("none", None)):
            k = {"weight": weight, "avg_factor": avg_factor, "reduction_override": reduction}
            agree(
                lambda x: loss(x.softmax(1) if "activate" in activation else x, target, **k),  # noqa: B023
                lambda x: theirs(x, weight, reduction, avg_factor),  # noqa: B023
            )


@pytest.mark.parametrize("class_weight", [None, WEIGHTS])
@pytest.mark.parametrize("ignore_index", [255, 2])
def test_tversky(class_weight, ignore_index):
    labels = HOLE if ignore_index == 255 else Y

    def theirs(x):
        p, t = x.softmax(1), masks_of(labels)
        valid = (labels != ignore_index).unsqueeze(1)
        tp, fp, fn = ((each * valid).flatten(2).sum(2) for each in (p * t, p * (1 - t), (1 - p) * t))
        values = 1 - (tp + 2) / (tp + 0.4 * fp + 0.9 * fn + 2)
        each = values.mean(0) * (1 if class_weight is None else torch.tensor(class_weight))
        return 3.0 * sum(each[c] for c in range(4) if c != ignore_index) / 4

    settings = {"class_weight": class_weight, "ignore_index": ignore_index, "loss_weight": 3.0}
    loss = mmseg.TverskyLoss(smooth=2, alpha=0.4, beta=0.9, **settings)
    agree(lambda x: loss(x, labels), theirs)
    agree(lambda x: loss(x, labels, avg_factor=5), lambda x: theirs(x) / 5)


def test_names_are_kept():
    names = [loss().loss_name for loss in (mmseg.FocalLoss, mmseg.DiceLoss, mmseg.TverskyLoss)]
    assert names == ["loss_focal", "loss_dice", "loss_tversky"]
