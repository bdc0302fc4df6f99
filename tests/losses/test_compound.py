"""Sums of losses: values, shared passes, parts, terms from elsewhere."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import (
    CompoundLoss,
    CrossEntropyLoss,
    DeepSupervision,
    DiceLoss,
    FocalDiceLoss,
    FocalLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    TverskyLoss,
    UnifiedFocalLoss,
    loss_and_counts,
)
from segfocal.losses import needs as passes


def draw(channels=3, *, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(2, channels, 6, 5, generator=g, dtype=torch.float64).to(dtype) * 2
    target = torch.randint(0, max(channels, 2), (2, 6, 5), generator=g)
    target[0, 0] = 255
    return logits.requires_grad_(), target


@pytest.fixture
def calls(monkeypatch):
    """Record what each call of the primitive wants."""
    wanted = []
    primitive = passes.pixel_sums

    def counted(*arguments, **settings):
        wanted.append(set(settings["want"]))
        return primitive(*arguments, **settings)

    monkeypatch.setattr(passes, "pixel_sums", counted)
    return wanted


def focal(**settings):
    return FocalLoss("multiclass", ignore_index=255, **settings)


def dice(**settings):
    return DiceLoss("multiclass", ignore_index=255, **settings)


def test_focal_plus_dice_is_the_sum_in_one_pass(calls):
    logits, target = draw()
    loss = focal() + 0.5 * dice()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    assert len(calls) == 1
    apart = focal()(logits, target) + 0.5 * dice()(logits, target)
    assert_close(value, apart)
    assert_close(gradient, torch.autograd.grad(apart, logits)[0])


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: focal() + dice() + TverskyLoss("multiclass", 0.3, 0.7, ignore_index=255), 1),
        (lambda: dice() + focal(), 1),
        (lambda: focal() + focal(gamma=1.0), 2),
        (lambda: focal() + focal(gamma=1.0) + dice() + JaccardLoss("multiclass", ignore_index=255), 2),
        (lambda: UnifiedFocalLoss("multiclass", ignore_index=255) + dice(squared=True), 1),
        (lambda: FocalDiceLoss("multiclass", ignore_index=255), 1),
        (lambda: FocalDiceLoss("multiclass", ignore_index=255) + 2 * dice(per_image=True), 1),
    ],
)
def test_terms_share_passes(build, expected, calls):
    logits, target = draw()
    loss = build()
    value = loss(logits, target)
    assert len(calls) == expected
    whole = sum(w * term(logits, target) for w, term in zip(loss.weights, loss.terms, strict=True))
    assert_close(value, whole)


def test_one_module_twice_shares_its_pass(calls):
    logits, target = draw()
    term = focal()
    value = (term + term)(logits, target)
    assert len(calls) == 1
    assert_close(value, 2 * term(logits, target))


def test_counts_ride_on_the_pass(calls):
    logits, target = draw()
    value, counts = loss_and_counts(focal() + 0.5 * dice(), logits, target)
    assert len(calls) == 1
    assert_close(value, (focal() + 0.5 * dice())(logits, target))
    kept, decided = target != 255, logits.argmax(1)
    for c in range(3):
        hit = (decided == c) & kept
        assert counts.tp[:, c].tolist() == (hit & (target == c)).sum((1, 2)).tolist()
        assert counts.fp[:, c].tolist() == (hit & (target != c)).sum((1, 2)).tolist()
        assert counts.fn[:, c].tolist() == (~hit & kept & (target == c)).sum((1, 2)).tolist()


def test_sums_lie_flat_and_scale():
    loss = 2 * (focal() + 0.5 * dice()) + dice(per_image=True)
    assert [type(term).__name__ for term in loss.terms] == ["FocalLoss", "DiceLoss", "DiceLoss"]
    assert loss.weights.tolist() == [2.0, 1.0, 1.0]
    assert (dice() * 3).weights.tolist() == [3.0]
    assert isinstance(sum([focal(), dice()]), CompoundLoss)
    with pytest.raises(SegfocalError, match="a loss can be added to a loss only"):
        1 + focal()


def test_parts_are_named_and_unweighted():
    logits, target = draw()
    loss = focal() + 0.5 * dice() + 3.0 * dice(squared=True)
    parts = loss.parts(logits, target)
    assert list(parts) == ["FocalLoss", "DiceLoss", "DiceLoss_2"]
    assert_close(parts["DiceLoss_2"], dice(squared=True)(logits, target).detach())
    assert not any(part.requires_grad for part in parts.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_modules_from_elsewhere_add_their_value(dtype):
    logits, target = draw(dtype=dtype)
    theirs = nn.CrossEntropyLoss(ignore_index=255)
    for loss in (focal() + theirs, theirs + focal(), CompoundLoss([theirs, focal()], [1.0, 1.0])):
        value = loss(logits, target)
        assert value.dtype == dtype
        assert_close(value, focal()(logits, target) + F.cross_entropy(logits, target, ignore_index=255))
        assert set(loss.parts(logits, target)) == {"FocalLoss", "CrossEntropyLoss"}
    with pytest.raises(SegfocalError, match="takes no pixel weights"):
        loss(logits, target, torch.ones(2, 6, 5))
    with pytest.raises(SegfocalError, match="must return a scalar"):
        (focal() + nn.CrossEntropyLoss(ignore_index=255, reduction="none"))(logits, target)


def test_a_sum_among_the_terms_keeps_all_its_terms():
    logits, target = draw()
    theirs = nn.CrossEntropyLoss(ignore_index=255)
    inner = CompoundLoss([focal(), theirs], [1.0, 2.0])
    loss = CompoundLoss([dice(), inner], [1.0, 0.5])
    alone = dice()(logits, target) + 0.5 * focal()(logits, target) + theirs(logits, target)
    assert_close(loss(logits, target), alone)
    assert loss.weights.tolist() == [1.0, 0.5, 1.0]
    assert set(loss.parts(logits, target)) == {"DiceLoss", "FocalLoss", "CrossEntropyLoss"}
    assert_close(DeepSupervision(loss)(logits, target), alone)


def test_needs_and_sums_work_where_one_pass_is_enough():
    logits, target = draw()
    loss = focal() + 0.5 * dice()
    sums = passes.compute(loss.needs(), logits, target, None)
    assert_close(loss.from_sums(sums), loss(logits, target))
    with pytest.raises(SegfocalError, match="do not share one pass"):
        (focal() + focal(gamma=1.0)).needs()
    with pytest.raises(SegfocalError, match="do not share one pass"):
        (focal() + nn.CrossEntropyLoss()).needs()


def test_pixel_weights_reach_every_term():
    logits, target = draw()
    weight = torch.rand(2, 6, 5, dtype=torch.float64)
    whole = focal()(logits, target, weight) + 0.5 * dice()(logits, target, weight)
    assert_close((focal() + 0.5 * dice())(logits, target, weight), whole)


def test_focal_dice_is_the_sum_it_says():
    logits, target = draw()
    settings = {"ignore_index": 255}
    loss = FocalDiceLoss(
        "multiclass", 1.0, [1.0, 2.0, 3.0], focal_weight=0.3, dice_weight=2.0, squared=True, **settings
    )
    apart = 0.3 * focal(gamma=1.0, alpha=[1.0, 2.0, 3.0]) + 2.0 * dice(squared=True)
    assert_close(loss(logits, target), apart(logits, target))
    assert list(loss.parts(logits, target)) == ["FocalLoss", "DiceLoss"]


def test_balanced_alpha_waits_for_counts():
    logits, target = draw()
    for loss in (
        focal(alpha="balanced") + dice(),
        FocalDiceLoss("multiclass", alpha="balanced", ignore_index=255),
    ):
        assert loss.wants_counts()
        with pytest.raises(SegfocalError, match=r"with_alpha\(counts\)"):
            loss(logits, target)
        resolved = loss.with_alpha([90, 9, 1])
        assert loss.wants_counts()
        assert not resolved.wants_counts()
        assert type(resolved) is type(loss)
        weights = torch.tensor([1 / 90, 1 / 9, 1.0], dtype=torch.float64)
        by_hand = focal(alpha=(weights / weights.mean()).tolist()) + dice()
        assert_close(resolved(logits, target), by_hand(logits, target))


def test_generalised_dice_joins_without_loss_of_its_own_smoothing():
    logits, target = draw()
    loss = CrossEntropyLoss("multiclass", ignore_index=255) + GeneralizedDiceLoss(
        "multiclass", ignore_index=255
    )
    whole = sum(term(logits, target) for term in loss.terms)
    assert_close(loss(logits, target), whole)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CompoundLoss([]), "at least one loss of segfocal"),
        (lambda: CompoundLoss([nn.MSELoss()]), "at least one loss of segfocal"),
        (lambda: CompoundLoss([focal()], [1.0, 2.0]), "one per term, got 2 for 1"),
        (lambda: CompoundLoss([focal()], [float("nan")]), "weights must lie in"),
        (lambda: CompoundLoss([focal() + dice()], ["1"]), "weights must be a number"),
        (lambda: focal() + DiceLoss("multilabel", ignore_index=255), "agree in task"),
        (lambda: focal() + DiceLoss("multiclass"), "agree in ignore_index"),
        (lambda: focal(reduction="none") + dice(), "gives a map"),
        (lambda: focal() + "dice", "must be an nn.Module"),
    ],
)
def test_terms_that_do_not_fit_are_refused(build, message):
    with pytest.raises(SegfocalError, match=message):
        build()
