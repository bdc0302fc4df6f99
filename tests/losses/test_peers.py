"""Faults found in other segmentation losses, none of which may be reproducible here.

One row per fault: its id, what goes wrong elsewhere, and a check that this library does the right thing. M
is monai, S segmentation-models-pytorch, T torchvision, K kornia, MM mmsegmentation, N nnU-Net, P toolbelt, G
smaller collections. N2 (top-k over fewer voxels than k) has no counterpart here.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.losses import (
    CrossEntropyLoss,
    DeepSupervision,
    DiceLoss,
    FocalDiceLoss,
    FocalLoss,
    FocalTverskyLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    LogCoshDiceLoss,
    ReducedFocalLoss,
    TverskyLoss,
    UnifiedFocalLoss,
)

NAN, INF = float("nan"), float("inf")
LOG2, LOG3 = math.log(2), math.log(3)


def labels(*values, dtype=torch.uint8):
    """A label map of one image with one axis of space."""
    return torch.tensor([values], dtype=dtype)


def logits(*rows):
    """Logits of one image: one row per channel."""
    return torch.tensor([rows], dtype=torch.float32)


def gradient(loss, x, target):
    """The gradient of a loss by its logits."""
    x = x.detach().clone().requires_grad_()
    loss(x, target).backward()
    return x.grad


def finite(loss, x, target):
    """Both the value and the gradient are finite."""
    return loss(x, target).isfinite() and gradient(loss, x, target).isfinite().all()


def near(value, expected, rel=1e-5):
    """A scalar is the number computed by hand."""
    return value.item() == pytest.approx(expected, rel=rel, abs=1e-12)


def refuses(message, call, *arguments):
    """The call raises and says why."""
    with pytest.raises(SegfocalError, match=message):
        call(*arguments)
    return True


def unchanged_by(loss, x, target, junk, ignored):
    """Value and gradient do not move whatever stands at the ignored pixels."""
    dirty = x.masked_fill(ignored, junk)
    assert_close(loss(dirty, target), loss(x, target))
    assert_close(gradient(loss, dirty, target), gradient(loss, x, target))
    return True


def dice_of_half_an_image():
    x, target = (
        torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(0)),
        labels(1, 0, 1, 1, 9, 9, 9, 9),
    )
    whole, crop = DiceLoss("binary", ignore_index=9), DiceLoss("binary")
    assert_close(whole(x, target), crop(x[..., :4], target[:, :4]))
    return near(whole(x, torch.full_like(target, 9)), 0)


def class_weights_are_no_column_weights():
    x = torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[0, 1, 2], [2, 1, 0]]])
    alpha = torch.tensor([1.0, 10.0, 100.0])
    found = CrossEntropyLoss("multiclass", alpha, reduction="none")(x, target)
    assert_close(found, F.cross_entropy(x, target, weight=alpha, reduction="none"))
    return True


def modulation_does_not_shrink_with_the_image():
    x, target = logits([0.0, 2.0, -1.0]), labels(1, 1, 0)
    loss = FocalLoss("binary", reduction="modulation")
    assert_close(loss(x, target), loss(x.repeat(1, 1, 100), target.repeat(1, 100)))
    return True


def focal_tversky_is_raised_per_class():
    # terms 1/2 and 0 of two classes: the mean of the roots, not the root of the mean
    x = logits([0.0, 0.0, -90.0, -90.0], [90.0, 90.0, -90.0, -90.0])
    masks = torch.tensor([[[1, 1, 0, 0], [1, 1, 0, 0]]])
    loss = FocalTverskyLoss("multilabel", 0.5, 1.0, 0.5, smooth=0)
    return near(loss(x, masks), math.sqrt(1 - 1 / 2) / 2)


def small_object_in_a_large_image():
    x = torch.full((1, 1, 1024, 1024), -12.0)
    target = torch.zeros(1, 1024, 1024, dtype=torch.uint8)
    target[0, 500, 500:510] = 1
    p = 1 / (1 + math.exp(12))
    n = 2**20
    return near(DiceLoss("binary", smooth=0)(x, target), 1 - 2 * 10 * p / (n * p + 10), rel=1e-6)


def easy_pixels_in_half_precision(task, dtype):
    gap = 16.0
    if task == "binary":
        x, target = torch.full((1, 1, 4), gap), labels(1, 1, 1, 1)
    else:
        x, target = torch.tensor([gap, 0.0]).view(1, 2, 1).expand(1, 2, 4), labels(0, 0, 0, 0)
    u = 1 / (1 + math.exp(gap))
    return near(FocalLoss(task, 2.0)(x.to(dtype), target), u**2 * math.log1p(math.exp(-gap)), rel=1e-5)


def second_backward_is_the_first():
    x = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = FocalDiceLoss("multiclass")(x, labels(0, 1, 2, 1, 0))
    first = torch.autograd.grad(value, x, retain_graph=True)[0].clone()
    return torch.equal(torch.autograd.grad(value, x)[0], first)


def dice_is_one_graph():
    torch._dynamo.reset()
    loss = DiceLoss("multiclass")
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    x, target = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0)), labels(0, 1, 2, 1)
    return torch.equal(compiled(x, target), loss(x, target))


def saturated_and_fractional_gamma(task):
    for gamma in (0.1, 0.5, 0.9):
        for edge in (17.0, 50.0, 1e4):
            x = logits([edge, -edge]) if task == "binary" else logits([edge, -edge], [-edge, edge])
            for dtype in (torch.float32, torch.bfloat16, torch.float16):
                for target in (labels(1, 1), labels(0, 0)):
                    assert finite(FocalLoss(task, gamma), x.to(dtype), target)
    return True


def minus_infinity_on_a_wrong_class():
    x, target = logits([1.0, 0.0], [0.5, 2.0], [-INF, -INF]), labels(0, 1)
    assert_close(FocalLoss("multiclass")(x, target), FocalLoss("multiclass")(x[:, :2], target))
    return finite(FocalLoss("multiclass"), x, target)


def every_loss_survives_nothing_labelled():
    x, target = torch.randn(2, 1, 4, requires_grad=True), torch.full((2, 4), 255)
    for build in (
        FocalLoss,
        CrossEntropyLoss,
        DiceLoss,
        JaccardLoss,
        LogCoshDiceLoss,
        FocalTverskyLoss,
        FocalDiceLoss,
    ):
        loss = build("binary", ignore_index=255)
        value = loss(x, target)
        value.backward()
        assert value == 0
    return torch.equal(x.grad, torch.zeros_like(x))


def integer_types_all_mean_the_same():
    x = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(0))
    loss = FocalDiceLoss("multiclass")
    values = {
        loss(x, labels(0, 1, 2, 1, 0, dtype=dtype)).item()
        for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    }
    return len(values) == 1


def bool_masks_mean_ones():
    x = logits([0.0, 1.0, -2.0])
    mask = labels(1, 0, 1)
    for build in (FocalLoss, DiceLoss, JaccardLoss, FocalTverskyLoss, UnifiedFocalLoss, FocalDiceLoss):
        assert torch.equal(build("binary")(x, mask.bool()), build("binary")(x, mask))
    return True


def any_number_of_axes():
    g = torch.Generator().manual_seed(0)
    x, target = torch.randn(2, 3, 60, generator=g), torch.randint(0, 3, (2, 60), generator=g)
    for loss in (DiceLoss("multiclass"), TverskyLoss("multiclass", 0.3, 0.7), FocalLoss("multiclass")):
        for shape in ((5, 12), (3, 4, 5)):
            assert_close(loss(x.view(2, 3, *shape), target.view(2, *shape)), loss(x, target))
    return True


def multilabel_mean_with_ignored_elements():
    x = torch.zeros(1, 2, 4)
    masks = torch.tensor([[[1, 0, 255, 255], [0, 1, 255, 255]]])
    loss = CrossEntropyLoss("multilabel", ignore_index=255) + DiceLoss(
        "multilabel", ignore_index=255, smooth=0
    )
    # log 2 over the 4 elements that are left; each channel: I 1/2, P 1, Y 1
    return near(loss(x, masks), LOG2 + 0.5)


def nan_logits_give_nan():
    return bool(FocalLoss("multiclass")(logits([NAN, 0.0], [0.0, 1.0]), labels(0, 1)).isnan())


def zeros(channels, pixels=4):
    return torch.zeros(1, channels, pixels)


X = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randint(0, 3, (2, 6, 5), generator=torch.Generator().manual_seed(1))
HOLE = Y.masked_fill(torch.rand(Y.shape, generator=torch.Generator().manual_seed(2)) < 0.3, 255)
GONE = (HOLE == 255).unsqueeze(1)
B = X[:, :1]
BHOLE = HOLE.masked_fill(HOLE == 2, 0)

FAULTS = [
    (
        "M1",
        "ignore_index set: mean C times too large",
        lambda: near(
            FocalLoss("multiclass", ignore_index=255)(zeros(3), labels(0, 1, 2, 0)), (2 / 3) ** 2 * LOG3
        ),
    ),
    (
        "M2",
        "a NaN at an ignored voxel poisons the loss",
        lambda: unchanged_by(FocalLoss("multiclass", ignore_index=255), X, HOLE, NAN, GONE),
    ),
    (
        "M4",
        "leaving the background out renormalises the softmax",  # P = 4/3, I = 2/3, Y = 2
        lambda: near(
            DiceLoss("multiclass", smooth=0, include_background=False)(zeros(3), labels(1, 2, 1, 2)), 0.6
        ),
    ),
    (
        "M5",
        "an all-background image has loss 0 and gradient 0",
        lambda: (
            gradient(DiceLoss("multiclass", include_background=False), zeros(3), labels(0, 0, 0, 0))[
                :, 1:
            ].min()
            > 0
        ),
    ),
    (
        "M6",
        "softmax over one channel is a constant 0",
        lambda: refuses("at least two logits", FocalLoss("multiclass"), zeros(1), labels(0, 0, 0, 0)),
    ),
    (
        "M7",
        "the focal half of softmax Dice-focal is a sigmoid",  # log 3 + Dice of I 4/9... by class
        lambda: near(FocalDiceLoss("multiclass", 0.0, smooth=0)(zeros(3, 3), labels(0, 1, 2)), LOG3 + 2 / 3),
    ),
    (
        "M8",
        "alpha as a scalar and as a list differ",
        lambda: torch.equal(
            FocalLoss("multilabel", 2.0, 0.3)(X, (X > 1).long()),
            FocalLoss("multilabel", 2.0, [0.3, 0.3, 0.3])(X, (X > 1).long()),
        ),
    ),
    (
        "M8b",
        "scalar alpha in softmax: class 0 gets 1 - alpha",
        lambda: refuses("one weight per class", FocalLoss, "multiclass", 2.0, 0.25),
    ),
    (
        "M9",
        "sum is a mean over space",
        lambda: near(
            FocalLoss("binary", reduction="sum")(zeros(1, 1000), torch.zeros(1, 1000).long()), 250 * LOG2
        ),
    ),
    ("M10", "a mask multiplies logits", dice_of_half_an_image),
    (
        "M11",
        "deep supervision cannot take label maps",
        lambda: near(
            DeepSupervision(CrossEntropyLoss("multiclass"))([zeros(3), zeros(3, 2)], labels(0, 1, 2, 0)), LOG3
        ),
    ),
    (
        "M11b",
        "too few weights are replaced by the default",
        lambda: refuses(
            "one per output",
            DeepSupervision(DiceLoss("multiclass"), [1.0]),
            [zeros(3)] * 2,
            labels(0, 1, 2, 0),
        ),
    ),
    (
        "M12",
        "on an empty mask a tiny p costs as much as all false positives",  # 4096 p = 0.18596
        lambda: (
            near(
                DiceLoss("binary")(torch.full((1, 1, 64, 64), -10.0), torch.zeros(1, 64, 64).long()),
                1 - 1 / (1 + 4096 / (1 + math.exp(10))),
            )
            and near(
                DiceLoss("binary")(torch.full((1, 1, 64, 64), 30.0), torch.zeros(1, 64, 64).long()),
                1 - 1 / 4097,
            )
        ),
    ),
    (
        "M13",
        "generalised Dice of an empty mask predicted positive is 0",  # 1 - 1 / (4 + 1)
        lambda: (
            near(GeneralizedDiceLoss("binary")(torch.full((1, 1, 4), 30.0), labels(0, 0, 0, 0)), 0.8)
            and gradient(GeneralizedDiceLoss("binary"), zeros(1), labels(0, 0, 0, 0)).min() > 0
        ),
    ),
    (
        "M14",
        "fp16 sums overflow from 256 x 256 up",
        lambda: all(
            finite(loss, torch.zeros(1, 1, 512, 512, dtype=torch.float16), torch.ones(1, 512, 512).long())
            for loss in (DiceLoss("binary"), TverskyLoss("binary", 0.3, 0.7), GeneralizedDiceLoss("binary"))
        ),
    ),
    (
        "M15",
        "unified focal takes logits for probabilities",  # p = 1/2: pixel (.4 log 2 sqrt(.5) + .6 log 2) / 2
        lambda: (
            near(
                UnifiedFocalLoss("binary", region_weight=0.0)(zeros(1), labels(0, 0, 1, 1)),
                0.5 * (0.4 * math.sqrt(0.5) + 0.6) * LOG2 / 2,
            )
            and UnifiedFocalLoss("binary")(logits([0.3, -0.3]), labels(1, 0)) > 0.3
            and UnifiedFocalLoss("binary")(logits([8.0, -8.0]), labels(1, 0)) < 0.03
        ),
    ),
    (
        "M17",
        "a float label map is truncated",
        lambda: refuses("target", FocalLoss("multiclass"), zeros(3), labels(0, 1, 2, 1).float() + 0.9),
    ),
    (
        "M18",
        "class indices for one logit make the loss negative",
        lambda: refuses("2", FocalLoss("binary"), zeros(1), labels(0, 1, 2, 1)),
    ),
    (
        "M19",
        "the length of the weights depends on include_background",
        lambda: (
            refuses(
                "alpha",
                FocalDiceLoss("multiclass", alpha=[1.0, 1.0], include_background=False),
                zeros(3),
                labels(0, 1, 2, 1),
            )
            and FocalDiceLoss("multiclass", alpha=[1.0, 1.0, 1.0], include_background=False)(
                zeros(3), labels(0, 1, 2, 1)
            )
            > 0
        ),
    ),
    ("M22", "bool masks crash", bool_masks_mean_ones),
    (
        "M24",
        "multilabel: pixels without any class are treated as ignored",  # I 1/2, P 2, Y 1 per channel
        lambda: near(
            DiceLoss("multilabel", smooth=0, ignore_index=255)(
                zeros(2), torch.tensor([[[1, 0, 0, 0], [0, 1, 0, 0]]])
            ),
            1 - 2 * 0.5 / 3,
        ),
    ),
    (
        "M25",
        "alpha = 3 and gamma = -1 are accepted",
        lambda: (
            refuses("alpha must lie in", FocalLoss, "binary", 2.0, 3.0)
            and refuses("gamma must lie in", FocalLoss, "binary", -1.0)
        ),
    ),
    (
        "M27",
        "0 < gamma < 1, softmax, saturated: NaN gradients",
        lambda: saturated_and_fractional_gamma("multiclass"),
    ),
    ("M28", "-inf on a wrong class makes softmax focal NaN", minus_infinity_on_a_wrong_class),
    ("M29", "Dice breaks the graph", dice_is_one_graph),
    ("S1", "every pixel ignored: NaN", every_loss_survives_nothing_labelled),
    ("S1c", "multilabel with ignore_index crashes", multilabel_mean_with_ignored_elements),
    (
        "S2",
        "none gives a scalar or a flattened vector",
        lambda: (
            FocalLoss("multiclass", reduction="none")(X, Y).shape == Y.shape
            and FocalLoss("binary", reduction="none")(B, (Y > 0).long()).shape == Y.shape
            and FocalLoss("multilabel", reduction="none")(X, (X > 1).long()).shape == X.shape
        ),
    ),
    ("S2d", "class weights are applied to image columns", class_weights_are_no_column_weights),
    (
        "S2f",
        "sum is divided by C",
        lambda: near(FocalLoss("multiclass", 0.0, reduction="sum")(zeros(3), labels(0, 1, 2, 0)), 4 * LOG3),
    ),
    (
        "S3",
        "multiclass is sigmoid one-vs-rest",
        lambda: (
            near(FocalLoss("multiclass", 0.0)(X, Y), F.cross_entropy(X, Y).item())
            and near(FocalLoss("multiclass")(X + 5.0, Y), FocalLoss("multiclass")(X, Y).item())
        ),
    ),
    (
        "S4",
        "log-probabilities are put through a sigmoid",
        lambda: (
            near(
                FocalLoss("multiclass", 1.0)(torch.tensor([[0.25], [0.75]]).log().unsqueeze(0), labels(0)),
                0.75 * math.log(4),
            )
            and near(FocalLoss("multiclass")(torch.tensor([[1.0], [0.0]]).log().unsqueeze(0), labels(0)), 0)
        ),
    ),
    ("S5", "the normalised loss shrinks with the image", modulation_does_not_shrink_with_the_image),
    (
        "S6",
        "the reduced threshold jumps and amplifies",
        lambda: (
            near(ReducedFocalLoss("binary")(logits([1e-6]), labels(1)), LOG2, rel=1e-4)
            and near(ReducedFocalLoss("binary")(logits([-1e-6]), labels(1)), LOG2, rel=1e-4)
        ),
    ),
    (
        "S7",
        "default arguments raise",
        lambda: near(CrossEntropyLoss("multiclass")(zeros(3), labels(0, 1, 2, 0)), LOG3),
    ),
    (
        "S7b",
        "ignored pixels stay in the mean with smoothing",
        lambda: near(
            CrossEntropyLoss("multiclass", ignore_index=255, label_smoothing=0.1)(X, HOLE),
            F.cross_entropy(X, HOLE, ignore_index=255, label_smoothing=0.1).item(),
        ),
    ),
    (
        "S9",
        "labels out of range are read as something",
        lambda: (
            refuses("77", FocalLoss("multiclass"), zeros(3), labels(0, 1, 77, 0))
            and refuses("255", FocalLoss("binary"), zeros(1), labels(0, 1, 255, 0))
        ),
    ),
    (
        "S10",
        "a transposed target is accepted",
        lambda: (
            refuses("target", FocalLoss("multiclass"), X, Y.mT)
            and refuses("one logit", FocalLoss("binary"), torch.zeros(1, 2, 4), labels(0, 1, 0, 0))
        ),
    ),
    (
        "S11",
        "an empty mask has loss 0 and gradient 0; absent classes stay in the mean as 0",
        lambda: (
            gradient(DiceLoss("binary"), zeros(1), labels(0, 0, 0, 0)).min() > 0
            and near(DiceLoss("multiclass", smooth=0, absent="skip")(zeros(2), labels(0, 0, 0, 0)), 1 - 4 / 6)
        ),
    ),
    (
        "S12",
        "focal Tversky below 1: NaN gradients on empty masks and perfect predictions",
        lambda: (
            finite(FocalTverskyLoss("binary", smooth=0), zeros(1), labels(0, 0, 0, 0))
            and finite(FocalTverskyLoss("binary", smooth=0), logits([99.0, -99.0]), labels(1, 0))
        ),
    ),
    ("S12c", "the exponent is applied after the class mean", focal_tversky_is_raised_per_class),
    (
        "S13",
        "log Dice has gradient 0 when totally wrong",
        lambda: (
            gradient(LogCoshDiceLoss("binary"), logits([-20.0, -20.0, 20.0]), labels(1, 1, 0)).abs() > 0
        ).all(),
    ),
    (
        "S14",
        "without any class a Python number comes back",
        lambda: (
            DiceLoss("binary", ignore_index=9)(zeros(1).requires_grad_(), labels(9, 9, 9, 9)).requires_grad
        ),
    ),
    ("S16", "uint8 and int32 label maps raise", integer_types_all_mean_the_same),
    ("S17", "Dice cancels on large images with small objects", small_object_in_a_large_image),
    (
        "S18",
        "0 < gamma < 1, sigmoid, saturated: NaN gradients",
        lambda: saturated_and_fractional_gamma("binary"),
    ),
    ("S19", "bf16 easy pixels round to 0", lambda: easy_pixels_in_half_precision("binary", torch.bfloat16)),
    (
        "S20",
        "fp16 sums are infinite",
        lambda: near(
            FocalLoss("binary", 0.0, reduction="sum")(
                torch.zeros(1, 1, 512, 512, dtype=torch.float16), torch.zeros(1, 512, 512).long()
            ),
            2**18 * LOG2,
        ),
    ),
    (
        "S21",
        "a NaN at an ignored pixel makes Dice NaN",
        lambda: unchanged_by(DiceLoss("multiclass", ignore_index=255), X, HOLE, NAN, GONE),
    ),
    (
        "T1",
        "integer and bool targets raise",
        lambda: near(FocalLoss("binary", 0.0)(zeros(1), labels(0, 1, 1, 0).bool()), LOG2),
    ),
    (
        "T2",
        "labels 255 and -1 are counted as soft labels",
        lambda: (
            refuses("255", FocalLoss("binary"), zeros(1), labels(0, 1, 255, 0))
            and refuses("-1", FocalLoss("binary"), zeros(1), labels(0, 1, -1, 0, dtype=torch.int64))
            and refuses("-1", FocalLoss("binary"), zeros(1), labels(0, 1, -1, 0, dtype=torch.float32))
        ),
    ),
    (
        "T3",
        "0 < gamma < 1, one logit, saturated: NaN gradients",
        lambda: saturated_and_fractional_gamma("binary"),
    ),
    (
        "T4",
        "half sums overflow and easy pixels vanish",
        lambda: easy_pixels_in_half_precision("binary", torch.float16),
    ),
    (
        "T5",
        "infinite logits that are right give NaN",
        lambda: (
            near(FocalLoss("binary")(logits([INF, -INF]), labels(1, 0)), 0)
            and finite(FocalLoss("binary", 0.5), logits([INF, -INF]), labels(1, 0))
            and near(FocalLoss("multiclass")(logits([INF], [0.0]), labels(0)), 0)
        ),
    ),
    (
        "K1",
        "mean divides by C: gamma = 0 is CE / C",
        lambda: near(FocalLoss("multiclass", 0.0)(X, Y), F.cross_entropy(X, Y).item()),
    ),
    (
        "K2",
        "ignored pixels stay in the denominator",
        lambda: near(
            FocalLoss("multiclass", 0.0, ignore_index=255)(zeros(3), labels(0, 255, 255, 255)), LOG3
        ),
    ),
    (
        "K3",
        "a NaN at an ignored pixel poisons the binary loss",
        lambda: (
            unchanged_by(FocalLoss("binary", ignore_index=255), B, BHOLE, NAN, GONE)
            and unchanged_by(DiceLoss("binary", ignore_index=255), B, BHOLE, NAN, GONE)
        ),
    ),
    (
        "K4",
        "binary target 255 makes the loss negative",
        lambda: refuses("255", FocalDiceLoss("binary"), zeros(1), labels(0, 1, 255, 0)),
    ),
    (
        "K5",
        "one channel: a constant 0",
        lambda: refuses("at least two logits", DiceLoss("multiclass"), zeros(1), labels(0, 0, 0, 0)),
    ),
    ("K6", "region losses in 2D only, no default alpha", any_number_of_axes),
    ("K7", "every pixel ignored: Dice is 1", every_loss_survives_nothing_labelled),
    (
        "K8",
        "bf16 softmax gaps round to 0",
        lambda: easy_pixels_in_half_precision("multiclass", torch.bfloat16),
    ),
    (
        "MM1",
        "logits at ignored pixels change Dice",
        lambda: unchanged_by(DiceLoss("multiclass", ignore_index=255), X, HOLE, 50.0, GONE),
    ),
    ("MM2", "label maps crash on a CPU", lambda: FocalLoss("multiclass")(X, Y).isfinite()),
    (
        "MM3",
        "class weights with an ignored label crash",
        lambda: near(
            CrossEntropyLoss("multiclass", [1.0, 2.0, 3.0], reduction="weighted_mean", ignore_index=255)(
                X, HOLE
            ),
            F.cross_entropy(X, HOLE, torch.tensor([1.0, 2.0, 3.0]), ignore_index=255).item(),
        ),
    ),
    ("N1", "Dice + BCE with ignored voxels: BCE C times too large", multilabel_mean_with_ignored_elements),
    (
        "N3",
        "a NaN at an ignored voxel poisons Dice + CE; deep supervision needs weights",
        lambda: (
            unchanged_by(FocalDiceLoss("multiclass", 0.0, ignore_index=255), X, HOLE, NAN, GONE)
            and DeepSupervision(DiceLoss("multiclass"))([X, X[..., ::2]], Y).isfinite()
        ),
    ),
    (
        "P1",
        "the reduced threshold amplifies easy pixels",  # p_t = 3/4: (1/4 / 1/2)^2
        lambda: near(ReducedFocalLoss("binary")(logits([LOG3]), labels(1)), math.log(4 / 3) / 4),
    ),
    (
        "P2",
        "gamma = 0 is BCE summed over classes",
        lambda: near(FocalLoss("multiclass", 0.0)(zeros(4), labels(0, 1, 2, 3)), math.log(4)),
    ),
    (
        "G1",
        "logits give NaN; alpha of ones quarters the loss",
        lambda: torch.equal(
            FocalLoss("multiclass", 2.0, [1.0, 1.0, 1.0])(X, Y), FocalLoss("multiclass")(X, Y)
        ),
    ),
    (
        "G2",
        "perfect focal Tversky: NaN gradients; generalised Dice with an absent class: 0",
        lambda: (
            finite(FocalTverskyLoss("binary", smooth=0), logits([99.0, -99.0]), labels(1, 0))
            and GeneralizedDiceLoss("multiclass")(zeros(3), labels(0, 0, 1, 1)) > 0.3
        ),
    ),
    (
        "G3",
        "unified focal does not parse",
        lambda: near(
            UnifiedFocalLoss("binary", gamma=0.0, delta=0.5)(zeros(1), labels(0, 0, 1, 1)),
            (LOG2 / 2 + 0.5) / 2,
        ),
    ),
    (
        "G4",
        "all ignored: NaN",
        lambda: near(FocalLoss("multiclass", 0.5, ignore_index=255)(X, HOLE * 0 + 255), 0),
    ),
    ("G5", "a second backward gives other gradients", second_backward_is_the_first),
    (
        "G6",
        "Poly-1 fails on images",
        lambda: near(
            FocalLoss("multiclass", 0.0, poly=1.0)(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3).long()),
            LOG2 + 0.5,
        ),
    ),
    (
        "G7",
        "4-D masks crash Dice",
        lambda: torch.equal(
            DiceLoss("binary")(B, (Y > 0).long()), DiceLoss("binary")(B, (Y > 0).long().unsqueeze(1))
        ),
    ),
    ("G8", "NaN logits end in a size mismatch", nan_logits_give_nan),
    (
        "G9",
        "confident fp16 logits give inf or NaN",
        lambda: finite(FocalLoss("multiclass"), logits([6e4, 6e4], [-6e4, -6e4]).half(), labels(0, 1)),
    ),
    (
        "G10",
        "gamma < 1: NaN from logits of 17 up",
        lambda: finite(FocalLoss("binary", 0.5), logits([17.0, 20.0, 30.0]), labels(1, 1, 1)),
    ),
]


@pytest.fixture(autouse=True, params=["eager", "compiled"])
def _backend(request, monkeypatch):
    monkeypatch.setenv("SEGFOCAL_BACKEND", request.param)


@pytest.mark.parametrize(("identifier", "fault", "check"), FAULTS, ids=[row[0] for row in FAULTS])
def test_fault_is_not_reproducible(identifier, fault, check):
    assert check(), f"{identifier}: {fault}"


def test_every_row_has_an_id_of_its_own():
    assert len({row[0] for row in FAULTS}) == len(FAULTS) == 79
