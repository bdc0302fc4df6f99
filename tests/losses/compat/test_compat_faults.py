"""Where the adapters differ from their peers on purpose, by the id of the peer's fault.

Numbers are kept; what is not: NaN and overflow become numbers, and wrong input raises. One row per fault: its
id, what the peer does, and a check of what the adapter does.
"""

import copy
import math
import pickle

import pytest
import torch
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses.compat import kornia, mmseg, monai, smp, torchvision

NAN, INF = float("nan"), float("inf")
HOT = {"to_onehot_y": True}
SOFT = {"softmax": True, **HOT}


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def classes(count, *shape, seed=1):
    return torch.randint(0, count, shape, generator=torch.Generator().manual_seed(seed))


X, Y = draw(2, 3, 4, 5), classes(3, 2, 4, 5)
Y1 = Y.unsqueeze(1)
MASKS = torch.stack([c == Y for c in range(3)], 1)
HOLE = Y.masked_fill(torch.rand(Y.shape, generator=torch.Generator().manual_seed(2)) < 0.3, 255)
GONE = (HOLE == 255).unsqueeze(1)
B, BINARY = X[:, :1], (Y1 > 0).long()
BHOLE = BINARY.masked_fill(GONE, 255)


def both(loss, x, target):
    """Value and gradient."""
    leaf = x.detach().clone().requires_grad_()
    value = loss(leaf, target)
    value.sum().backward()
    return value.detach(), leaf.grad


def finite(loss, x, target):
    """Value and gradient are finite."""
    return all(bool(each.isfinite().all()) for each in both(loss, x, target))


def untouched(loss, x, target, gone, junk=NAN):
    """Whatever stands at ignored pixels does not matter."""
    for mine, clean in zip(both(loss, x.masked_fill(gone, junk), target), both(loss, x, target), strict=True):
        assert_close(mine, clean)
    return True


def refuses(message, call, *arguments, **settings):
    """The call raises and says why."""
    with pytest.raises(SegfocalError, match=message):
        call(*arguments, **settings)
    return True


def same(loss, x, one, other):
    """Two targets mean the same."""
    assert_close(loss(x, one), loss(x, other))
    return True


def near(value, expected, rel=1e-5):
    return value.item() == pytest.approx(expected, rel=rel)


def easy(loss, gap, channels):
    """Focal loss of one kind of easy pixel keeps its size in half precision."""
    x = (
        torch.full((1, 1, 8), gap)
        if channels == 1
        else torch.tensor([gap, 0.0]).view(1, 2, 1).expand(1, 2, 8)
    )
    target = torch.ones(1, 1, 8) if channels == 1 else torch.zeros(1, 8).long()
    expected = (1 / (1 + math.exp(gap))) ** 2 * math.log1p(math.exp(-gap))
    return all(near(loss(x.to(dtype), target), expected) for dtype in (torch.bfloat16, torch.float16))


def one_graph():
    torch._dynamo.reset()
    loss = monai.DiceFocalLoss(sigmoid=True, **HOT)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    return torch.equal(compiled(X, Y1), loss(X, Y1))


def small_object():
    x = torch.full((1, 1, 1024, 1024), -12.0)
    target = torch.zeros(1, 1, 1024, 1024)
    target[0, 0, 500, 500:510] = 1
    p, n = 1 / (1 + math.exp(12)), 2**20
    return near(smp.DiceLoss("binary")(x, target), 1 - 2 * 10 * p / (n * p + 10), rel=1e-6)


def vision(reduction="mean", **settings):
    return lambda x, target: torchvision.sigmoid_focal_loss(x, target, reduction=reduction, **settings)


WIDE = torch.zeros(1, 1, 512, 512, dtype=torch.float16)
FULL = torch.ones(1, 1, 512, 512)
SATURATED = torch.tensor([[[50.0, -50.0], [-50.0, 50.0]]])
TARGETS = torch.tensor([[0, 0]])

