"""Posteriors behind focal scores: by minimising the risk numerically, and against published numbers."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import (
    ConvexFocalLoss,
    CrossEntropyLoss,
    DiceLoss,
    FocalDiceLoss,
    FocalLoss,
    ReducedFocalLoss,
    UnifiedFocalLoss,
    focal_posterior,
)
from segfocal.losses.posterior import amplified_below


def minimiser(loss, posterior):
    """Scores that minimise the expected loss under a posterior, by Newton-like steps in float64."""
    posterior = torch.as_tensor(posterior, dtype=torch.float64)
    classes = posterior.numel()
    shape = (classes, 1) if loss.task != "multiclass" else (classes, classes)
    logits = torch.zeros(shape[1], dtype=torch.float64, requires_grad=True)
    labels = torch.arange(classes).view(classes, 1) if loss.task != "multiclass" else torch.arange(classes)
    optimizer = torch.optim.LBFGS(
        [logits], lr=1, max_iter=500, tolerance_grad=1e-14, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def risk():
        optimizer.zero_grad()
        values = loss(logits.expand(shape), labels).flatten()
        value = (posterior * values).sum()
        value.backward()
        return value

    optimizer.step(risk)
    return (logits.sigmoid() if loss.task != "multiclass" else logits.softmax(0)).detach()


FORMS = [{}, {"knee": 0.75}, {"tail": 0.1}, {"poly": 1.0}, {"label_smoothing": 0.1}]


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("settings", FORMS, ids=str)
@pytest.mark.parametrize("eta", [0.1, 0.3, 0.5, 0.9])
def test_binary_posterior_is_recovered(gamma, settings, eta):
    loss = FocalLoss("binary", gamma, reduction="none", **settings)
    score = minimiser(loss, [1 - eta, eta])
    assert loss.posterior(score).item() == pytest.approx(eta, abs=2e-6)


@pytest.mark.parametrize("settings", [*FORMS, {"alpha": [0.5, 1.0, 2.0, 0.7, 1.3]}], ids=str)
@pytest.mark.parametrize("gamma", [0.7, 2.0, [0.0, 1.0, 2.0, 0.5, 3.0]])
def test_multiclass_posterior_is_recovered(settings, gamma):
    eta = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.35], dtype=torch.float64)
    loss = FocalLoss("multiclass", gamma, reduction="none", **settings)
    score = minimiser(loss, eta)
    assert_close(loss.posterior(score), eta, atol=3e-6, rtol=0)


@pytest.mark.parametrize("alpha", [0.25, 0.9])
def test_alpha_is_undone(alpha):
    loss = FocalLoss("binary", 2.0, alpha, reduction="none")
    assert loss.posterior(minimiser(loss, [0.7, 0.3])).item() == pytest.approx(0.3, abs=1e-6)
    # with alpha, a score of one half means a posterior of 1 - alpha
    assert loss.posterior(torch.tensor([0.5])).item() == pytest.approx(1 - alpha, abs=1e-6)


@pytest.mark.parametrize(("gamma", "shift"), [(2.0, 1.0), (4.0, 0.0)])
@pytest.mark.parametrize("tail", [0.0, 0.2])
def test_convex_posterior_is_recovered(gamma, shift, tail):
    loss = ConvexFocalLoss("binary", gamma, shift, tail=tail, reduction="none")
    assert loss.posterior(minimiser(loss, [0.7, 0.3])).item() == pytest.approx(0.3, abs=1e-6)


def test_published_read_out():
    scores = torch.tensor([0.6, 0.75, 0.9], dtype=torch.float64)
    for task in ("binary", "multilabel"):
        assert [round(q, 3) for q in focal_posterior(scores, 2.0, task).tolist()] == [0.748, 0.950, 0.997]
    two = torch.stack([1 - scores, scores], 1)
    assert_close(focal_posterior(two, 2.0, "multiclass")[:, 1], focal_posterior(scores, 2.0, "binary"))


def test_region_terms_move_the_score_away():
    # true posterior .30 everywhere: focal alone gives it back, with Dice the score means something else
    n = 1000
    target = torch.zeros(1, n)
    target[0, : int(0.3 * n)] = 1
    found = []
    for dice_weight in (0.0, 0.5, 1.0):
        loss = FocalLoss("binary", 2.0) + dice_weight * DiceLoss("binary", smooth=0)
        logit = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [logit], max_iter=200, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def step():
            optimizer.zero_grad()  # noqa: B023
            value = loss(logit.expand(1, 1, n), target.to(torch.uint8))  # noqa: B023
            value.backward()
            return value

        optimizer.step(step)
        found.append(focal_posterior(logit.detach().sigmoid(), 2.0, "binary").item())
    assert found == pytest.approx([0.300, 0.365, 0.425], abs=6e-4)


def test_slope_exceeds_cross_entropy_below_p0_only():
    published = {0.5: 0.4215, 1.0: 0.3679, 2.0: 0.2976, 3.0: 0.2526, 5.0: 0.1968}
    assert {gamma: round(amplified_below(gamma), 4) for gamma in published} == published


def test_argmax_and_bounds_survive():
    scores = torch.rand(4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(1)
    q = focal_posterior(scores, 3.0, "multiclass")
    assert torch.equal(q.argmax(1), scores.argmax(1))
    assert_close(q.sum(1), torch.ones(4, 6, dtype=torch.float64))
    edges = torch.tensor([0.0, 1e-30, 0.5, 1.0])
    for gamma in (0.0, 0.5, 2.0, 5.0):
        assert focal_posterior(edges, gamma, "binary")[[0, 2, 3]].tolist() == pytest.approx(
            [0, 0.5, 1], abs=1e-6
        )
    certain = F.one_hot(torch.tensor([0, 2]), 3).float()
    assert_close(focal_posterior(certain, 2.0, "multiclass"), certain)


def test_gamma_zero_is_the_identity():
    scores = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert_close(CrossEntropyLoss("multiclass").posterior(scores), scores)
    assert CrossEntropyLoss("multiclass").posterior(scores.float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (DiceLoss("binary"), "no exact posterior"),
        (FocalDiceLoss("binary"), "no exact posterior"),
        (FocalLoss("binary") + DiceLoss("binary"), "no exact posterior"),
        (UnifiedFocalLoss("binary"), "no exact posterior"),
        (ReducedFocalLoss("binary"), "not convex"),
        (FocalLoss("binary", poly=-0.5), "poly >= 0"),
        (FocalLoss("binary", reduction="class_mean"), "weighs classes"),
        (FocalLoss("binary", alpha=1.0), "no weight"),
        (FocalLoss("multiclass", alpha=[1.0, 0.0]), "no weight"),
        (FocalLoss("multiclass", alpha="balanced"), "no numbers yet"),
    ],
)
def test_refuses_where_no_exact_posterior_exists(loss, message):
    with pytest.raises(SegfocalError, match=message):
        loss.posterior(torch.tensor([[0.4, 0.6]]))


def test_a_scaled_focal_loss_keeps_its_posterior():
    loss = 20.0 * FocalLoss("binary")
    assert loss.posterior(torch.tensor([0.75])).item() == pytest.approx(0.9501, abs=1e-4)


@pytest.mark.parametrize(
    ("scores", "gamma", "message"),
    [
        ([-3.0, 7.0], 2.0, r"scores must lie in \[0, 1\], got \[-3, 7\]. Apply sigmoid"),
        ([[0.2, 0.3, 0.5]], [1.0, 2.0], "gamma holds 2 numbers.*3 classes"),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores, gamma, message):
    with pytest.raises(SegfocalError, match=message):
        focal_posterior(torch.tensor(scores), gamma, "multiclass")


def test_integer_scores_are_refused():
    with pytest.raises(SegfocalError, match="floating-point"):
        focal_posterior(torch.tensor([1]), 2.0, "binary")
    with pytest.raises(SegfocalError, match="task must be one of"):
        focal_posterior(torch.tensor([0.5]), 2.0, "softmax")
