"""The adapters beside the libraries whose names they carry: value and gradient over the grid of arguments.

Scalings that look odd are kept on purpose, among them those that are listed as faults elsewhere: M1, M7, M8,
M8b, M9, M12, M13, S2f, S3, S6, S11, S12c, S13, K1, K2, K7.
"""

import itertools
import random
import warnings

import pytest
import torch
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses.compat import kornia as our_kornia
from segfocal.losses.compat import monai as our_monai
from segfocal.losses.compat import smp as our_smp
from segfocal.losses.compat import torchvision as our_torchvision

kornia = pytest.importorskip("kornia.losses")
monai = pytest.importorskip("monai.losses")
smp = pytest.importorskip("segmentation_models_pytorch.losses")
torchvision = pytest.importorskip("torchvision.ops")

MOST = 150  # combinations of one row, drawn from the grid with a fixed seed
ACTIVATIONS = ({"sigmoid": True}, {"softmax": True}, {})
LOGITS = ({"sigmoid": True}, {"softmax": True})
SMOOTHING = ({}, {"smooth_nr": 0, "smooth_dr": 1e-3}, {"smooth_nr": 1.0, "smooth_dr": 1.0})
REDUCTION = ({}, {"reduction": "sum"}, {"reduction": "none"})
BACKGROUND = ({}, {"include_background": False})
BATCH = ({}, {"batch": True})
ONEHOT = ({"to_onehot_y": True}, {"to_onehot_y": False})
GAMMA = ({}, {"gamma": 0.0}, {"gamma": 1.5})
IGNORED = ({}, {"ignore_index": 255}, {"ignore_index": 1}, {"ignore_index": -1})


def grid(*choices):
    """All combinations of dictionaries, or a seeded sample where there are many."""
    merged = [{k: v for each in row for k, v in each.items()} for row in itertools.product(*choices)]
    return random.Random(0).sample(merged, min(MOST, len(merged)))