DIFFERENT = [
    (
        "M2",
        "NaN at an ignored voxel is NaN",
        lambda: all(
            untouched(loss(ignore_index=255, **k), X, HOLE.unsqueeze(1), GONE)
            for loss, k in ((monai.FocalLoss, HOT), (monai.DiceLoss, SOFT), (monai.TverskyLoss, SOFT))
        ),
    ),
    (
        "M4",
        "background dropped before the softmax",
        lambda: refuses(
            "include_background=False", monai.FocalLoss, use_softmax=True, include_background=False
        ),
    ),
    (
        "M5",
        "the same on an all-background image: no gradient",
        lambda: refuses(
            "false positives cost nothing", monai.FocalLoss, use_softmax=True, include_background=False
        ),
    ),
    (
        "M6",
        "softmax of one channel is constant",
        lambda: (
            refuses("use_softmax=True", monai.FocalLoss(use_softmax=True), B, BINARY)
            and refuses("softmax=True", monai.DiceLoss(softmax=True), B, BINARY)
        ),
    ),
    ("M10", "a mask multiplies logits", lambda: refuses("MaskedLoss", monai.MaskedLoss, monai.DiceLoss)),
    (
        "M11",
        "deep supervision takes no integer labels",
        lambda: near(
            monai.DeepSupervisionLoss(monai.FocalLoss(gamma=0.0, **HOT))(
                [torch.zeros(1, 3, 4), torch.zeros(1, 3, 2)], torch.tensor([[[0, 1, 2, 0]]])
            ),
            1.5 * math.log(2),
        ),
    ),
    (
        "M11b",
        "too few weights are replaced by defaults",
        lambda: refuses(
            "one number per output",
            monai.DeepSupervisionLoss(monai.DiceLoss(**SOFT), weights=[1.0]),
            [X, X],
            Y1,
        ),
    ),
    (
        "M14",
        "fp16 sums overflow",
        lambda: all(
            finite(loss(sigmoid=True), WIDE, FULL)
            for loss in (monai.DiceLoss, monai.TverskyLoss, monai.GeneralizedDiceLoss)
        ),
    ),
    (
        "M17",
        "a float label map is truncated",
        lambda: refuses("whole labels", monai.FocalLoss(**HOT), X, Y1 + 0.5),
    ),
    (
        "M18",
        "class indices for one channel",
        lambda: (
            refuses("got 2 ", monai.FocalLoss(), B, Y1) and refuses("0, 1", monai.FocalLoss(), B, Y1.float())
        ),
    ),
    ("M22", "bool masks crash", lambda: same(monai.TverskyLoss(sigmoid=True), X, MASKS, MASKS.float())),
    (
        "M24",
        "multilabel background treated as ignored",
        lambda: refuses("ignore_index=255", monai.DiceLoss(sigmoid=True, ignore_index=255), X, MASKS),
    ),
    (
        "M25",
        "alpha = 3 and gamma = -1 accepted",
        lambda: (
            refuses("alpha", monai.FocalLoss, alpha=3.0) and refuses("gamma", monai.FocalLoss, gamma=-1.0)
        ),
    ),
    (
        "M27",
        "gamma < 1, softmax, saturated: NaN gradients",
        lambda: finite(monai.FocalLoss(gamma=0.5, use_softmax=True, **HOT), SATURATED, TARGETS.unsqueeze(1)),
    ),
    (
        "M28",
        "-inf on a wrong class is NaN",
        lambda: finite(
            monai.FocalLoss(use_softmax=True, **HOT), torch.tensor([[[1.0], [-INF]]]), torch.tensor([[[0]]])
        ),
    ),
    ("M29", "Dice breaks the graph", one_graph),
    (
        "S1",
        "all ignored is NaN",
        lambda: all(
            near(smp.FocalLoss(mode, ignore_index=9)(x, torch.full_like(y, 9)), 0)
            for mode, x, y in (("binary", B, BINARY), ("multiclass", X, Y), ("multilabel", X, MASKS.long()))
        ),
    ),
    (
        "S1c",
        "multilabel with ignore_index crashes",
        lambda: near(
            smp.FocalLoss("multilabel", gamma=0.0, ignore_index=9)(
                torch.zeros(1, 2, 3), torch.tensor([[[0, 1, 9], [9, 9, 1]]])
            ),
            math.log(2),
        ),
    ),
    (
        "S2",
        "none keeps no shape",
        lambda: refuses("reduction='none'", smp.FocalLoss, "binary", reduction="none"),
    ),
    (
        "S2d",
        "none with class weights weighs columns",
        lambda: refuses(
            "reduction='none'", smp.FocalLoss, "multiclass", reduction="none", class_weights=[1.0, 2.0]
        ),
    ),
    (
        "S4",
        "log-probabilities through a sigmoid",
        lambda: refuses("from_logits=False", smp.FocalLoss, "multiclass", from_logits=False),
    ),
    (
        "S5",
        "normalized divides twice",
        lambda: refuses("normalized=True", smp.FocalLoss, "binary", normalized=True),
    ),
    (
        "S7",
        "default arguments raise",
        lambda: near(smp.SoftCrossEntropyLoss()(torch.zeros(1, 3, 2), torch.tensor([[0, 2]])), math.log(3)),
    ),
    (
        "S9",
        "labels out of range",
        lambda: (
            refuses("77", smp.FocalLoss("multiclass"), X, Y.clone().fill_(77))
            and refuses("255", smp.FocalLoss("binary"), B, BHOLE)
        ),
    ),
    (
        "S10",
        "transposed and too many channels accepted",
        lambda: (
            refuses("shape", smp.FocalLoss("binary"), B, BINARY.mT)
            and refuses("shape", smp.DiceLoss("multiclass"), X, Y.mT)
            and refuses("several exclusive", smp.FocalLoss("binary"), X[:, :2], Y)
        ),
    ),
    (
        "S12",
        "gamma < 1 on an empty mask: NaN gradients",
        lambda: finite(smp.TverskyLoss("binary", gamma=0.5), B, BINARY * 0),
    ),
    ("S16", "uint8 labels raise", lambda: same(smp.DiceLoss("multiclass"), X, Y, Y.to(torch.uint8))),
    ("S17", "cancels on small objects", small_object),
    (
        "S18",
        "gamma < 1, saturated: NaN gradients",
        lambda: finite(smp.FocalLoss("multiclass", gamma=0.5), SATURATED, TARGETS),
    ),
    ("S19", "easy pixels vanish in half precision", lambda: easy(smp.FocalLoss("binary"), 8.0, 1)),
    (
        "S20",
        "fp16 overflows",
        lambda: (
            finite(smp.DiceLoss("binary"), WIDE, FULL)
            and finite(smp.FocalLoss("binary", reduction="sum"), WIDE, FULL)
            and finite(smp.FocalLoss("binary", from_logits=False), 1 + WIDE, 1 - FULL)
        ),
    ),
    (
        "S21",
        "NaN at an ignored pixel: Dice is NaN",
        lambda: (
            untouched(smp.DiceLoss("multiclass", ignore_index=255), X, HOLE, GONE)
            and untouched(smp.DiceLoss("binary", ignore_index=255), B, BHOLE, GONE)
        ),
    ),
    (
        "T1",
        "integer and bool targets raise",
        lambda: (
            same(vision(), B, BINARY, BINARY.float()) and same(vision(), B, BINARY.bool(), BINARY.float())
        ),
    ),
    (
        "T2",
        "labels 255 and -1 are soft labels",
        lambda: (
            refuses("255", vision(), B, BHOLE.float())
            and refuses("-1", vision(), B, BINARY.float() - 1)
            and refuses("255", vision("none"), B, BHOLE.float())
        ),
    ),
    (
        "T3",
        "gamma < 1, saturated: NaN gradients",
        lambda: finite(vision(gamma=0.5), SATURATED, SATURATED > 0),
    ),
    (
        "T4",
        "half sums overflow, easy pixels vanish",
        lambda: finite(vision("sum"), WIDE, FULL) and easy(vision(alpha=-1), 8.0, 1),
    ),
    (
        "T5",
        "infinite logits that are right are NaN",
        lambda: finite(vision(), torch.tensor([INF, -INF]), torch.tensor([1, 0])),
    ),
    (
        "K3",
        "NaN at an ignored pixel is NaN",
        lambda: (
            untouched(
                kornia.BinaryFocalLossWithLogits(0.3, reduction="mean", ignore_index=255), B, BHOLE, GONE
            )
            and untouched(kornia.DiceLoss(ignore_index=255), X, HOLE, GONE)
        ),
    ),
    (
        "K4",
        "binary target 255 is a negative loss",
        lambda: refuses("255", kornia.BinaryFocalLossWithLogits(None), B, BHOLE),
    ),
    (
        "K5",
        "one channel is constant",
        lambda: refuses("at least 2 channels", kornia.FocalLoss(None), B, BINARY[:, 0]),
    ),
    (
        "K6",
        "2D only, int64 only",
        lambda: (
            same(kornia.DiceLoss(), X, Y, Y.to(torch.uint8))
            and near(kornia.DiceLoss()(X.flatten(2), Y.flatten(1)), kornia.DiceLoss()(X, Y).item())
        ),
    ),
    (
        "K8",
        "easy pixels vanish in bf16",
        lambda: near(
            2
            * kornia.FocalLoss(None, reduction="mean")(
                torch.tensor([[[16.0], [0.0]]], dtype=torch.bfloat16), torch.tensor([[0]])
            ),
            (1 / (1 + math.exp(16))) ** 2 * math.log1p(math.exp(-16)),
        ),
    ),
    (
        "MM1",
        "logits at ignored pixels change Dice",
        lambda: untouched(mmseg.DiceLoss(use_sigmoid=False), X, HOLE, GONE, junk=50.0),
    ),
    ("MM2", "label maps crash on a CPU", lambda: finite(mmseg.FocalLoss(), X, HOLE)),
]


