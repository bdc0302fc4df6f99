"""Two processes with penalties and matched gradients end in the weights of one."""

import os
import subprocess
import sys

import polars as pl
import pytest
import torch

pytestmark = pytest.mark.slow

CONFIG = """
model:
  network:
    class_path: segfocal.models.SmallUNet
    init_args: {in_channels: 1, num_classes: 1, channels: [4, 8], norm: group}
  loss:
    class_path: segfocal.losses.FocalDiceLoss
    init_args: {task: binary, ignore_index: 255}
  penalties:
    - {class_path: segfocal.training.penalties.L1, init_args: {strength: 1e-3}}
    - {class_path: segfocal.training.penalties.L2, init_args: {strength: 1e-2}}
    - {class_path: segfocal.training.penalties.L2SP, init_args: {alpha: 0.1, beta: 0.1}}
    - {class_path: segfocal.training.penalties.ConfidencePenalty, init_args: {strength: 0.1}}
  match_gradient: cross_entropy
  optimizer: sgd
  learning_rate: 0.05
data:
  class_path: segfocal.data.SyntheticData
  init_args:
    {kind: lesions, foreground: 0.1, image_size: 32, train_images: 8, val_images: 3, test_images: 2,
     patch_size: 16, patches_per_epoch: 16, batch_size: 4}
trainer: {max_steps: 6, accelerator: cpu, log_every_n_steps: 2, gradient_clip_val: 0.5}
"""
TWO = ("--data.init_args.batch_size", "2", "--trainer.devices", "2", "--trainer.strategy", "ddp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One training by one process, and by two with half the batch each."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "x.yaml").write_text(CONFIG)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SEGFOCAL_BACKEND": "eager"}
    for run, words in (("one", ()), ("two", TWO)):
        command = [sys.executable, "-m", "segfocal", "fit", "--config", "x.yaml", "--run", run, *words]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_end_in_the_weights_of_one(folder):
    one, two = (
        torch.load(folder / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in ("one", "two")
    )
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_logged_values_are_those_of_one(folder):
    tables = [pl.read_csv(folder / run / "metrics.csv") for run in ("one", "two")]
    tables = [table.filter(~pl.col("name").str.starts_with("val/")) for table in tables]
    assert tables[0]["name"].to_list() == tables[1]["name"].to_list()
    assert {"train/gradient_factor", "penalty/ConfidencePenalty"} <= set(tables[0]["name"])
    for name, one, two in zip(tables[0]["name"], tables[0]["value"], tables[1]["value"], strict=True):
        assert two == pytest.approx(one, rel=1e-4, abs=1e-5), name