def without_warnings(function, *arguments, **settings):
    """Call a peer; some warn about their own defaults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **settings)


def both(call, x):
    """Value, and gradient by x under a random upstream gradient."""
    leaf = x.clone().requires_grad_()
    value = call(leaf)
    upstream = torch.rand(value.shape, generator=torch.Generator().manual_seed(7))
    (gradient,) = torch.autograd.grad((value * upstream).sum(), leaf)
    return value.detach(), gradient


def compare(ours, theirs, x, context, rtol=2e-5):
    """Value and gradient agree."""
    message = lambda found: f"{context}\n{found}"  # noqa: E731
    expected = both(lambda leaf: without_warnings(theirs, leaf), x)
    for mine, other in zip(both(ours, x), expected, strict=True):
        assert_close(mine, other.to(mine), rtol=rtol, atol=1e-6, msg=message)


def logits_of(seed, *shape):
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels_of(seed, classes, *shape):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed))


def monai_inputs(k, seed):
    """Logits and target: 2D with three classes, 1D with two images of two, one of them empty."""
    shape = (2, 3, 5, 6) if seed % 2 else (3, 2, 11)
    x = logits_of(seed, *shape)
    labels = labels_of(seed, shape[1], shape[0], 1, *shape[2:])
    if not seed % 2:
        labels[0] = 0
    if "ignore_index" in k:
        hole = torch.rand(labels.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
        labels = labels.masked_fill(hole, k["ignore_index"])
    if k.get("to_onehot_y"):
        return x, labels.float() if seed % 3 == 0 else labels
    return x, torch.cat([labels == c for c in range(shape[1])], 1).float()


def monai_settings(k, channels):
    """Put class weights of the length that the peer wants into the place of their kind."""
    left = channels - (not k.get("include_background", True))
    kinds = {"weights": ("weight", left), "all weights": ("weight", channels), "alphas": ("alpha", left)}
    found = {}
    for name, value in k.items():
        argument, length = kinds.get(name, (name, 0))
        found[argument] = [0.5 + 0.75 * c for c in range(length)] if length else value
    if "all weights" in k:
        found["weight"] = torch.tensor(found["weight"])
    return found


def monai_refuses(name, k, channels):
    """The argument that an adapter refuses, or None."""
    if name == "FocalLoss" and k.get("use_softmax") and not k.get("include_background", True):
        return "include_background"
    if k.get("ignore_index") is not None and not k["to_onehot_y"] and channels > 1:
        return "ignore_index"
    if "Focal" in name and channels == 2 and "include_background" in k and "weights" in k:
        return "weight"
    if k.get("use_softmax") and not k["to_onehot_y"] and k.get("reduction") == "none":
        return "reduction"
    return None


DICE = (ACTIVATIONS, ONEHOT, BACKGROUND, SMOOTHING, REDUCTION, BATCH)
SHAPES = ({}, {"squared_pred": True}, {"jaccard": True}, {"squared_pred": True, "jaccard": True})
COMPOUND = (LOGITS, ONEHOT, BACKGROUND, SHAPES, ({}, {"batch": True, "smooth_nr": 0.1}))
MONAI = {
    "DiceLoss": grid(*DICE, SHAPES, ({}, {"weight": 2.0}, {"weights": True})),
    "DiceLoss, ignored": grid(ACTIVATIONS, ONEHOT, BACKGROUND, SHAPES, BATCH, IGNORED[1:]),
    "TverskyLoss": grid(*DICE, ({}, {"alpha": 0.2, "beta": 0.9}), IGNORED),
    "GeneralizedDiceLoss": grid(*DICE, ({}, {"w_type": "simple"}, {"w_type": "uniform"})),
    "FocalLoss": grid(
        ONEHOT,
        BACKGROUND,
        GAMMA,
        REDUCTION,
        ({}, {"use_softmax": True}),
        ({}, {"alpha": 0.3}, {"alphas": True}),
        ({}, {"weight": 2.0}, {"weights": True}),
    ),
    "FocalLoss, ignored": grid(
        ONEHOT[:1],
        BACKGROUND,
        REDUCTION,
        IGNORED[1:],
        ({}, {"use_softmax": True}),
        ({}, {"alpha": 0.3}, {"alphas": True}),
        ({}, {"weight": 2.0}, {"weights": True}),
    ),
    "DiceCELoss": grid(
        *COMPOUND,
        REDUCTION[:2],
        ({}, {"all weights": True}),
        ({}, {"lambda_dice": 0.3, "lambda_ce": 2.0}),
        ({}, {"label_smoothing": 0.2}),
    ),
    "DiceFocalLoss": grid(
        *COMPOUND,
        REDUCTION,
        GAMMA,
        ({}, {"weights": True}),
        ({}, {"alpha": 0.25, "lambda_dice": 0.3, "lambda_focal": 2.0}),
    ),
    "GeneralizedDiceFocalLoss": grid(
        LOGITS,
        ONEHOT,
        BACKGROUND,
        REDUCTION,
        GAMMA,
        BATCH,
        ({}, {"w_type": "simple", "lambda_gdl": 0.3, "lambda_focal": 2.0}),
    ),
}


@pytest.mark.parametrize("row", MONAI)
def test_monai(row):
    name, refused = row.split(",")[0], 0
    for seed, k in enumerate(MONAI[row]):
        x, target = monai_inputs(k, seed)
        settings, reason = monai_settings(k, x.shape[1]), monai_refuses(name, k, x.shape[1])
        if name != "FocalLoss" and not (k.get("sigmoid") or k.get("softmax")):
            x = x.softmax(1)
        if reason:
            refused += 1
            with pytest.raises(SegfocalError, match=reason):
                getattr(our_monai, name)(**settings)(x, target)
            continue
        ours, theirs = getattr(our_monai, name)(**settings), getattr(monai, name)(**settings)
        compare(lambda leaf: ours(leaf, target), lambda leaf: theirs(leaf, target), x, settings)  # noqa: B023
    assert refused < len(MONAI[row]) / 2


ONE_CHANNEL = {
    "DiceLoss": grid(({"sigmoid": True}, {}), SHAPES, REDUCTION, BATCH, ({}, {"weight": 3.0}), IGNORED[:2]),
    "TverskyLoss": grid(({"sigmoid": True}, {}), REDUCTION, BATCH, ({}, {"alpha": 0.1}), IGNORED[:2]),
    "GeneralizedDiceLoss": grid(({"sigmoid": True}, {}), REDUCTION, BATCH, SMOOTHING),
    "FocalLoss": grid(GAMMA, REDUCTION, ({}, {"alpha": 0.3}, {"weight": 2.0}), IGNORED[:2]),
    "DiceCELoss": grid(({"sigmoid": True},), REDUCTION[:2], ({}, {"weight": torch.tensor([3.0])})),
    "DiceFocalLoss": grid(
        ({"sigmoid": True},), REDUCTION, GAMMA, ({}, {"alpha": 0.7}), ({}, {"weight": 2.0})
    ),
}


@pytest.mark.parametrize("name", ONE_CHANNEL)
def test_monai_one_channel(name):
    for seed, k in enumerate(ONE_CHANNEL[name]):
        x, target = logits_of(seed, 2, 1, 3, 4, 2), labels_of(seed, 2, 2, 1, 3, 4, 2).float()
        if name != "FocalLoss" and "sigmoid" not in k:
            x = x.sigmoid()
        if "ignore_index" in k:
            target[:, :, 1, :2] = k["ignore_index"]
        ours, theirs = getattr(our_monai, name)(**k), getattr(monai, name)(**k)
        compare(lambda leaf: ours(leaf, target), lambda leaf: theirs(leaf, target), x, k)  # noqa: B023


def test_monai_deep_supervision():
    xs = [logits_of(1, 2, 3, 8, 6), logits_of(2, 2, 3, 4, 3), logits_of(3, 2, 3, 3, 2)]
    target = labels_of(1, 3, 2, 1, 8, 6)
    inner = {"softmax": True, "to_onehot_y": True}
    for k in ({}, {"weight_mode": "two"}, {"weight_mode": "same"}, {"weights": [0.5, 0.2, 0.1, 0.1]}):
        ours = our_monai.DeepSupervisionLoss(our_monai.DiceCELoss(**inner), **k)
        theirs = monai.DeepSupervisionLoss(monai.DiceCELoss(**inner), **k)
        assert_close(ours(xs, target), theirs(xs, target.float()))
        assert_close(ours(xs[0], target), theirs(xs[0], target.float()))


MODES = ({"mode": "binary"}, {"mode": "multiclass"}, {"mode": "multilabel"})
CHOSEN = ({}, {"classes": [0, 2]}, {"class_weights": [0.2, 1.0, 3.0]})
CHOSEN = (*CHOSEN, {"classes": [2, 1], "class_weights": [0.2, 1.0, 3.0]})
REGION = (
    MODES,
    CHOSEN,
    ({}, {"log_loss": True}),
    ({}, {"from_logits": False}),
    ({}, {"smooth": 2.0}),
    ({}, {"eps": 0.1}),
    ({}, {"ignore_index": 255}),
)
SMP = {
    "DiceLoss": grid(*REGION),
    "JaccardLoss": grid(*REGION),
    "TverskyLoss": grid(*REGION, ({}, {"alpha": 0.2, "beta": 0.7}), ({}, {"gamma": 0.5}, {"gamma": 2.0})),
    "FocalLoss": grid(
        MODES,
        CHOSEN[::2],
        GAMMA,
        ({}, {"alpha": 0.3}),
        ({}, {"reduced_threshold": 0.5}, {"reduced_threshold": 0.3}),
        ({}, {"reduction": "sum"}),
        ({}, {"ignore_index": 255}),
        ({}, {"from_logits": False}),
    ),
}


def smp_inputs(k, seed):
    """Prediction and target by mode; class 1 is absent in every other case."""
    mode = k["mode"]
    x = logits_of(seed, 2, 1 if mode == "binary" else 3, 5, 6)
    target = labels_of(seed, 3, 2, 5, 6)
    if seed % 2:
        target[target == 1] = 2
    if mode == "multilabel":
        target = torch.stack([target == c for c in range(3)], 1).float()
    elif mode == "binary":
        target = (target > 0).long().unsqueeze(1)
        target = target.float() if seed % 3 else target
    if "ignore_index" in k:
        hole = torch.rand(target.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
        target = target.masked_fill(hole, 255)
    if k.get("from_logits") is False:
        x = x.softmax(1) if mode == "multiclass" else x.sigmoid()
    return x, target


@pytest.mark.parametrize("name", SMP)
def test_smp(name):
    for seed, k in enumerate(SMP[name]):
        x, target = smp_inputs(k, seed)
        reason = None
        if k["mode"] == "binary" and ("classes" in k or "class_weights" in k):
            reason = "classes|class_weights"
        elif name == "FocalLoss" and k["mode"] == "multiclass" and "from_logits" in k:
            reason = "from_logits"
        if reason:
            with pytest.raises(SegfocalError, match=reason):
                getattr(our_smp, name)(**k)
            continue
        if name == "FocalLoss" and k["mode"] == "multilabel" and "ignore_index" in k:
            continue  # S1c: the peer crashes
        ours, theirs = getattr(our_smp, name)(**k), getattr(smp, name)(**k)
        compare(lambda leaf: ours(leaf, target), lambda leaf: theirs(leaf, target), x, k)  # noqa: B023


def test_smp_cross_entropies():
    x, target = logits_of(0, 2, 3, 4, 5), labels_of(0, 3, 2, 4, 5)
    target[:, 1] = -100
    for reduction, smooth, ignore in itertools.product(("mean", "sum", "none"), (0.0, 0.1), (-100, None)):
        k = {"reduction": reduction, "smooth_factor": smooth, "ignore_index": ignore}
        clean = target.clamp(min=0) if ignore is None else target
        ours, theirs = our_smp.SoftCrossEntropyLoss(**k), smp.SoftCrossEntropyLoss(**k)
        compare(lambda leaf: ours(leaf, clean), lambda leaf: theirs(leaf, clean), x, k)  # noqa: B023
        masks = clean.unsqueeze(1).clamp(max=1).repeat(1, 3, 1, 1).float()
        k["smooth_factor"] = smooth or None
        binary, other = our_smp.SoftBCEWithLogitsLoss(**k), smp.SoftBCEWithLogitsLoss(**k)
        compare(lambda leaf: binary(leaf, masks), lambda leaf: other(leaf, masks), x, k)  # noqa: B023


def test_smp_scores():
    functional = pytest.importorskip("segmentation_models_pytorch.losses._functional")
    p, y = logits_of(0, 2, 3, 7).sigmoid(), labels_of(0, 2, 2, 3, 7).float()
    for dims in (None, (2,), (0, 2), (0, 1), 1):
        for k in ({}, {"smooth": 1.0, "eps": 5.0}):
            ours = our_smp.soft_tversky_score(p, y, 0.2, 0.7, dims=dims, **k)
            assert_close(ours, functional.soft_tversky_score(p, y, 0.2, 0.7, dims=dims, **k))
    assert_close(our_smp.soft_dice_score(p, y), functional.soft_dice_score(p, y))
    assert_close(our_smp.soft_jaccard_score(p, y), functional.soft_jaccard_score(p, y))


@pytest.mark.parametrize("shape", [(), (7,), (4, 5), (2, 3, 4), (2, 1, 4, 5), (2, 3, 4, 5)])
def test_torchvision(shape):
    alphas, gammas, reductions = (0.25, 0.0, 1.0, -1), (2, 0, 0.5, 1.5), ("none", "mean", "sum")
    x, target = logits_of(0, *shape), labels_of(0, 2, *shape).float()
    for alpha, gamma, reduction in itertools.product(alphas, gammas, reductions):
        compare(
            lambda leaf: our_torchvision.sigmoid_focal_loss(leaf, target, alpha, gamma, reduction),  # noqa: B023
            lambda leaf: torchvision.sigmoid_focal_loss(leaf, target, alpha, gamma, reduction),  # noqa: B023
            x,
            (alpha, gamma, reduction),
        )


def test_torchvision_soft_targets_without_gamma_and_alpha():
    x, target = logits_of(0, 5, 6), logits_of(1, 5, 6).sigmoid()
    ours = our_torchvision.sigmoid_focal_loss(x, target, -1, 0, "mean")
    assert_close(ours, torchvision.sigmoid_focal_loss(x, target, -1, 0, "mean"))
    for alpha, gamma, reduction in ((0.25, 0, "mean"), (-1, 2, "sum"), (-1, 2, "none")):
        with pytest.raises(SegfocalError, match="defines soft targets"):
            our_torchvision.sigmoid_focal_loss(x, target, alpha, gamma, reduction)


KORNIA_FOCAL = grid(
    ({"alpha": None}, {"alpha": 0.3}),
    GAMMA,
    ({}, {"reduction": "mean"}, {"reduction": "sum"}),
    ({}, {"weight": torch.tensor([0.5, 2.0, 1.0])}),
    ({}, {"ignore_index": 1}, {"ignore_index": None}, {"holes": True}),
)
KORNIA_REGION = {
    "DiceLoss": grid(
        ({}, {"average": "macro"}),
        ({}, {"eps": 0.5}),
        ({}, {"weight": torch.tensor([0.5, 2.0, 1.0])}, {"weight": torch.tensor([0.0, 0.0, 1.0])}),
        ({}, {"ignore_index": 1}, {"ignore_index": None}, {"holes": True}),
    ),
    "TverskyLoss": grid(
        ({"alpha": 0.5, "beta": 0.5}, {"alpha": 0.2, "beta": 1.3}),
        ({}, {"eps": 0.5}),
        ({}, {"ignore_index": 1}, {"ignore_index": None}, {"holes": True}),
    ),
}


def kornia_target(k, seed):
    """Labels in which one image lacks a class, and one may be ignored as a whole."""
    target = labels_of(seed, 3, 3, 5, 6)
    target[1] = target[1].clamp(max=1)
    if k.pop("holes", False):
        target[:, 2:4] = -100
        target[2] = -100
    return target


@pytest.mark.parametrize("name", KORNIA_REGION)
def test_kornia_regions(name):
    for seed, row in enumerate(KORNIA_REGION[name]):
        k, x = dict(row), logits_of(seed, 3, 3, 5, 6)
        target = kornia_target(k, seed)
        ours, theirs = getattr(our_kornia, name)(**k), getattr(kornia, name)(**k)
        compare(lambda leaf: ours(leaf, target), lambda leaf: theirs(leaf, target), x, k)  # noqa: B023


def test_kornia_focal():
    for seed, row in enumerate(KORNIA_FOCAL):
        k, x = dict(row), logits_of(seed, 3, 3, 5, 6)
        target = kornia_target(k, seed)
        ours, theirs = our_kornia.FocalLoss(**k), kornia.FocalLoss(**k)
        compare(lambda leaf: ours(leaf, target), lambda leaf: theirs(leaf, target), x, k)  # noqa: B023
        assert_close(our_kornia.focal_loss(x, target, **k), ours(x, target))


def test_kornia_binary_focal():
    for seed, row in enumerate(grid([{**k, **p} for k in KORNIA_FOCAL for p in ({}, {"pos_weight": True})])):
        k, x = dict(row), logits_of(seed, 3, 3, 5, 6)
        if k.pop("pos_weight", False):
            k["pos_weight"] = torch.tensor([3.0, 1.0, 0.2])
        target = logits_of(seed, 3, 3, 5, 6).sigmoid() if seed % 2 else labels_of(seed, 2, 3, 3, 5, 6).float()
        if k.pop("holes", False):
            target[:, 1, 2:4] = -100
        ours, theirs = our_kornia.BinaryFocalLossWithLogits(**k), kornia.BinaryFocalLossWithLogits(**k)
        compare(lambda leaf: ours(leaf, target), lambda leaf: theirs(leaf, target), x, k)  # noqa: B023
        assert_close(our_kornia.binary_focal_loss_with_logits(x, target, **k), ours(x, target))


def test_kornia_functions_have_the_same_defaults():
    x, target = logits_of(0, 2, 3, 4, 5), labels_of(0, 3, 2, 4, 5)
    masks = labels_of(0, 2, 2, 3, 4, 5).float()
    assert_close(our_kornia.dice_loss(x, target), kornia.dice_loss(x, target))
    assert_close(our_kornia.tversky_loss(x, target, 0.3, 0.7), kornia.tversky_loss(x, target, 0.3, 0.7))
    ours = our_kornia.binary_focal_loss_with_logits(x, masks)
    assert_close(ours, kornia.binary_focal_loss_with_logits(x, masks), rtol=1e-5, atol=1e-6)


def test_probabilities_of_exactly_0_and_1_have_the_peer_gradient():
    x = torch.tensor([[[0.0, 1.0, 1.0, 0.0, 0.5, 1e-12]]])
    target = torch.tensor([[[0.0, 0.0, 1.0, 1.0, 1.0, 1.0]]])
    for ours, theirs in (
        (our_monai.DiceLoss(), monai.DiceLoss()),
        (our_monai.DiceLoss(squared_pred=True), monai.DiceLoss(squared_pred=True)),
        (our_smp.DiceLoss("binary", from_logits=False), smp.DiceLoss("binary", from_logits=False)),
    ):
        value, gradient = both(lambda leaf: ours(leaf, target), x)  # noqa: B023
        expected, slope = both(lambda leaf: theirs(leaf, target), x)  # noqa: B023
        assert_close(value, expected)
        if "smp" not in type(ours).__module__:  # an L1 norm has slope 0 where it is exactly met
            assert_close(gradient, slope)
        assert gradient.isfinite().all()