@pytest.mark.parametrize(("identifier", "fault", "check"), DIFFERENT, ids=[row[0] for row in DIFFERENT])
def test_adapter_differs_from_the_fault(identifier, fault, check):
    assert check(), f"{identifier}: {fault}"


REFUSED = [
    ("other_act", lambda: monai.DiceLoss(other_act=torch.tanh)),
    ("soft_label", lambda: monai.TverskyLoss(soft_label=True)),
    ("sigmoid and softmax", lambda: monai.GeneralizedDiceLoss(sigmoid=True, softmax=True)),
    ("to_onehot_y=True", lambda: monai.DiceLoss(sigmoid=True, to_onehot_y=True)(B, BINARY)),
    ("include_background=False", lambda: monai.DiceLoss(sigmoid=True, include_background=False)(B, BINARY)),
    ("include_background=False", lambda: monai.FocalLoss(include_background=False)(B, BINARY)),
    ("sigmoid=True or softmax=True", lambda: monai.DiceLoss()(X, MASKS)),
    ("to_onehot_y=True", lambda: monai.DiceLoss(sigmoid=True)(X, Y1)),
    ("weight", lambda: monai.FocalLoss(weight=[1.0, 2.0], to_onehot_y=True)(X, Y1)),
    ("weight", lambda: monai.FocalLoss(weight=[1.0])(B, BINARY)),
    ("weight", lambda: monai.DiceLoss(weight=[-1.0, 1.0, 1.0])),
    ("reduction", lambda: monai.FocalLoss(use_softmax=True, reduction="none")(X, MASKS)),
    ("reduction", lambda: monai.DiceCELoss(reduction="none")),
    ("label_smoothing=0.1", lambda: monai.DiceCELoss(sigmoid=True, label_smoothing=0.1)(B, BINARY)),
    ("lambda_dice", lambda: monai.DiceFocalLoss(lambda_dice=-1.0)),
    ("soft targets", lambda: monai.FocalLoss()(X, X.sigmoid())),
    ("class_weights", lambda: smp.DiceLoss("binary", class_weights=[1.0])),
    ("classes", lambda: smp.JaccardLoss("multiclass", classes=[3])(X, Y)),
    ("soft targets", lambda: smp.DiceLoss("multilabel")(X, X.sigmoid())),
    ("from_logits=True", lambda: smp.DiceLoss("multilabel", from_logits=False)(X, MASKS)),
    ("weight", lambda: smp.SoftBCEWithLogitsLoss(weight=torch.ones(3))),
    ("pos_weight", lambda: smp.SoftBCEWithLogitsLoss(pos_weight=torch.ones(3))),
    ("smooth_factor", lambda: smp.SoftBCEWithLogitsLoss(smooth_factor=0.7)),
    ("dim=-1", lambda: smp.SoftCrossEntropyLoss(dim=-1)),
    ("reduction", lambda: torchvision.sigmoid_focal_loss(X, MASKS, reduction="avg")),
    ("alpha", lambda: torchvision.sigmoid_focal_loss(X, MASKS, alpha=-0.5)),
    ("weight", lambda: kornia.FocalLoss(None, weight=torch.nn.Parameter(torch.ones(3)))),
    ("alpha", lambda: kornia.FocalLoss(1.5)),
    ("average", lambda: kornia.DiceLoss(average="weighted")),
    ("use_sigmoid=False", lambda: mmseg.FocalLoss(use_sigmoid=False)),
    ("use_sigmoid=False", lambda: mmseg.DiceLoss(use_sigmoid=False)(B, BINARY)),
    ("activate=True", lambda: mmseg.DiceLoss(activate=False)(X, Y)),
    ("class_weight='weights.npy'", lambda: mmseg.TverskyLoss(class_weight="weights.npy")),
    ("avg_factor", lambda: mmseg.FocalLoss(reduction="sum")(X, Y, avg_factor=3)),
    ("one channel", lambda: mmseg.DiceLoss()(B, BINARY[:, 0])),
    ("weight", lambda: mmseg.DiceLoss()(X, Y, weight=torch.ones(2, 4, 5))),
    ("soft targets", lambda: mmseg.FocalLoss()(X, X.sigmoid())),
]


