"""Shares of loss and gradient against autograd, for every task and form."""

import numpy as np
import pytest
import torch

from segfocal.errors import SegfocalError
from segfocal.losses import CrossEntropyLoss, FocalLoss
from segfocal.training.diagnosis.gather import Gathering
from segfocal.training.diagnosis.report import diagnose
from segfocal.training.diagnosis.shares import above_knee, distribution, population, shares

NAMES = {
    "binary": ["lesion"],
    "multiclass": ["background", "a", "b"],
    "multilabel": ["a", "b"],
}


def sample(task, space=(12, 11), seed=0):
    """Logits (3, C, *space) of a network that is right mostly, and labels with some ignored."""
    generator = torch.Generator().manual_seed(seed)
    classes = len(NAMES[task])
    shape = (3, *space) if task != "multilabel" else (3, classes, *space)
    target = (torch.rand(shape, generator=generator) < 0.2).long()
    if task == "multiclass":
        target *= torch.randint(1, classes, shape, generator=generator)
    logits = 2.5 * torch.randn(3, classes, *space, generator=generator)
    if task == "multiclass":
        logits += 4 * torch.nn.functional.one_hot(target, classes).movedim(-1, 1)
    else:
        logits += 6 * (target.view(3, classes, *space) - 0.7)
    target[torch.rand(shape, generator=generator) < 0.1] = 255
    return logits, target


def gathered(task, logits, target, **options):
    found = Gathering(task, NAMES[task], ignore_index=255, **options)
    for index in range(len(logits)):  # image by image, as validation does
        found.update(logits[index : index + 1], target[index : index + 1], [f"image_{index}"])
    return found


def people(task, logits, target):
    histograms = gathered(task, logits, target).margins.histograms()
    return population(histograms, task=task, class_names=NAMES[task])


def exact(task, logits, target, loss):
    """Per element: loss, |gradient| (L1 over the channels of softmax), p_t, foreground, missed; kept only."""
    x = logits.double().requires_grad_()
    values = loss(x, target)
    (gradient,) = torch.autograd.grad(values.sum(), x)
    if task == "multiclass":
        p = x.detach().softmax(1)
        p_t = p.gather(1, target.clamp(max=2)[:, None])[:, 0]
        foreground, missed, size = target > 0, p[:, 0] > 0.9, gradient.abs().sum(1)
    else:
        labels = target.view(logits.shape)
        p = x.detach().sigmoid()
        p_t = torch.where(labels == 1, p, 1 - p)
        foreground, missed, size = labels == 1, p < 0.1, gradient.abs()
    kept = target.view(p_t.shape) != 255
    return [each.detach().reshape(p_t.shape)[kept] for each in (values, size, p_t, foreground, missed)]


@pytest.mark.parametrize("knee", [None, 0.75])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("task", NAMES)
def test_shares_are_those_of_the_real_loss_and_of_autograd(task, gamma, knee):
    logits, target = sample(task)
    loss = FocalLoss(task, gamma=gamma, knee=knee, ignore_index=255, reduction="none")
    values, size, p_t, foreground, missed = exact(task, logits, target, loss)
    found = shares(people(task, logits, target), gamma=gamma, knee=knee)
    parts = {
        "easy_background": ~foreground & (p_t > 0.9),
        "background": ~foreground,
        "foreground": foreground,
        "missed_foreground": foreground & missed,
        "hard": p_t < 0.5,
    }
    for kind, carried in (("loss", values), ("gradient", size)):
        for name, inside in parts.items():
            expected = (carried[inside].sum() / carried.sum()).item()
            assert found[kind][name] == pytest.approx(expected, abs=2e-5), (kind, name)


def test_gamma_zero_is_cross_entropy():
    logits, target = sample("multiclass")
    loss = CrossEntropyLoss("multiclass", ignore_index=255, reduction="none")
    values, size, p_t, _, _ = exact("multiclass", logits, target, loss)
    found = shares(people("multiclass", logits, target), gamma=0.0)
    assert found["loss"]["hard"] == pytest.approx((values[p_t < 0.5].sum() / values.sum()).item(), abs=2e-5)
    assert found["gradient"]["hard"] == pytest.approx((size[p_t < 0.5].sum() / size.sum()).item(), abs=2e-5)


@pytest.mark.parametrize("part", [0.5, 0.9, 0.99])
def test_easiest_parts_carry_what_sorting_says(part):
    logits, target = sample("binary", space=(60, 60))
    loss = FocalLoss("binary", gamma=1.0, ignore_index=255, reduction="none")
    _, size, p_t, _, _ = exact("binary", logits, target, loss)
    running = size[p_t.argsort(descending=True)].cumsum(0)
    expected = np.interp(part * len(size), np.arange(1, len(size) + 1), running) / running[-1].item()
    found = shares(people("binary", logits, target), gamma=1.0)
    assert found["gradient"][f"easiest_{part:g}"] == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("task", NAMES)
