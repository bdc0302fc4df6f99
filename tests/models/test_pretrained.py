"""Files that the libraries themselves wrote, into networks with other channels and classes."""

from __future__ import annotations

import hashlib
import json

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from monai.bundle import init_bundle
from monai.networks.nets import UNet
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.imbalance import bias_prior
from segfocal.models import LoadReport, SmallUNet, SmpNetwork, TakeOutput, load_pretrained

OPTIONS = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}


def small(channels=3, classes=2):
    return SmallUNet(channels, classes, channels=(4, 8))


def smp_unet(channels=3, classes=3):
    return smp.Unet("resnet18", encoder_weights=None, in_channels=channels, classes=classes, **OPTIONS)


def own_unet(channels=1, classes=1):
    return SmpNetwork(channels, classes, encoder="resnet18", options=OPTIONS)


def monai_unet(channels, classes):
    return UNet(2, channels, classes, channels=(4, 8, 16), strides=(2, 2), num_res_units=2)


def copy_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def check(network, report, before, source, rename):
    """Every tensor is the file's, made from it, or the one that the network was built with."""
    after = network.state_dict()
    groups = [report.loaded, report.adapted, report.reinitialised, report.missing]
    assert sorted(name for group in groups for name in group) == sorted(after)
    for name, value in after.items():
        if name in report.loaded:
            assert torch.equal(value, source[rename(name)]), name
            assert report.loaded[name] == value.shape
        elif name in report.adapted:
            assert value.shape == report.adapted[name][1]
        else:
            assert torch.equal(value, before[name]), name


def numbers(report):
    groups = [report.loaded, report.adapted, report.reinitialised, report.missing, report.unused]
    return [len(group) for group in groups]


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    return smp_unet()