@pytest.mark.parametrize(("message", "call"), REFUSED, ids=[f"{i}-{row[0]}" for i, row in enumerate(REFUSED)])
def test_argument_without_counterpart_raises(message, call):
    with pytest.raises(SegfocalError, match=message):
        call()


MODULES = [
    monai.DiceLoss(**SOFT, weight=torch.tensor([1.0, 2.0, 3.0])),
    monai.DiceLoss(sigmoid=True, **HOT, squared_pred=True, jaccard=True),
    monai.TverskyLoss(**SOFT, alpha=0.3),
    monai.GeneralizedDiceLoss(**SOFT),
    monai.FocalLoss(**HOT, alpha=[0.1, 0.2, 0.3]),
    monai.FocalLoss(**HOT, use_softmax=True, alpha=0.3, weight=2.0, ignore_index=2),
    monai.FocalLoss(**HOT, reduction="none"),
    monai.FocalLoss(**HOT, use_softmax=True, reduction="none"),
    monai.DiceCELoss(**SOFT, weight=torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1),
    monai.DiceFocalLoss(**SOFT, lambda_focal=0.5),
    monai.GeneralizedDiceFocalLoss(sigmoid=True, **HOT),
    monai.DeepSupervisionLoss(monai.DiceCELoss(**SOFT)),
    smp.DiceLoss("multiclass", log_loss=True, class_weights=[1.0, 2.0, 3.0]),
    smp.JaccardLoss("multiclass", classes=[1, 2]),
    smp.TverskyLoss("multiclass", gamma=0.5),
    smp.FocalLoss("multiclass", alpha=0.3, reduced_threshold=0.4),
    smp.SoftCrossEntropyLoss(smooth_factor=0.1),
    smp.SoftBCEWithLogitsLoss(smooth_factor=0.1),
    kornia.FocalLoss(0.3, reduction="mean"),
    kornia.FocalLoss(0.3, weight=torch.tensor([1.0, 2.0, 3.0])),
    kornia.BinaryFocalLossWithLogits(0.3, pos_weight=torch.tensor([1.0, 2.0, 3.0])),
    kornia.DiceLoss("macro"),
    kornia.TverskyLoss(0.3, 0.7),
    mmseg.FocalLoss(class_weight=[1.0, 2.0, 3.0]),
    mmseg.DiceLoss(use_sigmoid=False),
    mmseg.TverskyLoss(),
]
FUNCTIONS = [vision(), vision("none")]


