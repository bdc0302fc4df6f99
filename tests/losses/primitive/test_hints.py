"""A hint is right where the call works once it has been followed."""

import re

import pytest
import torch
from torch.nn.functional import one_hot

from segfocal.errors import SegfocalError
from segfocal.losses.focal import FocalLoss

SEED = torch.Generator().manual_seed(3)


def logits(*shape):
    return torch.randn(shape, generator=SEED)


def labels(*shape, classes=3):
    return torch.randint(classes, shape, generator=SEED)


SHAPES = {
    "tokens, classes last": ("multiclass", logits(4, 50, 3), labels(4, 50)),
    "images, classes last": ("multiclass", logits(2, 4, 5, 3), labels(2, 4, 5)),
    "volumes, classes last": ("multiclass", logits(1, 4, 5, 6, 3), labels(1, 4, 5, 6)),
    "one-hot, classes last": ("multiclass", logits(2, 3, 4, 5), one_hot(labels(2, 4, 5), 3)),
    "both last": ("multiclass", logits(2, 6, 3), one_hot(labels(2, 6), 3)),
    "both last, float": ("multiclass", logits(2, 4, 5, 3), one_hot(labels(2, 4, 5), 3).float()),
    "square one-hot": ("multiclass", logits(1, 4, 4), one_hot(torch.tensor([[1, 1, 0, 2]]), 4)),
    "flat binary": ("binary", logits(9), labels(9, classes=2)),
    "flat binary, float": ("binary", logits(9), labels(9, classes=2).float()),
    "masks without channel": ("binary", logits(2, 4, 5), labels(2, 4, 5, classes=2)),
    "binary, channel last": ("binary", logits(2, 4, 5, 1), labels(2, 4, 5, classes=2)),
    "binary, channel last and first": ("binary", logits(2, 4, 5, 1), labels(2, 1, 4, 5, classes=2)),
    "a mask too many": ("binary", logits(2, 1, 4, 5), labels(2, 4, 5, 1, classes=2)),
    "one token": ("multiclass", logits(27), torch.tensor(4)),
    "one token as a column": ("multiclass", logits(27, 1), labels(1)),
    "tokens in columns": ("multiclass", logits(3, 9), labels(9)),
    "labels in a column": ("multiclass", logits(9, 3), labels(9, 1)),
    "one image": ("multiclass", logits(3, 4, 5), labels(4, 5)),
    "one image, classes last": ("multiclass", logits(6, 5, 3), labels(6, 5)),
    "one binary image": ("binary", logits(1, 4, 5), labels(4, 5, classes=2)),
    "one label map": ("multiclass", logits(1, 3, 4, 5), labels(4, 5)),
    "tokens as rows, labels as sequences": ("multiclass", logits(12, 3), labels(3, 4)),
    "tokens as sequences, labels as rows": ("multiclass", logits(3, 4, 5), labels(12)),
    "float labels with a channel": ("multiclass", logits(2, 3, 4, 5), labels(2, 1, 4, 5).double()),
    "float labels, channel last": ("multiclass", logits(2, 3, 4, 5), labels(2, 4, 5, 1).half()),
    "channels last multilabel masks": ("multilabel", logits(2, 3, 4, 5), labels(2, 4, 5, 3, classes=2)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_following_the_hint_makes_the_call_work(name):
    task, given, target = SHAPES[name]
    with pytest.raises(SegfocalError, match="Did you mean") as refused:
        FocalLoss(task)(given, target)
    views = re.search(r"Did you mean (.*)\?", str(refused.value))[1].split(" and ")
    followed = {"logits": given, "target": target}
    for view in views:
        name = view.split(".")[0]
        followed[name] = eval(view, {}, {"logits": given, "target": target})
    value = FocalLoss(task)(followed["logits"], followed["target"])
    assert value.isfinite()
    assert followed["logits"].numel() == given.numel()


def test_classes_that_lie_last_give_the_loss_of_the_rows():
    given, target = logits(4, 50, 3), labels(4, 50)
    of_rows = FocalLoss("multiclass")(given.reshape(-1, 3), target.reshape(-1))
    torch.testing.assert_close(FocalLoss("multiclass")(given.movedim(-1, 1), target), of_rows)


def test_no_hint_where_nothing_fits():
    with pytest.raises(SegfocalError) as refused:
        FocalLoss("multiclass")(logits(2, 3, 4, 4), labels(3, 5, 5))
    assert "Did you mean" not in str(refused.value)


@pytest.mark.parametrize("size", [(8, 8), (5, 3), (7,), (4, 6, 2)])
@pytest.mark.parametrize("channel", [False, True])
def test_logits_of_another_size_are_to_be_resized(size, channel):
    given, target = logits(2, 3, *[n // 2 + 2 for n in size]), labels(2, *size)
    target = one_hot(target, 3).movedim(-1, 1) if channel else target
    with pytest.raises(SegfocalError, match="Did you mean") as refused:
        FocalLoss("multiclass")(given, target)
    resized = eval(
        re.search(r"Did you mean (.*)\?", str(refused.value))[1], {}, {"torch": torch, "logits": given}
    )
    assert FocalLoss("multiclass")(resized, target).isfinite()


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 4, 5, 3), (2, 4, 4, 5), (2, 4, 5, 4)])
def test_a_picture_in_colours_is_no_label_map(shape):
    for task, channels in (("binary", 1), ("multiclass", 7)):
        with pytest.raises(SegfocalError, match="colours"):
            FocalLoss(task)(logits(2, channels, 4, 5), labels(*shape, classes=256).to(torch.uint8))


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.int16, torch.int64, torch.float16, torch.float32, torch.float64]
)
@pytest.mark.parametrize("values", [(0, 255), (255,), (0, 2), (0, 254)])
@pytest.mark.parametrize("task", ["binary", "multilabel", "multiclass"])
def test_a_mask_that_is_a_picture_is_never_to_be_ignored(values, dtype, task):
    channels = {"binary": 1, "multilabel": 3, "multiclass": 2}[task]
    target = torch.tensor(values).to(dtype).repeat(2, 6)
    if task == "multilabel":
        target = target.unsqueeze(1).repeat(1, 3, 1)
    given = logits(2, channels, target.shape[-1])
    with pytest.raises(SegfocalError, match=r"Did you mean target > 0\?") as refused:
        FocalLoss(task)(given, target)
    assert "ignore_index=255" not in str(refused.value).replace("(ignore_index=None)", "")
    expected = FocalLoss(task)(given, (target != 0).long())
    torch.testing.assert_close(FocalLoss(task)(given, target > 0), expected)


