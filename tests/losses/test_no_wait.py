"""Nothing between the kernels waits for the device: no copy to it or from it, no look at a value.

The tensors pretend to lie on a CUDA device, which need not be there; a look at a value would raise.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segfocal import functional
from segfocal import losses as L
from segfocal.errors import SegfocalError

LOSSES = {
    "binary focal": (lambda: L.FocalLoss("binary", alpha=0.25), 1),
    "positives": (lambda: L.FocalLoss("multilabel", gamma=[2.0, 0.5], reduction="positives"), 2),
    "softmax focal": (lambda: L.FocalLoss("multiclass", alpha=[1.0, 2.0, 3.0], knee=0.75), 3),
    "smoothed": (lambda: L.FocalLoss("multiclass", tail=0.1, label_smoothing=0.1), 3),
    "weighted mean": (lambda: L.CrossEntropyLoss("multiclass", reduction="weighted_mean"), 3),
    "class mean": (lambda: L.FocalLoss("multiclass", reduction="class_mean", ignore_index=255), 3),
    "modulation": (lambda: L.FocalLoss("multiclass", reduction="modulation"), 3),
    "map": (lambda: L.FocalLoss("multiclass", reduction="none"), 3),
    "convex": (lambda: L.ConvexFocalLoss("binary"), 1),
    "reduced": (lambda: L.ReducedFocalLoss("multilabel"), 3),
    "dice": (lambda: L.DiceLoss("multiclass", per_image=True, absent="skip"), 3),
    "jaccard": (lambda: L.JaccardLoss("multilabel"), 3),
    "log-cosh dice": (lambda: L.LogCoshDiceLoss("multiclass"), 3),
    "tversky": (lambda: L.TverskyLoss("multiclass", fp_weight=0.3, fn_weight=0.7), 3),
    "focal tversky": (lambda: L.FocalTverskyLoss("multiclass"), 3),
    "generalised dice": (lambda: L.GeneralizedDiceLoss("multiclass"), 3),
    "unified": (lambda: L.UnifiedFocalLoss("multiclass"), 3),
    "sum": (lambda: L.FocalLoss("multiclass") + 0.5 * L.DiceLoss("multiclass"), 3),
    "deep": (lambda: L.DeepSupervision(L.FocalDiceLoss("multiclass")), 3),
}


class BetweenDevices(TorchDispatchMode):
    """Note operations that move values from one device to another."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, kwargs, out)) if isinstance(each, torch.Tensor)]
        if len({each.device for each in tensors}) > 1 and str(func) in (
            "aten._to_copy.default",
            "aten.copy_.default",
        ):
            self.found.append(str(func))
        return out


def moves(call, classes, deep=False):
    """What moves between devices in one call of a loss."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        logits = torch.randn(2, classes, 8, 8, device="cuda:0")
        target = torch.zeros(2, 8, 8, dtype=torch.uint8, device="cuda:0")
        with BetweenDevices() as watch:
            value = call([logits, logits[..., ::2, ::2]] if deep else logits, target)
    assert value.device.type == "cuda"
    return watch.found


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_on_the_device_moves_nothing(name):
    make, classes = LOSSES[name]
    loss = make()
    with FakeTensorMode(allow_non_fake_inputs=True):
        loss = loss.to("cuda:0")
    assert moves(loss, classes, name == "deep") == []


def test_single_numbers_are_filled_in_where_the_loss_was_not_moved():
    assert moves(L.FocalLoss("binary", gamma=2.0, alpha=0.25, label_smoothing=0.1), 1) == []
    assert moves(lambda x, t: functional.focal_loss(x, t, task="binary", gamma=2.0), 1) == []


def test_what_moves_is_seen():
    assert moves(L.FocalLoss("multiclass", alpha=[1.0, 2.0, 3.0]), 3) == ["aten._to_copy.default"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": -1.0}, "gamma must lie in"),
        ({"gamma": [2.0, -1.0, 0.0]}, "gamma must lie in"),
        ({"gamma": float("nan")}, "gamma must lie in"),
        ({"alpha": [1.0, -1.0, 1.0]}, "alpha must lie in"),
        ({"label_smoothing": 2.0}, "label_smoothing must lie in"),
        ({"form": "tail", "parameter": 7.0}, "tail"),
        ({"form": "knee", "gamma": 2.0, "parameter": 0.1}, "flatter than cross-entropy"),
        ({"form": "convex", "gamma": 0.0, "parameter": 1.0}, "convex"),
    ],
)
def test_numbers_out_of_range_are_refused_on_the_device_too(settings, message):
    with FakeTensorMode(allow_non_fake_inputs=True):
        logits = torch.randn(2, 3, 8, device="cuda:0")
        target = torch.zeros(2, 8, dtype=torch.uint8, device="cuda:0")
        with pytest.raises(SegfocalError, match=message):
            L.pixel_sums(logits, target, activation="softmax", want=["loss"], **settings)
