"""Checkpoints that Lightning wrote: for us, for others, with averaged weights, in run directories."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader

from segfocal.__main__ import main
from segfocal.errors import SegfocalError
from segfocal.models import SmallUNet, load_pretrained
from segfocal.models.weights_find import find_weights
from segfocal.training.quiet import quiet_lightning

CONFIG = """\
seed_everything: 3
model:
  network:
    class_path: segfocal.models.SmallUNet
    init_args: {in_channels: 1, num_classes: 1, channels: [4, 8]}
  loss: {class_path: segfocal.losses.FocalLoss, init_args: {task: binary, ignore_index: 255}}
  learning_rate: 0.1
data:
  class_path: segfocal.data.synthetic.SyntheticData
  init_args:
    {kind: lesions, foreground: 0.1, image_size: 32, train_images: 4, val_images: 2, test_images: 2,
     batch_size: 2, patch_size: 16, patches_per_epoch: 4}
trainer:
  max_steps: 4
  accelerator: cpu
  callbacks:
    - {class_path: pytorch_lightning.callbacks.EMAWeightAveraging, init_args: {decay: 0.9}}
"""


class Foreign(pl.LightningModule):
    """As people write them: the network under a name of their own, beside a loss with weights."""

    def __init__(self, width=4):
        super().__init__()
        self.save_hyperparameters()
        self.unet = SmallUNet(3, 4, channels=(width, 2 * width))
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(4))

    def training_step(self, batch, _):
        return self.criterion(self.unet(batch), torch.zeros(len(batch), 8, 8, dtype=torch.long))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)


def fit(folder, *callbacks):
    module, images = Foreign(), DataLoader(torch.rand(4, 3, 8, 8), batch_size=2)
    settings = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    keep = ModelCheckpoint(folder, filename="old")
    with quiet_lightning():
        runner = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[keep, *callbacks], **settings)
        runner.fit(module, images)
    return folder / "old.ckpt"


def stored_in(path):
    return torch.load(path, weights_only=True)


def test_a_module_of_others(tmp_path):
    path, network = fit(tmp_path), SmallUNet(1, 2, channels=(4, 8))
    report = load_pretrained(network, path)
    state, after = stored_in(path)["state_dict"], network.state_dict()
    assert report.prefix == "state_dict.unet."
    assert list(report.adapted) == ["stem.weight"]
    assert sorted(report.reinitialised) == ["head.bias", "head.weight"]
    assert [name for name in report.unused if "state_dict" in name] == ["state_dict.criterion.weight"]
    assert len(report.loaded) == len(after) - 3
    assert all(torch.equal(after[name], state[f"unet.{name}"]) for name in report.loaded)
    assert_close(network.stem.weight, state["unet.stem.weight"].sum(1, keepdim=True))


def test_averaged_weights_are_taken_where_they_were_used(tmp_path):
    path, network = fit(tmp_path, EMAWeightAveraging(decay=0.5)), SmallUNet(3, 4, channels=(4, 8))
    stored = stored_in(path)
    load_pretrained(network, path)
    assert torch.equal(network.head.weight, stored["state_dict"]["unet.head.weight"])
    assert not torch.equal(network.head.weight, stored["current_model_state"]["unet.head.weight"])


def test_settings_of_others_are_refused_by_name(tmp_path):
    path = fit(tmp_path)
    torch.save(stored_in(path) | {"hyper_parameters": Namespace(lr=0.1)}, path)
    with pytest.raises(
        SegfocalError, match=r"argparse\.Namespace.*segfocal convert --trust .*old\.ckpt --out"
    ):
        load_pretrained(SmallUNet(3, 4, channels=(4, 8)), path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    (folder / "tiny.yaml").write_text(CONFIG)
    assert main(["fit", "--config", str(folder / "tiny.yaml"), "--run", str(folder / "run")]) == 0
    return folder / "run"


@pytest.mark.parametrize("which", ["best", "last"])
def test_a_run_directory(run, which):
    network = SmallUNet(3, 3, channels=(4, 8))
    report = load_pretrained(network, run, checkpoint=which, head_prior=[0.0, -1.0, -2.0])
    stored, after = stored_in(run / "checkpoints" / f"{which}.ckpt"), network.state_dict()
    recorded = json.loads((run / "run.json").read_text())["checkpoints"][which]
    assert report.sha256 == recorded["sha256"]
    assert report.prefix == "state_dict.network."
    assert not [name for name in report.unused if name.startswith(("segfocal_resume", "running_sums"))]
    assert all(torch.equal(after[name], stored["state_dict"][f"network.{name}"]) for name in report.loaded)
    assert (len(report.loaded), list(report.adapted), report.missing) == (len(after) - 3, ["stem.weight"], {})
    assert network.head.bias.tolist() == [0.0, -1.0, -2.0]
    raw = stored["current_model_state"]
    assert not all(torch.equal(after[name], raw[f"network.{name}"]) for name in report.loaded)


def test_run_json_names_the_file_and_nothing_outside(run, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "run.json").write_text(json.dumps({"checkpoints": {"best": {"file": "../../epoch=3.ckpt"}}}))
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(SegfocalError, match=r"best checkpoint of the run .*Its checkpoints: last\.ckpt"):
        find_weights(tmp_path)
    (tmp_path / "checkpoints" / "epoch=3.ckpt").touch()
    assert find_weights(tmp_path) == tmp_path / "checkpoints" / "epoch=3.ckpt"
    with pytest.raises(SegfocalError, match="'best' or 'last', got 'newest'"):
        find_weights(run, checkpoint="newest")