def target_of(loss):
    """A target as the adapter takes it."""
    if isinstance(loss, (smp.SoftBCEWithLogitsLoss, kornia.BinaryFocalLossWithLogits)) or loss in FUNCTIONS:
        return MASKS.float()
    return Y1 if type(loss).__module__.rpartition(".")[2].startswith("monai") else Y


def name_of(loss):
    """A name without an address, so that parallel processes collect the same tests."""
    return repr(loss) if isinstance(loss, torch.nn.Module) else loss.__qualname__


@pytest.mark.parametrize("loss", [*MODULES, *FUNCTIONS], ids=name_of)
def test_nothing_of_the_size_of_the_logits_is_kept(loss):
    logits, target, kept = X.clone().requires_grad_(), target_of(loss), []

    def keep(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value = loss(logits, target)
    own = {logits.untyped_storage().data_ptr(), target.untyped_storage().data_ptr()}
    large = {each.untyped_storage().data_ptr() for each in kept if each.numel() >= logits.numel()}
    assert large
    assert large <= own
    value.sum().backward()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", MODULES, ids=repr)
def test_modules_can_be_copied_pickled_cast_and_pasted(loss):
    target = target_of(loss)
    library = type(loss).__module__.rpartition(".")[2].split("_")[0]
    names = vars({"monai": monai, "smp": smp, "kornia": kornia, "mmseg": mmseg}[library])
    expected = loss(X, target)
    pasted = eval(repr(loss), dict(names))
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss).half(), pasted):
        assert_close(other(X, target), expected, rtol=0, atol=0)
    assert not loss.state_dict()