@pytest.fixture(scope="module")
def smp_directory(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("smp")
    trained.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_smp_directory(smp_directory, trained, tmp_path, form):
    folder = smp_directory
    if form == "bin":
        folder = tmp_path
        (folder / "config.json").write_bytes((smp_directory / "config.json").read_bytes())
        torch.save(trained.state_dict(), folder / "pytorch_model.bin")
    network = own_unet()
    before = copy_of(network)
    report = load_pretrained(network, folder)
    total = len(before)
    assert numbers(report) == [total - 3, 1, 2, 0, 0]
    assert list(report.adapted) == ["network.encoder.conv1.weight"]
    assert report.reinitialised["network.segmentation_head.0.weight"] == ((3, 8, 3, 3), (1, 8, 3, 3))
    assert (report.prefix, report.into) == ("", "network.")
    assert report.matched == (total - 2) / total
    check(network, report, before, trained.state_dict(), lambda name: name.removeprefix("network."))


def test_the_first_convolution_answers_a_grey_image_as_before(smp_directory, trained):
    network = own_unet(channels=5, classes=3)
    load_pretrained(network, smp_directory)
    grey = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        wanted = trained.eval()(grey.expand(-1, 3, -1, -1))
        assert_close(network.eval()(grey.expand(-1, 5, -1, -1)), wanted, atol=1e-4, rtol=1e-4)


def test_cycle_repeats_the_channels(smp_directory, trained):
    network = own_unet(channels=4)
    report = load_pretrained(network, smp_directory, first_conv="cycle")
    old, new = trained.encoder.conv1.weight, network.network.encoder.conv1.weight
    assert_close(new, old[:, [0, 1, 2, 0]] * 0.75)
    assert "(cycle)" in str(report)


def test_a_new_head_starts_at_the_prior_and_an_old_one_keeps_its_bias(smp_directory, trained):
    prior = bias_prior([[990, 10]], "binary").tolist()
    network = own_unet()
    report = load_pretrained(network, smp_directory, head_prior=prior)
    assert report.head_prior
    assert_close(network.network.segmentation_head[0].bias, torch.tensor(prior))
    same = own_unet(classes=3)
    report = load_pretrained(same, smp_directory, head_prior=[1.0, 2.0, 3.0])
    assert not report.head_prior
    assert torch.equal(same.network.segmentation_head[0].bias, trained.segmentation_head[0].bias)


NESTED = ["", "state_dict", "model", "model_state_dict", "network_weights", "weights", "ema", "a.b"]
PLAIN = ["", "model.", "net.", "network.", "module.", "student.", "teacher."]
PREFIXES = [*PLAIN, "_orig_mod.", "net._orig_mod."]


def nest(state, key, prefix):
    content = {prefix + name: value for name, value in state.items()}
    for part in reversed(key.split(".") if key else []):
        content = {part: content, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}
    return content


@pytest.mark.parametrize("key", NESTED)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_key_and_any_prefix(tmp_path, key, prefix):
    old, network = small(3, 4), small(1, 2)
    before = copy_of(network)
    torch.save(nest(old.state_dict(), key, prefix), tmp_path / "old.pth")
    report = load_pretrained(network, tmp_path / "old.pth")
    assert numbers(report) == [len(before) - 3, 1, 2, 0, 0]
    assert report.prefix == (f"{key}." if key else "") + prefix.replace("_orig_mod.", "")
    check(network, report, before, old.state_dict(), lambda name: name)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_and_the_format_of_old_torch(tmp_path, zipped, dtype):
    old, network = small().to(dtype), small()
    torch.save(old.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=zipped)
    report = load_pretrained(network, tmp_path / "old.pt")
    assert report.matched == 1.0
    assert all(torch.equal(v, old.state_dict()[k].to(v.dtype)) for k, v in network.state_dict().items())


def test_safetensors_by_content_or_name(tmp_path):
    old = small()
    state = {f"model.{name}": value for name, value in old.state_dict().items()}
    for name in ("old.safetensors", "old.bin"):
        save_file(state, tmp_path / name)
        network = small()
        assert load_pretrained(network, tmp_path / name).matched == 1.0
        assert all(torch.equal(v, old.state_dict()[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize(
    ("live", "averaged"),
    [
        ("model", "ema"),
        ("model", "ema_model"),
        ("state_dict", "state_dict_ema"),
        ("current_model_state", "state_dict"),
        ("student", "teacher"),
    ],
)
def test_averaged_weights_come_first(tmp_path, live, averaged):
    weights = {live: small().state_dict(), averaged: small().state_dict()}
    for number, order in enumerate([(live, averaged), (averaged, live)]):
        torch.save({key: weights[key] for key in order}, tmp_path / f"{number}.pt")
        network = small()
        report = load_pretrained(network, tmp_path / f"{number}.pt")
        assert report.prefix == f"{averaged}."
        assert torch.equal(network.stem.weight, weights[averaged]["stem.weight"])
        assert len(report.unused) == len(report.loaded)


def test_averages_of_torch(tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(small())
    torch.save(averaged.state_dict(), tmp_path / "swa.pt")
    network = small()
    report = load_pretrained(network, tmp_path / "swa.pt")
    assert (report.matched, list(report.unused)) == (1.0, ["n_averaged"])
    assert torch.equal(network.stem.weight, averaged.module.stem.weight)


def test_a_compiled_network_is_loaded_like_any_other(tmp_path):
    old = small()
    torch.save(torch.compile(old, backend="eager").state_dict(), tmp_path / "old.pt")
    network = torch.compile(small(), backend="eager")
    assert load_pretrained(network, tmp_path / "old.pt").matched == 1.0
    assert torch.equal(network._orig_mod.stem.weight, old.stem.weight)


def test_torchvision_segmentation(tmp_path):
    build = torchvision.models.segmentation.lraspp_mobilenet_v3_large
    old = build(weights=None, weights_backbone=None, num_classes=21)
    torch.save(old.state_dict(), tmp_path / "lraspp.pth")
    network = TakeOutput(build(weights=None, weights_backbone=None, num_classes=2))
    before = copy_of(network)
    report = load_pretrained(network, tmp_path / "lraspp.pth", head_prior=None)
    assert numbers(report) == [len(before) - 4, 0, 4, 0, 0]
    assert report.into == "network."
    check(network, report, before, old.state_dict(), lambda name: name.removeprefix("network."))


def test_a_torchvision_backbone_fills_an_smp_encoder(tmp_path):
    old = torchvision.models.resnet18(weights=None)
    torch.save(old.state_dict(), tmp_path / "resnet18.pth")
    network = SmpNetwork(1, 1, encoder="resnet18")
    before = copy_of(network)
    report = load_pretrained(network, tmp_path / "resnet18.pth")
    assert report.into == "network.encoder."
    assert sorted(report.unused) == ["fc.bias", "fc.weight"]
    assert all(name.split(".")[1] in ("decoder", "segmentation_head") for name in report.missing)
    check(network, report, before, old.state_dict(), lambda name: name.removeprefix("network.encoder."))


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "mobilenetv3_small_050", "efficientnet_b0"])
def test_timm_encoder_weights(tmp_path, name):
    old = timm.create_model(name, pretrained=False)
    timm.models.save_for_hf(old, tmp_path / "hub", safe_serialization=True)
    network = SmpNetwork(1, 1, encoder=f"tu-{name}", options=depth(name))
    before = copy_of(network)
    report = load_pretrained(network, tmp_path / "hub")
    assert report.into.startswith("network.encoder.model.")
    assert len(report.adapted) == 1
    encoder = [n for n in before if n.startswith("network.encoder.")]
    assert {n for n in encoder if report.is_new(n)} == set()
    unnumbered = {n.replace("_", "."): value for n, value in old.state_dict().items()}
    check(
        network,
        report,
        before,
        unnumbered,
        lambda n: n.removeprefix("network.encoder.model.").replace("_", "."),
    )


def depth(name):
    if name == "convnext_atto":  # its stem halves twice
        return {"encoder_depth": 4, "decoder_channels": [16, 8, 8, 4]}
    return {}


def test_monai_bundle_of_which_nothing_is_evaluated(tmp_path):
    bundle, marker = tmp_path / "bundle", tmp_path / "executed"
    old, network = monai_unet(1, 2), monai_unet(4, 5)
    init_bundle(bundle, network=old)
    touch = f"$__import__('pathlib').Path({str(marker)!r}).touch()"
    configs = {"imports": ["$import no_such_module", touch], "network_def": touch}
    for name in ("inference", "train", "metadata"):
        (bundle / "configs" / f"{name}.json").write_text(json.dumps(configs))
    before = copy_of(network)
    report = load_pretrained(network, bundle)
    assert not marker.exists()
    assert sorted(report.adapted) == [
        "model.0.conv.unit0.conv.weight",
        "model.0.residual.weight",
    ]
    assert len(report.loaded) + 2 + len(report.reinitialised) == len(before)
    assert all(name.startswith("model.2.") for name in report.reinitialised)
    check(network, report, before, old.state_dict(), lambda name: name)


def test_the_report_is_whole_and_fits_into_json(smp_directory):
    report = load_pretrained(own_unet(), smp_directory)
    file = smp_directory / "model.safetensors"
    assert report.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    kept = json.loads(json.dumps(report.to_dict()))
    assert kept["adapted"]["network.encoder.conv1.weight"] == [[64, 3, 7, 7], [64, 1, 7, 7]]
    assert (kept["total"], kept["matched"]) == (report.total, report.matched)
    lines = str(report).splitlines()
    assert lines[0].startswith(f"Weights: {report.total - 2} of {report.total} tensors (99%) from ")
    assert "  adapted 1: network.encoder.conv1.weight (64, 3, 7, 7) to (64, 1, 7, 7) (sum)" in lines
    assert isinstance(report, LoadReport)


def test_weights_of_another_network_are_refused_and_change_nothing(smp_directory):
    network = monai_unet(1, 2)
    before = copy_of(network)
    with pytest.raises(SegfocalError) as caught:
        load_pretrained(network, smp_directory)
    message = str(caught.value)
    assert f"at least 50% of the {len(before)} tensors of UNet" in message
    assert "rest in the network: model.0.conv.unit0.conv.weight (4, 1, 3, 3)" in message
    assert "in the file: decoder.blocks.0.conv1.0.weight (16, 192, 3, 3)" in message
    assert "lower min_matched" in message
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_same_network_of_another_width_is_refused_with_the_shapes(tmp_path):
    torch.save(SmallUNet(1, 2, channels=(8, 16)).state_dict(), tmp_path / "wide.pt")
    shapes = r"network: stem\.weight \(4, 1, 2, 2\).*file: stem\.weight \(8, 1, 2, 2\)"
    with pytest.raises(SegfocalError, match=shapes):
        load_pretrained(small(1), tmp_path / "wide.pt")


def test_a_part_is_enough_where_that_is_said(tmp_path):
    old, network = small(), small()
    torch.save(old.encoder[0].state_dict(), tmp_path / "part.pt")
    with pytest.raises(SegfocalError, match="at least 50%"):
        load_pretrained(network, tmp_path / "part.pt")
    report = load_pretrained(network, tmp_path / "part.pt", min_matched=0.1)
    assert 0.1 < report.matched < 0.5
    with pytest.raises(SegfocalError, match="found 0"):
        load_pretrained(nn.PReLU(), tmp_path / "part.pt", min_matched=0.0)


def test_a_prior_of_the_wrong_length_changes_nothing(smp_directory):
    network = own_unet()
    before = copy_of(network)
    with pytest.raises(SegfocalError, match="must have 1 values"):
        load_pretrained(network, smp_directory, head_prior=[0.0, 1.0])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first_conv": "mean"}, "first_conv must be one of 'sum', 'cycle'"),
        ({"min_matched": 1.5}, "min_matched must lie in"),
    ],
)
def test_wrong_settings_are_named(tmp_path, arguments, message):
    with pytest.raises(SegfocalError, match=message):
        load_pretrained(small(), tmp_path, **arguments)


def test_a_diverged_checkpoint_is_refused(tmp_path):
    old = small()
    with torch.no_grad():
        old.stem.weight[0, 0, 0, 0] = float("nan")
    torch.save(old.state_dict(), tmp_path / "old.pt")
    with pytest.raises(SegfocalError, match=r"1 tensors, first stem\.weight"):
        load_pretrained(small(), tmp_path / "old.pt")
