"""segfocal finetune from each kind of checkpoint that people have, as the libraries write them."""

import pytest
import pytorch_lightning as pl
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from monai.bundle import init_bundle
from monai.networks.nets import UNet
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from segfocal.__main__ import main
from segfocal.models import SmallUNet
from segfocal.runs.info import read_info
from segfocal.training.quiet import quiet_lightning

SMALL = (
    "{class_path: segfocal.models.SmallUNet, init_args: {in_channels: 1, num_classes: 1, channels: [4, 8]}}"
)
SMP = (
    "{class_path: segfocal.models.SmpNetwork, init_args: {in_channels: 1, num_classes: 1, encoder: %s, "
    "options: {encoder_depth: 3, decoder_channels: [16, 8, 8]}}}"
)
TORCHVISION = (
    "{class_path: segfocal.models.TakeOutput, init_args: {network: {class_path: "
    "torchvision.models.segmentation.lraspp_mobilenet_v3_large, init_args: {weights: null, "
    "weights_backbone: null, num_classes: 1}}}}"
)
MONAI = (
    "{class_path: monai.networks.nets.UNet, init_args: {spatial_dims: 2, in_channels: 1, out_channels: 1, "
    "channels: [4, 8, 16], strides: [2, 2], num_res_units: 2}}"
)


def config_with(network, text, path, *, channels=1):
    lines = text.replace("max_steps: 9", "max_steps: 2").replace(
        "image_size: 32", f"channels: {channels}, image_size: 32"
    )
    head = lines.index("  network:")
    path.write_text(f"{lines[:head]}  network: {network}\n{lines[lines.index('  loss:') :]}")
    return path


def small(channels=3, classes=4):
    return SmallUNet(channels, classes, channels=(4, 8))


class Foreign(pl.LightningModule):
    """As people write them: the network under a name of their own."""

    def __init__(self):
        super().__init__()
        self.unet = small()

    def training_step(self, batch, _):
        return self.unet(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)


def nested(folder):
    state = {f"module.{name}": value for name, value in small().state_dict().items()}
    torch.save({"epoch": 3, "net": state, "optimizer": {"state": {0: torch.ones(2)}}}, folder / "old.pth")
    return folder / "old.pth"


def bare(folder):
    torch.save(small().state_dict(), folder / "old.pt")
    return folder / "old.pt"


def safetensors(folder):
    save_file(small().state_dict(), folder / "old.safetensors")
    return folder / "old.safetensors"


def lightning(folder):
    settings = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    with quiet_lightning():
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, **settings)
        trainer.fit(Foreign(), DataLoader(torch.rand(2, 3, 8, 8), batch_size=2))
        trainer.save_checkpoint(folder / "old.ckpt")
    return folder / "old.ckpt"


def smp_directory(folder):
    unet = smp.Unet("resnet18", encoder_weights=None, classes=3, encoder_depth=3, decoder_channels=[16, 8, 8])
    unet.save_pretrained(folder / "hub")
    return folder / "hub"


def timm_encoder(folder):
    timm.models.save_for_hf(
        timm.create_model("resnet18", pretrained=False), folder / "hub", safe_serialization=True
    )
    return folder / "hub"


def torchvision_weights(folder):
    build = torchvision.models.segmentation.lraspp_mobilenet_v3_large
    torch.save(build(weights=None, weights_backbone=None, num_classes=21).state_dict(), folder / "lraspp.pth")
    return folder / "lraspp.pth"


def monai_bundle(folder):
    init_bundle(
        folder / "bundle", network=UNet(2, 3, 5, channels=(4, 8, 16), strides=(2, 2), num_res_units=2)
    )
    return folder / "bundle"


# kind: network, channels of the images, prefix, what becomes of the head
QUICK = {nested: "net.module.", bare: "", safetensors: "", lightning: "state_dict.unet."}
SLOW = [
    (smp_directory, SMP % "resnet18", 1, "network.segmentation_head.0.weight"),
    (timm_encoder, SMP % "tu-resnet18", 1, "network.segmentation_head.0.weight"),
    (torchvision_weights, TORCHVISION, 3, "network.classifier.high_classifier.weight"),
    (monai_bundle, MONAI, 1, "model.2.0.conv.weight"),
]


def finetuned(source, config, run, *words):
    """Return the load report of a run that took two steps, and the weights at its end."""
    assert main(["finetune", "--config", str(config), "--from", str(source), "--run", str(run), *words]) == 0
    info = read_info(run)
    assert (info["status"], info["checkpoints"]["last"]["step"]) == ("finished", 2)
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return info["extra"]["finetune"]["report"], state


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    monkeypatch.setenv("SEGFOCAL_BACKEND", "eager")


@pytest.mark.parametrize("write", QUICK, ids=lambda write: write.__name__)
def test_files_of_a_small_network(write, config_text, tmp_path):
    source, config = write(tmp_path), config_with(SMALL, config_text, tmp_path / "x.yaml")
    report, _ = finetuned(source, config, tmp_path / "run")
    assert report["prefix"] == QUICK[write]
    assert report["adapted"] == {"stem.weight": [[4, 3, 2, 2], [4, 1, 2, 2]]}
    assert set(report["reinitialised"]) == {"head.weight", "head.bias"}
    assert (report["missing"], report["head_prior"]) == ({}, True)


@pytest.mark.parametrize("which", ["best", "last"])
def test_a_run_directory(which, finished_run, config_text, tmp_path):
    config = config_with(SMALL, config_text, tmp_path / "x.yaml")
    report, _ = finetuned(finished_run, config, tmp_path / "run", "--finetune.checkpoint", which)
    recorded = read_info(finished_run)["checkpoints"][which]
    assert report["sha256"] == recorded["sha256"]
    assert report["path"].endswith(f"{which}.ckpt")
    assert report["matched"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "network", "channels", "head"), SLOW, ids=[row[0].__name__ for row in SLOW]
)
def test_files_of_libraries(write, network, channels, head, config_text, tmp_path):
    config = config_with(network, config_text, tmp_path / "x.yaml", channels=channels)
    phases = "--finetune.phases=[{name: all, batch_norm: eval, layer_decay: 0.9}]"
    report, state = finetuned(write(tmp_path), config, tmp_path / "run", phases)
    assert head in report["missing" if write is timm_encoder else "reinitialised"]
    assert len(report["adapted"]) >= (channels == 1)
    assert report["matched"] > 0.5
    assert all(bool(torch.isfinite(value).all()) for value in state.values())
