"""The verdict: its rule, scores drawn so that it is known, and trainings on generated discs."""

import numpy as np
import pytest
import torch
from torch import nn

from segfocal.losses import CrossEntropyLoss, DeepSupervision, DiceLoss, FocalDiceLoss, FocalLoss
from segfocal.training.diagnosis.gather import Gathering
from segfocal.training.diagnosis.report import diagnose
from segfocal.training.diagnosis.verdict import Facts, aims_at_probabilities, judge

OVERWHELMED = {
    "easy_background": 0.33,
    "missed_foreground": 0.2,
    "held_back": 0.97,
    "foreground_px": 1000,
    "prevalence": 0.01,
    "aupr": 0.5,
    "loss": "CrossEntropyLoss",
    "plain": True,
}


@pytest.mark.parametrize(
    ("change", "word", "said"),
    [
        ({}, "likely", "easy background carries much of the gradient"),
        ({"easy_background": 0.19}, "cannot tell", "lie between"),
        ({"held_back": 0.85}, "cannot tell", "lie between"),
        ({"held_back": 0.6}, "unlikely", "is found"),
        ({"missed_foreground": 0.5}, "unlikely", "look at its labels"),
        ({"aupr": 0.99}, "unlikely", "almost perfectly"),
        ({"aupr": 0.05}, "cannot tell", "train it longer"),
        ({"foreground_px": 99}, "cannot tell", "99 foreground pixels"),
        ({"plain": False, "loss": "FocalLoss"}, "cannot tell", "FocalLoss shapes the scores"),
        ({"plain": False, "held_back": 0.6}, "unlikely", "is found"),
    ],
)
def test_the_rule(change, word, said):
    verdict = judge(Facts(**OVERWHELMED | change))
    assert verdict.word == word
    assert said in verdict.reasons[0]


def test_the_reasons_hold_the_numbers():
    reasons = " ".join(judge(Facts(**OVERWHELMED)).reasons)
    for number in ("33 %", "20 %", "97 %", "0.500", "1 %"):
        assert number in reasons


@pytest.mark.parametrize(
    ("loss", "plain"),
    [
        (CrossEntropyLoss("binary"), True),
        (FocalLoss("binary", gamma=0.0), True),
        (DeepSupervision(CrossEntropyLoss("multiclass")), True),
        (nn.CrossEntropyLoss(), True),
        (FocalLoss("binary"), False),
        (CrossEntropyLoss("binary", alpha=0.9), False),
        (CrossEntropyLoss("binary", alpha="balanced"), False),
        (CrossEntropyLoss("binary", label_smoothing=0.1), False),
        (FocalLoss("multiclass", gamma=[0.0, 2.0]), False),
        (FocalDiceLoss("binary"), False),
        (DiceLoss("binary"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_which_losses_aim_at_probabilities(loss, plain):
    assert aims_at_probabilities(loss) is plain


def report_of(logits, target, loss=None):
    found = Gathering("binary", ["disc"], ignore_index=None)
    found.update(logits, target, [f"image_{index}" for index in range(len(logits))])
    return diagnose(
        found, task="binary", class_names=["disc"], loss=loss or CrossEntropyLoss("binary"), knees=[0.75]
    )


def test_right_scores_balance_easy_background_and_missed_foreground():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4, 1, 300, 300, generator=generator) - 4.5
    target = (torch.rand(logits.shape, generator=generator) < logits.sigmoid()).long()
    report = report_of(logits, target)
    facts = report["facts"]
    assert facts["prevalence"] < 0.05
    assert facts["missed_foreground"] == pytest.approx(facts["easy_background"], rel=0.03)
    assert report["calibration"]["temperature"] == pytest.approx(1.0, abs=0.01)


def scores(*, background, foreground, share=0.01):
    """Logits (4, 1, 100, 100) around two means, and the labels."""
    generator = torch.Generator().manual_seed(1)
    target = (torch.rand(4, 1, 100, 100, generator=generator) < share).long()
    noise = torch.randn(target.shape, generator=generator)
    return noise + torch.where(target == 1, foreground, background), target


def test_foreground_kept_down_by_easy_background_is_what_focusing_is_for():
    report = report_of(*scores(background=-4.5, foreground=-1.8))
    assert report["verdict"]["word"] == "likely"
    gradient = {each["gamma"]: each["gradient"] for each in report["losses"] if each["knee"] is None}
    assert gradient[0]["easy_background"] > 0.4
    assert gradient[2]["easy_background"] < 0.05
    assert gradient[2]["foreground"] > gradient[0]["foreground"]


def test_foreground_that_is_found_needs_no_focusing():
    assert report_of(*scores(background=-6.0, foreground=1.5))["verdict"]["word"] == "unlikely"


def discs(count, *, seed, per_image, wrong=0.0, size=40):
    """Discs of radius 2 px and contrast 3 on noise of deviation 1; a share of the labels is flipped."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    images = rng.normal(0, 1, (count, size, size)).astype(np.float32)
    masks = np.zeros((count, size, size), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        for row, column in rng.uniform(4, size - 4, (rng.poisson(per_image), 2)):
            inside = (rows - row) ** 2 + (columns - column) ** 2 <= 4
            image[inside] += 3
            mask[inside] = 1
    masks ^= (rng.random(masks.shape) < wrong).astype(np.uint8)
    return torch.from_numpy(images)[:, None], torch.from_numpy(masks)


def train(loss, images, masks, *, steps, seed):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Conv2d(8, 1, 3, padding=1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(images), (8,))
        optimizer.zero_grad()
        loss(network(images[chosen]), masks[chosen]).backward()
        optimizer.step()
        schedule.step()
    return network


def compare(*, per_image, wrong, steps, seed):
    """Train with both losses; return the verdict on cross-entropy and what focal loss gains in AUPR."""
    images, masks = discs(64, seed=20, per_image=per_image, wrong=wrong)
    others, theirs = discs(48, seed=21, per_image=per_image, wrong=wrong)
    reports = []
    for loss in (CrossEntropyLoss("binary"), FocalLoss("binary", gamma=2.0)):
        network = train(loss, images, masks, steps=steps, seed=seed)
        with torch.no_grad():
            reports.append(report_of(network(others), theirs, loss))
    ce, focal = reports
    return ce["verdict"]["word"], focal["calibration"]["aupr"] - ce["calibration"]["aupr"]


@pytest.mark.slow
def test_likely_where_focal_loss_wins():
    word, gain = compare(per_image=1.5, wrong=0.0, steps=150, seed=0)
    assert word == "likely"
    assert gain > 0.05


@pytest.mark.slow
def test_unlikely_where_focal_loss_gains_nothing():
    word, gain = compare(per_image=8, wrong=0.08, steps=250, seed=0)
    assert word == "unlikely"
    assert gain < 0.01