@pytest.mark.parametrize(
    ("task", "channels", "values", "remedy"),
    [
        ("binary", 1, (0, 1, 255), "Did you mean ignore_index=255?"),
        ("binary", 1, (1, 255), "Did you mean ignore_index=255?"),
        ("binary", 1, (0, -100), "Did you mean ignore_index=-100?"),
        ("binary", 1, (0, 7, 128, 255), "needs a threshold, for example target > 127."),
        ("binary", 1, (0, 1, 2, 255), "Map them to classes or to ignore_index."),
        ("multiclass", 3, (0, 2, 255), "Did you mean ignore_index=255?"),
        ("multiclass", 3, (0, 255), "Did you mean ignore_index=255?"),
        ("multiclass", 3, (1, 2, 3), "Did you mean target - 1?"),
        ("multiclass", 3, (0, 1, 2, 3, 4), "Map them to classes or to ignore_index."),
        ("binary", 1, (0.0, 1.0, 255.0), "Did you mean ignore_index=255?"),
        ("binary", 1, (0.0, 1.0, -100.0), "Did you mean ignore_index=-100?"),
        ("binary", 1, (0.0, 7.0, 128.0, 255.0), "needs a threshold, for example target > 127."),
        ("binary", 1, (0.0, 100.3, 255.0), "Did you mean target / 255?"),
        ("binary", 1, (0.0, 50.5, 100.0), "Did you mean target / 100?"),
        ("binary", 1, (-2.5, 0.25, 3.5), "Did you mean target.sigmoid()?"),
        ("binary", 1, (-1.0, 1.0), "Did you mean target > 0?"),
        ("binary", 1, (-1, 1), "Did you mean target > 0?"),
        ("binary", 1, (0.0, 1.0, float("nan")), "and that number as ignore_index."),
        ("multiclass", 2, (-1, 1), "Did you mean target > 0?"),
        ("multiclass", 3, (0, 128, 255), "bucketize(target.long(), torch.tensor([0, 128, 255]))?"),
        ("multiclass", 4, (0, 85, 170, 255), "torch.tensor([0, 85, 170, 255]))?"),
    ],
)
def test_the_way_out_fits_the_values(task, channels, values, remedy):
    target = torch.tensor([values])
    with pytest.raises(SegfocalError) as refused:
        FocalLoss(task)(logits(1, channels, len(values)), target)
    assert str(refused.value).endswith(remedy)


