"""Wrong input never gives a number, and the message says what to do."""

import pytest
import torch

from segfocal.errors import SegfocalError
from segfocal.losses.focal import FocalLoss
from segfocal.losses.primitive.sums import pixel_map, pixel_sums

LOGITS = torch.zeros(2, 3, 4, 4)
LABELS = torch.zeros(2, 4, 4, dtype=torch.int64)
ONE = torch.zeros(2, 1, 4, 4)


def labels(*values):
    """A label map that starts with these values."""
    found = LABELS.clone()
    found.view(-1)[: len(values)] = torch.tensor(values)
    return found


CASES = {
    "squeeze": (
        (LOGITS, LABELS.unsqueeze(1)),
        {},
        r"got \(2, 1, 4, 4\)\. Did you mean target\.squeeze\(1\)\?",
    ),
    "channels last": ((torch.zeros(2, 3, 4, 5), torch.zeros(2, 4, 5, 3)), {}, r"movedim\(-1, 1\)"),
    "no batch": ((LOGITS[:1], LABELS[0]), {}, r"target\.unsqueeze\(0\)"),
    "transposed": (
        (torch.zeros(2, 3, 4, 5), torch.zeros(2, 5, 4).long()),
        {},
        r"Did you mean target\.movedim\(-1, 1\)",
    ),
    "batch last": (
        (torch.zeros(2, 3, 4, 5), torch.zeros(5, 4, 2).long()),
        {},
        "axes seem to be in another order",
    ),
    "float labels": ((LOGITS, LABELS.float()), {}, r"must be integer or bool.*target\.long"),
    "integer logits": ((LABELS, LABELS), {}, "logits must be floating point"),
    "flat logits": ((torch.zeros(4), torch.zeros(4).long()), {}, r"logits must have shape \(N, C, \*S\)"),
    "one channel": ((ONE, LABELS), {}, "at least 2 channels.*task='binary'"),
    "label 77": ((LOGITS, labels(77, 77, 5)), {}, r"\[0, 2\].*got 5 \(1 times\), 77 \(2 times\)"),
    "label -1": ((LOGITS, labels(-1)), {}, r"got -1 \(1 times\)\. Did you mean ignore_index=-1\?"),
    "undeclared 255": (
        (ONE, labels(1, 255).byte()),
        {"activation": "sigmoid"},
        "Did you mean ignore_index=255",
    ),
    "mask 2": ((LOGITS, torch.full((2, 3, 4, 4), 2)), {"activation": "sigmoid"}, r"\[0, 1\].*2 \(96 times\)"),
    "soft 1.5": (
        (LOGITS, torch.full((2, 3, 4, 4), 1.5)),
        {},
        r"lie in \[0, 1\], got 96 values.*1\.5 to 1\.5",
    ),
    "soft nan": ((LOGITS, torch.full((2, 3, 4, 4), torch.nan)), {}, r"lie in \[0, 1\]"),
    "no background": ((LOGITS, torch.zeros(2, 3, 4, 4).byte()), {}, "sum to 1.*32 pixels.*background"),
    "two classes at once": ((LOGITS, torch.ones(2, 3, 4, 4)), {}, "sum to 1.*32 pixels.*multilabel"),
    "scalar alpha": ((LOGITS, LABELS), {"alpha": 0.25}, r"one weight per class \(3\).*alpha=\[\.\.\.\]"),
    "alpha length": ((LOGITS, LABELS), {"alpha": [1.0, 2.0]}, "alpha must hold 3 numbers.*got 2"),
    "gamma length": ((LOGITS, LABELS), {"gamma": [1.0, 2.0]}, "gamma must hold 3 numbers"),
    "alpha range": (
        (ONE, LABELS),
        {"alpha": 3.0, "activation": "sigmoid"},
        r"alpha must lie in \[0, 1\], got 3",
    ),
    "alpha negative": ((LOGITS, LABELS), {"alpha": [1, 1, -1]}, "alpha must lie in"),
    "gamma negative": ((LOGITS, LABELS), {"gamma": -1.0}, r"gamma must lie in \[0, inf\], got -1"),
    "gamma nan": ((LOGITS, LABELS), {"gamma": float("nan")}, "gamma must lie in"),
    "smoothing": ((LOGITS, LABELS), {"label_smoothing": 1.5}, "label_smoothing must lie in"),
    "tail": ((LOGITS, LABELS), {"form": "tail", "parameter": 2.0}, "tail"),
    "low knee": ((LOGITS, LABELS), {"form": "knee", "parameter": 0.2, "gamma": 2.0}, "knee must lie where"),
    "knee 1": ((LOGITS, LABELS), {"form": "knee", "parameter": 1.0, "gamma": 2.0}, "knee"),
    "convex gamma 0": ((LOGITS, LABELS), {"form": "convex", "parameter": 1.0}, "gamma of the convex form"),
    "no parameter": ((LOGITS, LABELS), {"form": "poly"}, "needs a parameter"),
    "spare parameter": ((LOGITS, LABELS), {"parameter": 0.5}, "takes no parameter"),
    "form": ((LOGITS, LABELS), {"form": "focall"}, "Did you mean 'focal'"),
    "activation": ((LOGITS, LABELS), {"activation": "softmaxx"}, "Did you mean 'softmax'"),
    "weight": ((LOGITS, LABELS), {"weight": torch.ones(3)}, "weights of classes are alpha"),
    "want": ((LOGITS, LABELS), {"want": ["losss"]}, "Did you mean 'loss'"),
    "want text": ((LOGITS, LABELS), {"want": "loss"}, r"Use \['loss'\]"),
}


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_refused_with_a_remedy(name):
    tensors, options, message = CASES[name]
    with pytest.raises(SegfocalError, match=message):
        pixel_sums(*tensors, **{"activation": "softmax", "want": ["loss"], **options})


