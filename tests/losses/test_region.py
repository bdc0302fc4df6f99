"""Dice, Jaccard, Tversky and their relatives against dense formulas and known cases."""

import math

import pytest
import torch
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import (
    DiceLoss,
    FocalTverskyLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    LogCoshDiceLoss,
    TverskyLoss,
)

IGNORE = 255
EVERY = {
    "dice": DiceLoss,
    "squared dice": lambda task, **s: DiceLoss(task, squared=True, **s),
    "jaccard": JaccardLoss,
    "log-cosh dice": LogCoshDiceLoss,
    "tversky": lambda task, **s: TverskyLoss(task, 0.3, 0.7, **s),
    "focal tversky": FocalTverskyLoss,
    "generalised dice": GeneralizedDiceLoss,
    "simple generalised dice": lambda task, **s: GeneralizedDiceLoss(task, weighting="simple", **s),
}


def draw(task, *, space=(6, 5), seed=0, ignore=True):
    """Float64 logits and labels, class 3 of the multiclass labels absent from the first image."""
    g = torch.Generator().manual_seed(seed)
    channels = {"binary": 1, "multiclass": 4, "multilabel": 3}[task]
    logits = torch.randn(2, channels, *space, generator=g, dtype=torch.float64) * 2
    shape = (2, channels, *space) if task == "multilabel" else (2, *space)
    target = torch.randint(0, 4 if task == "multiclass" else 2, shape, generator=g)
    if task == "multiclass":
        target[0][target[0] == 3] = 1
    if ignore:
        target[torch.rand(shape, generator=g) < 0.2] = IGNORE
    return logits.requires_grad_(), target


def dense(
    name, logits, target, task, *, weight=None, per_image=False, smooth=1.0, background=True, skip=False
):
    """The region losses from scores and one-hot labels, pixel by pixel."""
    scores = logits.softmax(1) if task == "multiclass" else logits.sigmoid()
    labels = target.unsqueeze(1) if target.ndim < logits.ndim else target
    kept = (labels != IGNORE).double()
    if task == "multiclass":
        onehot = torch.cat([labels == c for c in range(logits.shape[1])], 1).double()
    else:
        onehot = (labels == 1).double()
    w = kept if weight is None else kept * weight.unsqueeze(1)
    axes = [*range(2, logits.ndim)] if per_image else [0, *range(2, logits.ndim)]
    square = name == "squared dice"
    i = (w * scores * onehot).sum(axes)
    p = (w * (scores**2 if square else scores)).sum(axes)
    y = (w * onehot).sum(axes)
    if not background:
        i, p, y = (each[..., 1:] for each in (i, p, y))
    s = smooth
    if name.endswith("generalised dice"):
        power = 1 if name.startswith("simple") else 2
        v = torch.where(y > 0, 1 / y**power, 0.0)
        v = torch.where(y > 0, v, v.max(-1, keepdim=True).values)
        return (1 - (2 * (v * i).sum(-1) + s) / ((v * (p + y)).sum(-1) + s)).mean()
    index = (i + s) / (i + 0.3 * (p - i) + 0.7 * (y - i) + s)
    term = {
        "dice": 1 - (2 * i + s) / (p + y + s),
        "squared dice": 1 - (2 * i + s) / (p + y + s),
        "jaccard": 1 - (i + s) / (p + y - i + s),
        "log-cosh dice": (1 - (2 * i + s) / (p + y + s)).cosh().log(),
        "tversky": 1 - index,
        "focal tversky": (1 - index) ** 0.75,
    }[name]
    return term[y > 0].mean() if skip else term.mean()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient_match_the_dense_formula(name, task, per_image, weighted):
    logits, target = draw(task)
    weight = torch.rand(2, 6, 5, dtype=torch.float64) if weighted else None
    loss = EVERY[name](task, per_image=per_image, smooth=0.5, ignore_index=IGNORE)
    ours = loss(logits, target, weight)
    theirs = dense(name, logits, target, task, weight=weight, per_image=per_image, smooth=0.5)
    assert_close(ours, theirs)
    assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits))


@pytest.mark.parametrize("name", [name for name in EVERY if not name.endswith("generalised dice")])
@pytest.mark.parametrize("per_image", [False, True])
def test_absent_classes_and_the_background_are_choices(name, per_image):
    logits, target = draw("multiclass")
    settings = {"per_image": per_image, "include_background": False, "absent": "skip"}
    loss = EVERY[name]("multiclass", ignore_index=IGNORE, **settings)
    expected = dense(name, logits, target, "multiclass", per_image=per_image, background=False, skip=True)
    assert_close(loss(logits, target), expected)


