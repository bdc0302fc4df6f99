"""The drawn pixel losses are the trained ones: checked against the library's own, in float64."""

import numpy as np
import pytest
import torch

from segfocal import FocalLoss
from segfocal.__main__ import main
from segfocal.report.figures.pixel import pixel_figures
from segfocal.report.pixel_curves import curve_table, focal_curve, knee_curve, slope_ratio, tail_curve

MARGINS = np.linspace(-30, 30, 121)
GAMMAS = (0.0, 0.5, 1.0, 2.0, 5.0)


def library(gamma, **form):
    """Loss and slope as trained: with label 0 the logit is the margin."""
    logits = torch.from_numpy(MARGINS).reshape(1, 1, -1).requires_grad_()
    target = torch.zeros(1, MARGINS.size, dtype=torch.uint8)
    loss = FocalLoss("binary", gamma=gamma, reduction="none", **form)(logits, target)
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    return loss.detach().numpy().ravel(), slope.numpy().ravel()


@pytest.mark.parametrize("gamma", GAMMAS)
def test_focal_is_the_trained_one(gamma):
    for ours, theirs in zip(focal_curve(MARGINS, gamma=gamma), library(gamma), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("gamma", GAMMAS[1:])
def test_knee_and_tail_are_the_trained_ones(gamma):
    for ours, theirs in zip(
        knee_curve(MARGINS, gamma=gamma, knee=0.75), library(gamma, knee=0.75), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    for ours, theirs in zip(
        tail_curve(MARGINS, gamma=gamma, tail=0.1), library(gamma, tail=0.1), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_published_slope_ratios():
    assert slope_ratio([0.75, 0.9, 0.99], gamma=2.0).round(4).tolist() == [0.1704, 0.029, 0.0003]
    crossings = {0.5: 0.4215, 1: 0.3679, 2: 0.2976, 3: 0.2526, 5: 0.1968}
    for gamma, p in crossings.items():
        assert slope_ratio(p, gamma=gamma) == pytest.approx(1.0, abs=2e-4)


def test_slopes_are_derivatives():
    step = 1e-5
    for call in (
        lambda z: focal_curve(z, gamma=2.0),
        lambda z: knee_curve(z, gamma=2.0, knee=0.75),
        lambda z: tail_curve(z, gamma=2.0, tail=0.1),
    ):
        margin = np.linspace(-5, 5, 41)
        numeric = (call(margin + step)[0] - call(margin - step)[0]) / (2 * step)
        np.testing.assert_allclose(call(margin)[1], numeric, rtol=1e-5)


def test_figures_draw_every_loss_six_times():
    table = curve_table(gammas=[0, 2], knee=0.75, tail=0.1)
    names = table["loss_name"].unique(maintain_order=True).to_list()
    assert names == ["cross-entropy", "focal, gamma 2", "knee 0.75, gamma 2", "tail 0.1, gamma 2"]
    views = pixel_figures(table)
    assert len(views) == 6
    assert all(len(view.figure.data) == 4 for view in views)


@pytest.mark.parametrize("ending", ["html", "svg", "csv"])
def test_the_verb_writes_a_file_that_stands_alone(ending, tmp_path):
    out = tmp_path / f"c.{ending}"
    assert main(["curves", "--gamma", "0", "2", "--knee", "0.75", "--out", str(out)]) == 0
    text = out.read_text()
    assert "knee 0.75, gamma 2" in text
    assert "src=" not in text.split("<body>")[-1]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--out", "c.png"], "must end in .html, .svg, .csv"),
        (["--out", "c.svg", "--gamma", "-1"], "--gamma must lie in [0, 50]"),
        (["--out", "c.svg", "--knee", "0.2"], "Choose a larger knee"),
        (["--out", "c.svg", "--tail", "2"], "--tail must lie in [0, 1]"),
        (["--out", "c.svg", "--gama", "2"], "Did you mean '--gamma'"),
    ],
    ids=["ending", "gamma", "knee", "tail", "option"],
)
def test_wrong_words_name_the_remedy(words, part, capsys):
    assert main(["curves", *words]) == 2
    assert part in capsys.readouterr().err
