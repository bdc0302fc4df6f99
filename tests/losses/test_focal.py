"""Focal loss and cross-entropy against torch and against a dense float64 reference."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import ConvexFocalLoss, CrossEntropyLoss, FocalLoss, ReducedFocalLoss

REDUCTIONS = ("none", "sum", "mean", "weighted_mean", "positives", "class_sum", "class_mean", "modulation")
IGNORE = 255


def draw(task, *, space=(5, 7), classes=4, ignore=False, dtype=torch.float64, seed=0):
    """Random logits and labels, some of them ignored."""
    g = torch.Generator().manual_seed(seed)
    channels = {"binary": 1, "multiclass": classes, "multilabel": 3}[task]
    logits = torch.randn(2, channels, *space, generator=g, dtype=torch.float64) * 3
    shape = (2, channels, *space) if task == "multilabel" else (2, *space)
    target = torch.randint(0, classes if task == "multiclass" else 2, shape, generator=g)
    if ignore:
        target[torch.rand(shape, generator=g) < 0.2] = IGNORE
    return logits.to(dtype).requires_grad_(), target


def value_and_gradient(function, logits):
    """The value of a function of the logits, and its gradient under a random upstream gradient."""
    logits = logits.detach().clone().requires_grad_()
    value = function(logits)
    upstream = torch.rand(value.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(value, logits, upstream.to(value.dtype))
    return value.detach(), gradient


def assert_same(ours, theirs, logits, **tolerance):
    """Two functions of the logits agree in value and gradient."""
    for a, b in zip(value_and_gradient(ours, logits), value_and_gradient(theirs, logits), strict=True):
        assert_close(a, b, **tolerance)


def plain(p, gamma, form, parameter):
    """The pixel loss written down as in the papers, by p of the true class."""
    ce, focal = -p.log(), -((1 - p) ** gamma) * p.log()
    if form == "poly":
        return focal + parameter * (1 - p) ** (gamma + 1)
    if form == "tail":
        return parameter * ce + (1 - parameter) * focal
    if form == "reduced":
        return torch.where(p < parameter, ce, ((1 - p) / parameter) ** gamma * ce)
    if form == "knee":
        k = torch.tensor(parameter, dtype=p.dtype)
        tau = (1 - k) ** gamma - gamma * k * (1 - k) ** (gamma - 1) * k.log()
        return torch.where(p < k, focal + (tau - (1 - k) ** gamma) * -k.log(), tau * ce)
    return focal


def dense(logits, target, task, *, gamma=2.0, alpha=None, weight=None, form="focal", parameter=None):
    """Loss, focal factor, weight and class of every element that is not ignored; alpha and weight inside."""
    gamma = torch.as_tensor(gamma, dtype=torch.float64)
    if task == "multiclass":
        kept = target != IGNORE
        label = target.where(kept, 0)
        p = logits.softmax(1).gather(1, label.unsqueeze(1)).squeeze(1)
        g = gamma[label] if gamma.ndim else gamma
        a = torch.ones_like(p) if alpha is None else torch.as_tensor(alpha, dtype=p.dtype)[label]
        kind = label
    else:
        target = target.unsqueeze(1) if target.ndim < logits.ndim else target
        kept = target != IGNORE
        positive = target == 1
        p = torch.where(positive, logits, -logits).sigmoid()
        per_channel = (1, -1, *(1,) * (logits.ndim - 2))
        g = gamma.view(per_channel) if gamma.ndim else gamma
        a = torch.ones_like(p)
        if alpha is not None:
            alpha = torch.as_tensor(alpha, dtype=p.dtype)
            alpha = alpha.view(per_channel) if alpha.ndim else alpha
            a = torch.where(positive, alpha, 1 - alpha)
        channel = torch.arange(logits.shape[1]).view(per_channel).expand_as(target)
        kind = 2 * channel + positive
        weight = weight.unsqueeze(1).expand_as(p) if weight is not None else None
    w = torch.ones_like(p) if weight is None else weight
    loss = a * w * plain(p, g, form, parameter)
    return loss, w * (1 - p) ** g, a * w, kind, kept


def reduced(task, reduction, elements):
    """The reductions, one loop each."""
    loss, factor, weight, kind, kept = elements
    if reduction == "none":
        return torch.where(kept, loss, 0.0)
    loss, factor, weight, kind = loss[kept], factor[kept].detach(), weight[kept], kind[kept]
    if reduction in ("class_sum", "class_mean"):
        kind = kind // 2 if task == "multilabel" else kind
        means = torch.stack([loss[kind == k].mean() for k in kind.unique()])
        return means.sum() if reduction == "class_sum" else means.mean()
    positives = kind > 0 if task == "multiclass" else kind % 2 == 1
    by = {
        "sum": torch.tensor(1.0),
        "mean": torch.tensor(loss.numel()),
        "weighted_mean": weight.sum(),
        "positives": positives.sum().clamp(min=1),
        "modulation": factor.sum(),
    }
    return loss.sum() / by[reduction]


@pytest.mark.parametrize("space", [(), (6,), (3, 5), (3, 2, 5)])
@pytest.mark.parametrize("ignore", [False, True])
def test_gamma_zero_is_cross_entropy(space, ignore):
    logits, target = draw("multiclass", space=space, ignore=ignore, dtype=torch.float32)
    target.view(-1)[0] = 1  # torch gives NaN where nothing is labelled
    ours = FocalLoss("multiclass", gamma=0.0, ignore_index=IGNORE)
    theirs = torch.nn.CrossEntropyLoss(ignore_index=IGNORE)
    assert_same(lambda x: ours(x, target), lambda x: theirs(x, target), logits)
    same = CrossEntropyLoss("multiclass", ignore_index=IGNORE)
    assert torch.equal(same(logits, target), ours(logits, target))


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_gamma_zero_is_binary_cross_entropy(task):
    logits, target = draw(task, dtype=torch.float32)
    masks = target.view_as(logits).float()
    loss = FocalLoss(task, gamma=0.0)
    assert_same(lambda x: loss(x, target), lambda x: F.binary_cross_entropy_with_logits(x, masks), logits)


def test_ignored_pixels_leave_binary_numerator_and_denominator():
    logits, target = draw("binary", ignore=True)
    kept = target != IGNORE
    loss = FocalLoss("binary", gamma=0.0, ignore_index=IGNORE)
    assert_same(
        lambda x: loss(x, target),
        lambda x: F.binary_cross_entropy_with_logits(x.squeeze(1)[kept], target[kept].double()),
        logits,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("ignore", [False, True])
def test_class_weights_are_those_of_torch(smoothing, ignore):
    logits, target = draw("multiclass", ignore=ignore)
    alpha = [0.2, 1.0, 3.0, 0.7]
    ours = CrossEntropyLoss(
        "multiclass", alpha, reduction="weighted_mean", ignore_index=IGNORE, label_smoothing=smoothing
    )
    theirs = torch.nn.CrossEntropyLoss(
        torch.tensor(alpha, dtype=torch.float64), ignore_index=IGNORE, label_smoothing=smoothing
    )
    assert_same(lambda x: ours(x, target), lambda x: theirs(x, target), logits)


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_label_smoothing_is_that_of_torch(smoothing):
    logits, target = draw("multiclass")
    loss = FocalLoss("multiclass", gamma=0.0, label_smoothing=smoothing)
    assert_same(
        lambda x: loss(x, target), lambda x: F.cross_entropy(x, target, label_smoothing=smoothing), logits
    )
    logits, target = draw("multilabel")
    loss = FocalLoss("multilabel", gamma=0.0, label_smoothing=smoothing)
    soft = target.double() * (1 - smoothing) + smoothing / 2
    assert_same(lambda x: loss(x, target), lambda x: F.binary_cross_entropy_with_logits(x, soft), logits)


def test_pixel_weights_divide_by_all_pixels():
    logits, target = draw("binary")
    weight = torch.rand(target.shape, dtype=torch.float64)
    weight[0] = 0.0
    loss = CrossEntropyLoss("binary")
    assert_same(
        lambda x: loss(x, target, weight),
        lambda x: F.binary_cross_entropy_with_logits(x.squeeze(1), target.double(), weight=weight),
        logits,
    )
    logits, target = draw("multiclass")
    loss = CrossEntropyLoss("multiclass")
    assert_same(
        lambda x: loss(x, target, weight),
        lambda x: (F.cross_entropy(x, target, reduction="none") * weight).mean(),
        logits,
    )


def test_soft_targets_are_expectations():
    logits, _ = draw("multiclass")
    soft = torch.rand(logits.shape, dtype=torch.float64).softmax(1)
    loss = CrossEntropyLoss("multiclass")
    assert_same(lambda x: loss(x, soft), lambda x: F.cross_entropy(x, soft), logits)
    x = torch.tensor([[0.7]], dtype=torch.float64)
    value = FocalLoss("binary", gamma=2.0)(x, torch.tensor([[0.4]], dtype=torch.float64))
    p = x.sigmoid().item()
    torch_p = torch.tensor(p, dtype=torch.float64)
    by_hand = 0.4 * (1 - p) ** 2 * -torch_p.log() + 0.6 * p**2 * -(1 - torch_p).log()
    assert_close(value, by_hand.reshape(()))


ALPHAS = {
    "binary": [None, 0.25],
    "multiclass": [None, [0.2, 1.0, 3.0, 0.0]],
    "multilabel": [None, 0.3, [0.2, 0.9, 0.5]],
}
SETTINGS = [(task, alpha) for task, alphas in ALPHAS.items() for alpha in alphas]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("task", "alpha"), SETTINGS)
@pytest.mark.parametrize("weighted", [False, True])
def test_reduction_matches_dense_reference(reduction, task, alpha, weighted):
    logits, target = draw(task, ignore=True)
    weight = torch.rand(2, 5, 7, dtype=torch.float64) if weighted else None
    gamma = {"binary": 1.5, "multiclass": [2.0, 0.5, 0.0, 1.0], "multilabel": [0.5, 2.0, 3.0]}[task]
    loss = FocalLoss(task, gamma, alpha, reduction=reduction, ignore_index=IGNORE)
    reference = {"gamma": gamma, "alpha": alpha, "weight": weight}

    def expected(x):
        value = reduced(task, reduction, dense(x, target, task, **reference))
        return value.view(target.shape) if reduction == "none" else value

    assert_same(lambda x: loss(x, target, weight), expected, logits)


VARIANTS = [
    (lambda task: FocalLoss(task, 2.0, poly=1.5), "poly", 1.5),
    (lambda task: FocalLoss(task, 2.0, poly=-0.5), "poly", -0.5),
    (lambda task: FocalLoss(task, 2.0, tail=0.1), "tail", 0.1),
    (lambda task: FocalLoss(task, 2.0, knee=0.75), "knee", 0.75),
    (lambda task: ReducedFocalLoss(task, 2.0), "reduced", 0.5),
    (lambda task: ReducedFocalLoss(task, 2.0, threshold=0.3), "reduced", 0.3),
]


@pytest.mark.parametrize(("build", "form", "parameter"), VARIANTS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_forms_match_their_formulas(build, form, parameter, task):
    logits, target = draw(task)
    loss = build(task)
    reference = {"form": form, "parameter": parameter}
    assert_same(lambda x: loss(x, target), lambda x: dense(x, target, task, **reference)[0].mean(), logits)


@pytest.mark.parametrize(("gamma", "shift"), [(2.0, 1.0), (4.0, 0.0)])
@pytest.mark.parametrize("tail", [0.0, 0.3])
def test_convex_form_matches_the_appendix(gamma, shift, tail):
    logits, target = draw("binary")
    loss = ConvexFocalLoss("binary", gamma, shift, tail=tail)

    def expected(x):
        right = torch.where(target == 1, x.squeeze(1), -x.squeeze(1))
        star = F.softplus(-(gamma * right + shift)) / gamma
        return (tail * F.softplus(-right) + (1 - tail) * star).mean()

    assert_same(lambda x: loss(x, target), expected, logits)


def test_knee_has_the_published_constants():
    # gamma = 2, p_k = 0.75: tau = 0.170381, c = 0.03104
    loss = FocalLoss("binary", 2.0, knee=0.75, reduction="none")
    p = torch.tensor([0.9, 0.5], dtype=torch.float64)
    above, below = loss(torch.logit(p).view(2, 1), torch.ones(2, 1, dtype=torch.uint8)).flatten()
    assert_close(above / -p[0].log(), torch.tensor(0.170381, dtype=torch.float64), atol=1e-6, rtol=0)
    assert_close(below - 0.25 * -p[1].log(), torch.tensor(0.03104, dtype=torch.float64), atol=1e-5, rtol=0)


@pytest.mark.parametrize("tau_slopes", [(0.1, (0.253, 0.126, 0.100))])
def test_tail_keeps_the_slope_of_easy_pixels(tau_slopes):
    tail, expected = tau_slopes
    x = torch.logit(torch.tensor([0.75, 0.9, 0.99], dtype=torch.float64)).view(3, 1)
    target = torch.ones(3, 1, dtype=torch.uint8)
    _, ours = value_and_gradient(lambda x: FocalLoss("binary", 2.0, tail=tail)(x, target), x)
    _, plain_slope = value_and_gradient(lambda x: CrossEntropyLoss("binary")(x, target), x)
    assert_close((ours / plain_slope).flatten(), torch.tensor(expected).double(), atol=6e-4, rtol=0)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize(
    "settings", [{}, {"knee": 0.7}, {"tail": 0.2}, {"poly": 1.0}, {"label_smoothing": 0.1}]
)
def test_gradcheck(task, settings):
    logits, target = draw(task, space=(2, 3), ignore=True)
    loss = FocalLoss(task, 1.5, ignore_index=IGNORE, **settings)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_nothing_labelled_is_zero_with_zero_gradient(reduction, task):
    logits, target = draw(task)
    loss = FocalLoss(task, ignore_index=IGNORE, reduction=reduction)
    value, gradient = value_and_gradient(lambda x: loss(x, torch.full_like(target, IGNORE)), logits)
    assert_close(value, torch.zeros_like(value))
    assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_saturated_logits_stay_finite(gamma, dtype, task):
    edge = 1e4
    column = torch.tensor([edge, -edge, 0.0, 80.0, -80.0])
    logits = column.view(5, 1) if task == "binary" else torch.stack([column, -column], 1)
    logits = logits.to(dtype).requires_grad_()
    for label in (0, 1):
        target = torch.full((5,), label, dtype=torch.uint8)
        target = target.view(5, 1) if task == "binary" else target
        value, gradient = value_and_gradient(lambda x, t=target: FocalLoss(task, gamma)(x, t), logits)
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_half_logits_give_the_value_of_the_rounded_logits(dtype, reduction):
    logits, target = draw("multiclass", dtype=dtype)
    loss = FocalLoss("multiclass", 2.0, reduction=reduction)
    value = loss(logits, target)
    assert value.dtype == torch.float32
    assert_close(value, loss(logits.double(), target).float(), rtol=1e-6, atol=1e-7)
    value.sum().backward()
    assert logits.grad.dtype == dtype


@pytest.mark.parametrize("shape", [(64, 27), (8, 27, 33)])
def test_tokens_with_one_dominant_class(shape):
    # token-like input: 27 classes, one of which holds 79 % of the labels
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(shape, generator=g, dtype=torch.float64)
    labels_shape = (shape[0], *shape[2:])
    target = torch.randint(1, 27, labels_shape, generator=g).to(torch.int16)
    target[torch.rand(labels_shape, generator=g) < 0.79] = 0
    loss = FocalLoss("multiclass", 2.0, reduction="class_mean")
    expected = reduced("multiclass", "class_mean", dense(logits, target.long(), "multiclass"))
    assert_close(loss(logits, target), expected)
    counts = torch.bincount(target.flatten().long(), minlength=27)
    balanced = FocalLoss("multiclass", 0.0, "balanced", reduction="weighted_mean").with_alpha(counts)
    inverse = torch.where(counts > 0, 1.0 / counts.double(), 0.0)
    assert_close(balanced(logits, target), F.cross_entropy(logits, target.long(), weight=inverse))


def test_layout_of_memory_does_not_matter():
    logits, target = draw("multiclass", space=(9, 7), dtype=torch.float32)
    loss = FocalLoss("multiclass")
    expected = loss(logits, target)
    wide = torch.zeros(2, 4, 9, 14)
    wide[..., ::2] = logits.detach()
    for other in (logits.to(memory_format=torch.channels_last), wide[..., ::2]):
        assert_close(loss(other, target), expected)
    assert_close(loss(logits.mT, target.mT), expected)


def test_nan_at_an_ignored_pixel_changes_nothing():
    for task in ("binary", "multiclass", "multilabel"):
        logits, target = draw(task, ignore=True)
        poisoned = logits.detach().clone()
        ignored = (target == IGNORE).unsqueeze(1) if target.ndim < logits.ndim else target == IGNORE
        poisoned = poisoned.masked_fill(ignored, float("nan"))
        loss = FocalLoss(task, ignore_index=IGNORE)
        clean, dirty = (value_and_gradient(lambda x: loss(x, target), x) for x in (logits, poisoned))  # noqa: B023
        assert_close(dirty, clean)


def test_gamma_moves_in_place():
    loss = FocalLoss("multiclass", [1.0, 2.0, 2.0, 2.0])
    buffer = loss.gamma
    loss.set_gamma([0.5, 1.0, 1.0, 1.0])
    assert loss.gamma is buffer
    assert loss.gamma.tolist() == [0.5, 1.0, 1.0, 1.0]
    loss.set_gamma(3.0)
    assert loss.gamma.tolist() == [3.0] * 4
    logits, target = draw("multiclass")
    assert_close(loss(logits, target), FocalLoss("multiclass", 3.0)(logits, target))
    with pytest.raises(SegfocalError, match="gamma must keep its shape"):
        FocalLoss("multiclass").set_gamma([1.0, 2.0])
    with pytest.raises(SegfocalError, match="knee must lie above p0"):
        FocalLoss("binary", 2.0, knee=0.3).set_gamma(1.0)


def test_schedule_of_gamma_does_not_recompile():
    torch._dynamo.reset()
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    loss = FocalLoss("binary", 2.0)
    compiled = torch.compile(copy.deepcopy(loss), backend=count, fullgraph=True)
    logits, target = draw("binary")
    for gamma in (2.0, 1.0, 0.25):
        compiled._orig_mod.set_gamma(gamma)
        loss.set_gamma(gamma)
        assert_close(compiled(logits, target), loss(logits, target))
    assert len(graphs) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("binaryy",), "task must be one of .* Did you mean 'binary'"),
        (("binary", -1.0), "gamma must lie in"),
        (("binary", float("nan")), "gamma must lie in"),
        (("binary", "2"), "gamma must be a number"),
        (("binary", 2.0, 1.5), "alpha must lie in"),
        (("binary", 2.0, [0.5, 0.5]), "alpha must be one number"),
        (("multiclass", 2.0, 0.25), "alpha must have one weight per class"),
        (("multiclass", 2.0, [0.0, 0.0]), "above 0 for at least one class"),
        (("multiclass", 2.0, "ballanced"), "alpha must be None, numbers or"),
    ],
)
def test_wrong_settings_say_what_to_do(arguments, message):
    with pytest.raises(SegfocalError, match=message):
        FocalLoss(*arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reduction": "avg"}, "reduction must be one of"),
        ({"label_smoothing": 1.0}, "label_smoothing must lie in"),
        ({"knee": 0.75, "tail": 0.1}, "exclude one another, got knee and tail"),
        ({"tail": 0.1, "poly": 1.0}, "exclude one another, got tail and poly"),
        ({"knee": 0.29}, "knee must lie above p0 = 0.2976"),
        ({"knee": 1.0}, "knee must lie in"),
        ({"tail": 1.5}, "tail must lie in"),
        ({"tail": None}, "tail must be a number, got None"),
        ({"poly": float("nan")}, "poly must lie in"),
    ],
)
def test_wrong_keywords_say_what_to_do(settings, message):
    with pytest.raises(SegfocalError, match=message):
        FocalLoss("binary", **settings)


@pytest.mark.parametrize("margin", [-30.0, -40.0, -47.0, -50.0, -52.0, -200.0])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_an_underflown_modulation_keeps_the_gradient_finite(task, margin):
    logits = torch.zeros(1, 1 if task == "binary" else 2, 4)
    logits[:, 0] = margin if task == "binary" else -margin
    logits.requires_grad_()
    loss = FocalLoss(task, reduction="modulation")(logits, torch.zeros(1, 4, dtype=torch.uint8))
    (65536 * loss).backward()  # the first scale of mixed precision
    assert loss.item() == pytest.approx(math.exp(margin), rel=1e-5, abs=1e-15)
    assert logits.grad.abs().max().item() < 1e-7


def test_variants_refuse_what_they_are_not():
    with pytest.raises(SegfocalError, match="binary"):
        ConvexFocalLoss("multiclass")
    with pytest.raises(SegfocalError, match="gamma must lie in"):
        ConvexFocalLoss("binary", 0.0)
    with pytest.raises(SegfocalError, match="modulation"):
        ReducedFocalLoss("binary", reduction="modulation")