def test_levels_of_grey_become_labels_as_the_hint_says():
    target = torch.tensor([[0, 85, 170, 255, 85]], dtype=torch.uint8)
    given = logits(1, 4, 5)
    mapped = torch.bucketize(target.long(), torch.tensor([0, 85, 170, 255]))
    torch.testing.assert_close(
        FocalLoss("multiclass")(given, mapped),
        FocalLoss("multiclass")(given, torch.tensor([[0, 1, 2, 3, 1]])),
    )


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ((0.0, 1.0, 2.0), "Did you mean target.long()?"),
        ((0.0, 1.0, 255.0), "Did you mean target.long() and ignore_index=255?"),
        ((0.0, 1 / 255, 2 / 255), "Did you mean target.mul(255).round().long()?"),
        ((1.0, 2.0, 3.0), "Did you mean target - 1?"),
        ((0.0, 0.5, 1.0), "Labels are whole numbers."),
        ((0.0, 1.0, float("nan")), "NaN is no label"),
    ],
)
def test_a_label_map_of_floats_is_told_what_its_values_need(values, hint):
    with pytest.raises(SegfocalError, match=re.escape(hint)):
        FocalLoss("multiclass")(logits(1, 3, 3), torch.tensor([values]))


def test_a_label_map_of_floats_of_zero_and_255_is_a_picture():
    with pytest.raises(SegfocalError, match=r"Did you mean target > 0\?"):
        FocalLoss("multiclass")(logits(1, 2, 3), torch.tensor([[0.0, 255.0, 255.0]]))


def test_one_channel_per_class_with_the_number_of_the_class():
    masks = torch.tensor([[[0, 1, 0], [0, 0, 2], [3, 0, 0]]])
    with pytest.raises(SegfocalError, match=r"Did you mean target > 0\?"):
        FocalLoss("multilabel")(logits(1, 3, 3), masks)
    masks[0, 0, 0] = 9  # two numbers in a channel
    with pytest.raises(SegfocalError, match="Map them"):
        FocalLoss("multilabel")(logits(1, 3, 3), masks)


def test_255_that_was_read_as_int8():
    target = torch.tensor([[0, 255]], dtype=torch.uint8).view(torch.int8)
    with pytest.raises(SegfocalError, match="did you mean target != 0"):
        FocalLoss("binary")(logits(1, 1, 2), target)


def test_logits_and_target_in_the_other_order():
    mask = labels(2, 1, 4, 4, classes=2)
    for given in (mask, mask.float()):
        with pytest.raises(SegfocalError, match="Did you swap logits and target"):
            FocalLoss("binary")(given, logits(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("given", "target", "hint"),
    [
        (logits(1, 1, 4).to_sparse(), labels(1, 4, classes=2), "logits.to_dense()"),
        (logits(1, 1, 4), labels(1, 4, classes=2).to_sparse(), "target.to_dense()"),
        (logits(1, 1, 4).long(), labels(1, 4, classes=2), "logits.float()"),
        (logits(1, 1, 4).to(torch.complex64), labels(1, 4, classes=2), "logits.real"),
        ({"out": logits(1, 1, 4), "aux": None}, labels(1, 4, classes=2), "logits['out']"),
        ({"logits": logits(1, 1, 4)}, labels(1, 4, classes=2), "logits['logits']"),
        (logits(1, 1, 4), labels(1, 4, classes=2).numpy(), "torch.as_tensor(target)"),
    ],
)
def test_what_is_no_plain_tensor_is_told_the_way(given, target, hint):
    with pytest.raises(SegfocalError, match=re.escape(hint)):
        FocalLoss("binary")(given, target)


def test_a_value_that_is_ignored_is_not_thresholded_away():
    with pytest.raises(SegfocalError, match="Map them"):
        FocalLoss("binary", ignore_index=9)(logits(1, 1, 3), torch.tensor([[0, 9, 255]]))


@pytest.mark.parametrize("alpha", [torch.ones(3, 1), torch.ones(1, 3).numpy(), [[1.0], [1.0], [1.0]]])
def test_a_column_of_weights_names_the_flat_list(alpha):
    with pytest.raises(SegfocalError, match=r"Did you mean alpha=\[1\.0, 1\.0, 1\.0\]\?") as refused:
        FocalLoss("multiclass", alpha=alpha)
    assert "\n" not in str(refused.value)