@pytest.mark.parametrize("name", ["label 77", "undeclared 255", "soft 1.5"])
def test_the_map_refuses_wrong_labels_too(name):
    tensors, options, message = CASES[name]
    with pytest.raises(SegfocalError, match=message):
        pixel_map(*tensors, **{"activation": "softmax", **options})


def test_a_nan_logit_is_not_taken_for_a_wrong_label():
    assert (
        pixel_map(torch.full((1, 2, 3), torch.nan), torch.zeros(1, 3).long(), activation="softmax")
        .isnan()
        .all()
    )


def test_ignored_labels_are_no_mistake():
    pixel_sums(LOGITS, labels(255, 255), activation="softmax", want=["loss"], ignore_index=255)


def test_an_ignore_index_that_the_dtype_cannot_hold_ignores_nothing():
    target = torch.full((2, 4, 4), 1, dtype=torch.uint8)
    sums = pixel_sums(LOGITS, target, activation="softmax", want=["count"], ignore_index=-255)
    assert sums.count.sum() == 32


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_weights_that_are_no_weights_are_refused(wrong):
    weight = torch.ones(1, 2, 2)
    weight[0, 0, 0] = wrong
    with pytest.raises(SegfocalError, match="pixel weights must be finite and not negative, got 1"):
        pixel_sums(
            torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2), activation="sigmoid", want=["loss"], weight=weight
        )


@pytest.mark.parametrize("name", ["logits", "target", "weight"])
def test_what_is_no_tensor_is_refused_by_name(name):
    given = {"logits": torch.zeros(1, 1, 2), "target": torch.ones(1, 2), "weight": torch.ones(1, 2)}
    given[name] = given[name].numpy()
    with pytest.raises(SegfocalError, match=f"{name} must be a tensor, got ndarray"):
        pixel_sums(given.pop("logits"), given.pop("target"), activation="sigmoid", want=["loss"], **given)


@pytest.mark.parametrize("label", [255.0, "255", True])
def test_an_ignore_index_that_is_no_label_is_refused(label):
    with pytest.raises(SegfocalError, match="ignore_index must be an integer label or None"):
        FocalLoss("binary", ignore_index=label)