def test_the_distribution_counts_every_element_once(task):
    logits, target = sample(task)
    loss = CrossEntropyLoss(task, ignore_index=255, reduction="none")
    _, _, p_t, foreground, _ = exact(task, logits, target, loss)
    found = distribution(people(task, logits, target))
    assert found["background"]["elements"] == int((~foreground).sum())
    assert found["foreground"]["elements"] == int(foreground.sum())
    assert sum(each["elements"] for each in found["classes"].values()) == int(foreground.sum())
    below = [float((p_t[foreground] < edge).double().mean()) for edge in (0.1, 0.5, 0.9)]
    shares_below = np.cumsum(found["foreground"]["shares"])
    assert [shares_below[0], shares_below[2], shares_below[4]] == pytest.approx(below, abs=1e-9)
    assert shares_below[-1] == pytest.approx(1.0)


def test_the_knee_acts_on_pixels_above_it():
    logits, target = sample("binary")
    found = above_knee(people("binary", logits, target), gamma=2.0, knee=0.75)
    plain, kneed = (
        exact("binary", logits, target, FocalLoss("binary", 2.0, ignore_index=255, reduction="none", knee=at))
        for at in (None, 0.75)
    )
    above = plain[2] > 0.75
    assert found["tau"] == pytest.approx(0.170381, abs=1e-6)
    assert found["foreground_above"] == pytest.approx(above[plain[3]].double().mean().item(), abs=1e-9)
    for name, each in (("focal", plain), ("with_knee", kneed)):
        expected = (each[1][above].sum() / each[1].sum()).item()
        assert found[f"gradient_above_{name}"] == pytest.approx(expected, abs=2e-5)
    assert found["gradient_above_with_knee"] > found["gradient_above_focal"]


@pytest.mark.parametrize("space", [(400,), (12, 11), (6, 5, 4)])
def test_any_number_of_axes(space):
    logits, target = sample("binary", space=space[-2:])
    if len(space) == 1:
        logits, target = sample("binary", space=(1, 400))
    if len(space) == 3:
        logits, target = (torch.stack([each] * space[0], dim=-3) for each in (logits, target))
    found = gathered("binary", logits, target)
    report = diagnose(
        found, task="binary", class_names=["lesion"], loss=CrossEntropyLoss("binary"), knees=[0.75]
    )
    assert report["elements"] == int((target != 255).sum())


def test_a_class_that_never_occurs_is_left_out():
    logits, target = sample("multiclass")
    target[target == 2] = 0
    found = gathered("multiclass", logits, target)
    loss = CrossEntropyLoss("multiclass", ignore_index=255)
    report = diagnose(found, task="multiclass", class_names=NAMES["multiclass"], loss=loss, knees=[0.75])
    assert report["distribution"]["classes"]["b"] == {"elements": 0, "shares": None}
    assert report["losses"][0]["gradient"]["classes"]["b"] == 0.0
    assert report["calibration"]["classes"]["b"]["aupr"] is None
    assert np.isfinite(report["facts"]["aupr"])
    assert report["facts"]["prevalence"] == pytest.approx(float((target == 1).sum() / (target != 255).sum()))


def test_prevalence_of_labels_is_per_pixel():
    logits, target = sample("multilabel")
    found = gathered("multilabel", logits, target)
    loss = CrossEntropyLoss("multilabel", ignore_index=255)
    report = diagnose(found, task="multilabel", class_names=NAMES["multilabel"], loss=loss, knees=[0.75])
    each = [(target[:, k] == 1).sum() / (target[:, k] != 255).sum() for k in range(2)]
    assert report["facts"]["prevalence"] == pytest.approx(float(sum(each) / 2), abs=5e-3)


@pytest.mark.parametrize(
    ("label", "said"),
    [(0, "hold no pixel of foreground"), (1, "hold no pixel of background"), (255, "no labelled pixel")],
)
def test_nothing_to_compare_is_named(label, said):
    logits, target = sample("binary")
    found = gathered("binary", logits, torch.full_like(target, label))
    with pytest.raises(SegfocalError, match=said):
        diagnose(found, task="binary", class_names=["lesion"], loss=CrossEntropyLoss("binary"), knees=[0.75])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_raise(value):
    logits, target = sample("binary")
    logits[0, 0, 0, 0], target[0, 0, 0] = value, 0
    with pytest.raises(SegfocalError, match=r"must lie in \[0, 1\]|must be finite"):
        gathered("binary", logits, target)
    target[0, 0, 0] = 255  # what is ignored takes no part
    assert int(gathered("binary", logits, target).margins.compute().sum()) == int((target != 255).sum())
