from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from segfocal.data.preprocess import Preprocess
from segfocal.errors import SegfocalError
from segfocal.losses import DiceLoss, FocalLoss, focal_posterior
from segfocal.models import SmallUNet
from segfocal.training.prediction.predictor import Predictor
from segfocal.training.prediction.tiles import Tiling

CLASSES = {
    "binary": ("vessel",),
    "multiclass": ("background", "road", "lane"),
    "multilabel": ("edema", "drusen"),
}


def predictor(task="binary", *, channels=3, **settings):
    torch.manual_seed(0)
    names = CLASSES[task]
    network = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, len(names), 1))
    preprocess = Preprocess(in_channels=channels, **settings.pop("preprocess", {}))
    return Predictor(network, task=task, preprocess=preprocess, class_names=names, device="cpu", **settings)


def picture(*shape, kind=np.uint8):
    values = np.random.default_rng(0).random(shape)
    scale = {np.uint8: 255, np.uint16: 65535}.get(kind, 1)
    return (values * scale).astype(kind)


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize("shape", [(40, 56, 3), (1, 1, 3), (1, 77, 3), (33, 1, 3)])
def test_masks_and_probabilities_have_the_size_of_the_image(task, shape):
    found = predictor(task)(picture(*shape))
    channels = len(CLASSES[task])
    assert found.probabilities.shape == (channels, *shape[:2])
    assert found.probabilities.dtype == np.float32
    assert found.mask.dtype == np.uint8
    assert found.mask.shape == ((channels, *shape[:2]) if task == "multilabel" else shape[:2])
    assert found.class_names == CLASSES[task]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 1), (20, 24, 3), (20, 24, 4)])
def test_any_stored_image_is_taken(kind, shape):
    assert predictor(channels=3)(picture(*shape, kind=kind)).mask.shape == (20, 24)


@pytest.mark.parametrize("task", CLASSES)
def test_scores_are_the_activated_logits_of_the_preprocessed_image(task):
    model = predictor(task)
    image = picture(40, 56, 3)
    prepared = torch.from_numpy(model.preprocess(image))[None]
    with torch.no_grad():
        logits = model.network(prepared)
    expected = logits.softmax(dim=1) if task == "multiclass" else logits.sigmoid()
    found = model(image)
    assert np.allclose(found.probabilities, expected[0].numpy(), atol=1e-6)
    if task == "multiclass":
        assert np.array_equal(found.mask, expected[0].argmax(dim=0).numpy())
    else:
        assert np.array_equal(found.mask.astype(bool).reshape(expected[0].shape), expected[0].numpy() > 0.5)


@pytest.mark.parametrize("task", CLASSES)
def test_tiles_and_whole_agree(task):
    model = predictor(task)
    image = picture(256, 200, 3)
    tiled = model(image, tiling=Tiling(64, 0.5, batch=3)).probabilities
    assert np.abs(tiled - model(image).probabilities).max() < 1e-5


def test_a_strided_network_is_padded_and_cropped():
    network = SmallUNet(3, 1, channels=(4, 8))
    model = Predictor(network, task="binary", preprocess=Preprocess(), class_names=["x"], device="cpu")
    assert model.divisor == 4
    assert model(picture(31, 45, 3)).mask.shape == (31, 45)


def test_a_reduced_image_is_answered_at_its_own_size():
    model = predictor(preprocess={"scale": 0.5})
    assert model(picture(41, 60, 3)).probabilities.shape == (1, 41, 60)


def test_thresholds_of_the_run_decide_unless_overridden():
    model = predictor("multilabel", thresholds=[0.45, 0.55])
    image = picture(16, 16, 3)
    found = model(image)
    assert np.array_equal(found.mask[0], found.probabilities[0] > 0.45)
    assert np.array_equal(found.mask[1], found.probabilities[1] > 0.55)
    assert np.array_equal(model(image, threshold=0.5).mask, found.probabilities > 0.5)
    assert model(image, threshold=[1.0, 0.0]).mask[0].sum() == 0


def test_posteriors_are_read_out_and_leave_the_mask_alone():
    model = predictor("binary", loss=FocalLoss("binary", gamma=2.0), thresholds=[0.48])
    image = picture(16, 16, 3)
    plain, read = model(image), model(image, posterior=True)
    expected = focal_posterior(torch.from_numpy(plain.probabilities), 2.0, "binary").numpy()
    assert np.allclose(read.probabilities, expected, atol=1e-6)
    assert np.array_equal(read.mask, plain.mask)
    override = model(image, posterior=True, threshold=0.4)
    assert np.array_equal(override.mask, read.probabilities[0] > 0.4)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (FocalLoss("binary") + DiceLoss("binary"), "no exact posterior"),
        (nn.BCEWithLogitsLoss(), "got BCEWithLogitsLoss"),
        (None, "got no loss"),
    ],
)
def test_posteriors_are_refused_where_there_are_none(loss, message):
    with pytest.raises(SegfocalError, match=message):
        predictor("binary", loss=loss)(picture(8, 8, 3), posterior=True)


@pytest.mark.parametrize("tta", ["mirror", "flips", "turns"])
def test_mirrored_images_give_mirrored_predictions(tta):
    model = predictor("multiclass")
    image = picture(24, 31, 3)
    expected = model(image, tta=tta).probabilities[:, :, ::-1]
    assert np.allclose(model(image[:, ::-1].copy(), tta=tta).probabilities, expected, atol=1e-5)


def test_prediction_leaves_no_gradient_and_no_training_mode():
    model = predictor()
    model(picture(8, 8, 3))
    assert not model.network.training
    assert all(weight.grad is None for weight in model.network.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.5}, "threshold must lie in"),
        ({"threshold": [0.5, 0.5]}, "one per class, got 2"),
        ({"tta": "flip"}, "Did you mean 'flips'"),
    ],
)
def test_wrong_options_are_named(arguments, message):
    with pytest.raises(SegfocalError, match=message):
        predictor()(picture(8, 8, 3), **arguments)


def test_a_multiclass_mask_has_no_threshold():
    with pytest.raises(SegfocalError, match="largest probability"):
        predictor("multiclass")(picture(8, 8, 3), threshold=0.5)


def test_images_and_networks_that_do_not_fit_are_refused():
    with pytest.raises(SegfocalError, match="finite"):
        predictor()(np.full((8, 8, 3), np.nan, np.float32))
    with pytest.raises(SegfocalError, match="7"):
        predictor()(picture(8, 8, 7))
    narrow = Predictor(
        nn.Conv2d(3, 2, 1), task="binary", preprocess=Preprocess(), class_names=["x"], device="cpu"
    )
    with pytest.raises(SegfocalError, match="1 logit channels"):
        narrow(picture(8, 8, 3))


def test_broken_weights_are_not_passed_off_as_a_mask():
    model = predictor()
    nn.init.constant_(model.network[0].weight, float("nan"))
    with pytest.raises(SegfocalError, match="not finite"):
        model(picture(8, 8, 3))


@pytest.mark.parametrize("device", ["grafic", "cuda:99"])
def test_a_device_that_is_not_there_is_named(device):
    with pytest.raises(SegfocalError, match=f"device must be of this machine .*{device}"):
        Predictor(
            nn.Conv2d(3, 1, 1), task="binary", preprocess=Preprocess(), class_names=["x"], device=device
        )
