"""Pretrained weights without a network: an answer at once, from the cache or with the way out."""

import socket
import threading
from urllib.error import URLError

import huggingface_hub.constants
import pytest

from segfocal.__main__ import main
from segfocal.errors import SegfocalError
from segfocal.models import SmpNetwork
from segfocal.models.downloads import asked_weights, fetching, reachable
from segfocal.training.cli import SegfocalCLI

ASKED = {"encoder_weights": "imagenet"}


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Take away the network and the cache; the first wait for another attempt fails the test."""
    monkeypatch.setattr("segfocal.models.downloads.reachable", lambda _url: False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", lambda _seconds: pytest.fail("waited for another attempt"))


def test_our_network_says_how_to_go_on(no_network):
    with pytest.raises(
        SegfocalError, match=r"encoder_weights: imagenet.*set encoder_weights to null .*HF_HOME"
    ):
        SmpNetwork(3, 1, encoder_weights="imagenet")


def config(network):
    return (
        f"model:\n  network: {network}\n  loss: {{class_path: segfocal.losses.FocalLoss, "
        "init_args: {task: binary}}\ndata: {class_path: segfocal.data.SyntheticData}\n"
    )


def test_torchvision_downloads_only_what_was_asked_for(no_network, monkeypatch, tmp_path, capsys):
    def offline(*_args, **_settings):
        raise URLError("no route")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    network = (
        "{class_path: segfocal.models.TakeOutput, init_args: {network: {class_path: %s, init_args: %s}}}"
    )
    owner = "torchvision.models.segmentation.lraspp_mobilenet_v3_large"
    (tmp_path / "c.yaml").write_text(config(network % (owner, "{num_classes: 1}")))
    SegfocalCLI(["--config", str(tmp_path / "c.yaml")])  # its own default would fetch the backbone
    asked = config(network % (owner, "{num_classes: 1, weights_backbone: DEFAULT}"))
    (tmp_path / "c.yaml").write_text(asked)
    SegfocalCLI(["--config", str(tmp_path / "c.yaml")], pretrained=False)  # a checkpoint replaces them
    with pytest.raises(SegfocalError, match=r"cannot be fetched .*no route.*set weights_backbone to null"):
        SegfocalCLI(["--config", str(tmp_path / "c.yaml")])


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_network_by_class_path_says_how_to_go_on(wrapped, no_network, tmp_path, capsys):
    network = (
        "{class_path: segmentation_models_pytorch.Unet, init_args: {encoder_name: resnet18, "
        "encoder_weights: imagenet, in_channels: 1, classes: 1}}"
    )
    if wrapped:
        network = f"{{class_path: segfocal.models.TakeOutput, init_args: {{network: {network}}}}}"
    (tmp_path / "c.yaml").write_text(config(network))
    assert main(["fit", "--config", str(tmp_path / "c.yaml"), "--run", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert "(encoder_weights: imagenet) are not in the local cache and cannot be fetched" in shown
    assert "set encoder_weights to null for random weights" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("there", [True, False])
def test_the_hub_is_offline_inside_only_where_it_is_out_of_reach(there, monkeypatch):
    monkeypatch.setattr("segfocal.models.downloads.reachable", lambda _url: there)
    before = huggingface_hub.constants.is_offline_mode()
    with fetching(ASKED):
        assert huggingface_hub.constants.is_offline_mode() == (before or not there)
    assert huggingface_hub.constants.is_offline_mode() == before


def test_without_a_wish_nothing_is_tried(monkeypatch):
    monkeypatch.setattr("segfocal.models.downloads.reachable", lambda _url: pytest.fail("asked the network"))
    with fetching({}):
        SmpNetwork(3, 1)


@pytest.mark.parametrize("error", [ValueError("wrong"), SegfocalError("ours")])
def test_other_errors_pass(error, no_network):
    with pytest.raises(type(error), match=f"^{error}$"), fetching(ASKED):
        raise error


def test_pretrained_is_switched_off_by_false(no_network):
    with pytest.raises(SegfocalError, match="set pretrained to false"), fetching({"pretrained": True}):
        raise ConnectionError("no route")


def test_weights_are_found_in_wrapped_networks():
    inner = {"class_path": "a.B", "init_args": {"weights": "DEFAULT", "classes": 2, "pretrained": False}}
    assert asked_weights({"class_path": "c.D", "init_args": {"network": inner}}) == {"weights": "DEFAULT"}
    assert asked_weights({"class_path": "a.B"}) == {}


def test_a_server_that_listens_is_reachable_directly_and_through_a_proxy(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert reachable(place)
        monkeypatch.setenv("https_proxy", place)
        assert reachable("https://nowhere.invalid")
    assert not reachable(place)  # it is closed


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    release = threading.Event()

    def never(*_args, **_settings):
        release.wait(60)
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", never)
    try:
        assert not reachable("http://127.0.0.1:9", wait_s=0.01)
    finally:
        release.set()