@pytest.mark.parametrize("name", EVERY)
def test_gradcheck(name):
    for task in ("binary", "multiclass"):
        logits, target = draw(task, space=(2, 3))
        loss = EVERY[name](task, ignore_index=IGNORE)
        assert torch.autograd.gradcheck(lambda x: loss(x, target), logits)  # noqa: B023


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("smooth", [0.0, 1.0])
@pytest.mark.parametrize("per_image", [False, True])
def test_nothing_labelled_is_zero_with_zero_gradient(name, smooth, per_image):
    for task in ("binary", "multiclass", "multilabel"):
        logits, target = draw(task)
        loss = EVERY[name](task, ignore_index=IGNORE, smooth=smooth, per_image=per_image)
        value = loss(logits, torch.full_like(target, IGNORE))
        (gradient,) = torch.autograd.grad(value, logits)
        assert value == 0
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_known_cases():
    # p = 1/2 on 2 pixels of the class and 2 beside it: I = 1, P = 2, Y = 2
    logits, target = torch.zeros(1, 1, 4), torch.tensor([[1, 1, 0, 0]])
    known = {
        1 / 2: DiceLoss("binary", smooth=0),
        2 / 5: DiceLoss("binary"),  # 1 - 3 / 5
        1 / 3: DiceLoss("binary", smooth=0, squared=True),  # 1 - 2 / (1 + 2)
        2 / 3: JaccardLoss("binary", smooth=0),
        0.2 + 0.6: TverskyLoss("binary", 0.6, 3.4, smooth=0),  # 1 - 1 / (1 + .6 + 3.4)
        math.log(math.cosh(0.5)): LogCoshDiceLoss("binary", smooth=0),
        0.5**0.75: FocalTverskyLoss("binary", smooth=0),
    }
    for value, loss in known.items():
        assert loss(logits, target).item() == pytest.approx(value, rel=1e-6), loss


def test_tversky_halves_are_dice_and_ones_are_jaccard():
    logits, target = draw("multiclass")
    for weight, other in ((0.5, DiceLoss), (1.0, JaccardLoss)):
        tversky = TverskyLoss("multiclass", weight, weight, smooth=0, ignore_index=IGNORE)
        assert_close(
            tversky(logits, target), other("multiclass", smooth=0, ignore_index=IGNORE)(logits, target)
        )


def test_an_absent_class_costs_almost_one():
    # smoothing 1 over 2^20 pixels at p = .001: 1 - 1 / (1048.576 + 1)
    logits = torch.logit(torch.full((1, 1, 1024, 1024), 0.001))
    empty = torch.zeros(1, 1024, 1024, dtype=torch.uint8)
    value = DiceLoss("binary")(logits, empty).item()
    assert value == pytest.approx(1 - 1 / (0.001 * 2**20 + 1), rel=1e-6)
    assert round(value, 3) == 0.999
    assert DiceLoss("binary")(torch.full((1, 1, 64, 64), -50.0), empty[:, :64, :64]).item() < 1e-6
    assert DiceLoss("binary", absent="skip")(logits, empty) == 0


def test_an_empty_mask_pushes_false_positives_down():
    for name in EVERY:
        logits = torch.zeros(1, 1, 8, 8, requires_grad=True)
        loss = EVERY[name]("binary")(logits, torch.zeros(1, 8, 8, dtype=torch.uint8))
        loss.backward()
        assert loss > 0.3, name
        assert (logits.grad > 0).all(), name


def test_perfect_predictions_have_finite_gradients():
    logits = torch.tensor([[[60.0, -60.0, 60.0]]], requires_grad=True)
    target = torch.tensor([[1, 0, 1]])
    for name in EVERY:
        value = EVERY[name]("binary", smooth=0)(logits, target)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.item() == pytest.approx(0, abs=1e-6), name
        assert gradient.isfinite().all(), name


def test_half_logits_sum_without_overflow():
    logits = torch.full((1, 1, 300, 300), 3.0)
    target = torch.ones(1, 300, 300, dtype=torch.uint8)
    for dtype in (torch.float16, torch.bfloat16):
        value = DiceLoss("binary")(logits.to(dtype), target)
        assert value.dtype == torch.float32
        assert_close(value, DiceLoss("binary")(logits, target))


def test_soft_masks_count_by_their_mass():
    logits = torch.zeros(1, 1, 2)
    soft = torch.tensor([[[0.25, 0.75]]])
    # I = 1/2, P = 1, Y = 1; squared: P2 = 1/2, Y2 = 10/16
    assert DiceLoss("binary", smooth=0)(logits, soft).item() == pytest.approx(0.5)
    assert DiceLoss("binary", smooth=0, squared=True)(logits, soft).item() == pytest.approx(1 - 1 / 1.125)


def test_generalised_dice_lets_a_rare_class_weigh():
    # one pixel of class 1 missed among 10^4: Dice of the batch is fine, the generalised loss is not
    logits = torch.zeros(1, 2, 100, 100)
    logits[:, 0] = 20.0
    target = torch.zeros(1, 100, 100, dtype=torch.uint8)
    target[0, 50, 50] = 1
    assert GeneralizedDiceLoss("multiclass")(logits, target) > 0.9


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DiceLoss("binary", smooth=-1), "smooth must lie in"),
        (lambda: DiceLoss("binary", absent="ignore"), "absent must be one of"),
        (lambda: DiceLoss("binary", include_background=False), "needs a background class"),
        (lambda: TverskyLoss("binary", -0.1, 0.5), "fp_weight must lie in"),
        (lambda: TverskyLoss("binary", 0, 0), "must not both be 0"),
        (lambda: FocalTverskyLoss("binary", 0, 0), "must not both be 0"),
        (lambda: FocalTverskyLoss("binary", exponent=0), "exponent must lie in"),
        (lambda: GeneralizedDiceLoss("binary", weighting="squares"), "Did you mean 'square'"),
    ],
)
def test_wrong_settings_say_what_to_do(build, message):
    with pytest.raises(SegfocalError, match=message):
        build()
