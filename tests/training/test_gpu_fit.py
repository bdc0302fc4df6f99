"""Training on a CUDA device: half precision, channels-last and a compiled network score as float32 does."""

import polars as pl
import pytest
import torch

from segfocal.__main__ import main

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CONFIG = """
seed_everything: 0
model:
  network: {class_path: segfocal.models.SmallUNet, init_args: {in_channels: 1, num_classes: 1}}
  loss: {class_path: segfocal.losses.FocalDiceLoss, init_args: {task: binary, ignore_index: 255}}
  learning_rate: 0.003
data:
  class_path: segfocal.data.SyntheticData
  init_args: {kind: lesions, foreground: 0.02, image_size: 96, patch_size: 64, patches_per_epoch: 400}
trainer: {max_steps: 400, accelerator: gpu, devices: 1}
"""
FAST = ["--trainer.precision", "bf16-mixed", "--model.channels_last", "true", "--model.compile", "true"]


def dice_of(run):
    """Test Dice at 0.5, mean over images."""
    assert main(["test", "--run", str(run)]) == 0
    cases = pl.read_parquet(run / "cases.parquet").filter(
        pl.col("stage") == "test", pl.col("threshold") == 0.5
    )
    return cases["dice"].mean()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    (folder / "x.yaml").write_text(CONFIG)
    return folder


def fit(folder, name, *words):
    assert main(["fit", "--config", str(folder / "x.yaml"), "--run", str(folder / name), *words]) == 0
    return folder / name


def test_half_precision_scores_as_float32_does(folder):
    assert abs(dice_of(fit(folder, "half", *FAST)) - dice_of(fit(folder, "full"))) < 0.01


def test_a_run_resumes_on_the_device(folder):
    run = fit(folder, "short", *FAST, "--trainer.max_steps", "100")
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "400"]) == 0
    assert dice_of(run) > 0.5
