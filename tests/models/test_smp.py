from __future__ import annotations

import pytest
import torch
from segmentation_models_pytorch.encoders import encoders

from segfocal.errors import SegfocalError
from segfocal.models import SmpNetwork
from segfocal.models.downloads import without_downloads, without_hidden_downloads


@pytest.mark.parametrize("architecture", ["unet", "FPN", "linknet", "deeplabv3plus"])
def test_any_architecture_maps_images_to_logits(architecture):
    network = SmpNetwork(4, 3, architecture=architecture, encoder="resnet18").eval()
    assert network(torch.randn(1, 4, 64, 64)).shape == (1, 3, 64, 64)


def test_options_reach_the_architecture():
    network = SmpNetwork(1, 2, options={"decoder_channels": [32, 16, 8], "encoder_depth": 3})
    assert network.network.segmentation_head[0].in_channels == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"architecture": "unett"}, "Did you mean 'unet'"),
        ({"encoder": "resnet81"}, "Did you mean 'resnet1"),
        ({"encoder_weights": "imagnet"}, "Did you mean 'imagenet'"),
        ({"options": {"decoder_chanels": [1]}}, "Did you mean 'decoder_channels'"),
        ({"encoder": "tu-no_such_model"}, "tu-no_such_model"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(settings, message):
    with pytest.raises(SegfocalError, match=message):
        SmpNetwork(3, 1, **settings)


def test_weights_that_cannot_be_fetched_say_how_to_go_on(monkeypatch):
    def offline(*_args, **_kwargs):
        raise FileNotFoundError("cannot find the requested files in the local cache")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", offline)
    with pytest.raises(SegfocalError, match="set encoder_weights to null"):
        SmpNetwork(3, 1, encoder_weights="imagenet")


def test_smp_still_downloads_by_default(monkeypatch):
    # the trap that without_hidden_downloads works round
    import segmentation_models_pytorch as smp

    asked = []

    def offline(*_args, **kwargs):
        asked.append(kwargs)
        raise FileNotFoundError("offline")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", offline)
    with pytest.raises(FileNotFoundError):
        smp.Unet("resnet18")
    assert asked
    assert "resnet18" in encoders


def test_only_what_nobody_asked_for_is_switched_off():
    silent = {"class_path": "segmentation_models_pytorch.Unet", "init_args": {"classes": 2}}
    explicit = {
        "class_path": "segmentation_models_pytorch.Unet",
        "init_args": {"encoder_weights": "imagenet"},
    }
    assert without_hidden_downloads(silent)["init_args"] == {"classes": 2, "encoder_weights": None}
    assert without_hidden_downloads(explicit) == explicit
    assert "encoder_weights" not in silent["init_args"]


def test_rebuilding_downloads_nothing_even_inside_a_wrapper():
    inner = {
        "class_path": "torchvision.models.segmentation.fcn_resnet50",
        "init_args": {"weights": "DEFAULT", "weights_backbone": "DEFAULT", "num_classes": 2},
    }
    section = {"class_path": "segfocal.models.TakeOutput", "init_args": {"network": inner, "key": "out"}}
    changed = without_downloads(section)["init_args"]["network"]["init_args"]
    assert changed == {"weights": None, "weights_backbone": None, "num_classes": 2}
