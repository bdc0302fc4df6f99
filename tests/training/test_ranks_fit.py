"""Two processes train, validate and test as one does."""

import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch

pytestmark = pytest.mark.slow

CONFIG = """
model:
  network:
    class_path: torch.nn.Conv2d
    init_args: {in_channels: 1, out_channels: 1, kernel_size: 3, padding: 1}
  loss:
    class_path: segfocal.losses.FocalDiceLoss
    init_args: {task: binary, ignore_index: 255}
  optimizer: sgd
  learning_rate: 0.1
data:
  class_path: segfocal.data.FolderData
  init_args:
    root: data
    task: binary
    class_names: [vessel]
    split: {train: 11, val: 5, test: 5}
    preprocess: {in_channels: 1}
    patch_size: 64
    patches_per_epoch: 8
    batch_size: 4
trainer: {max_steps: 6, accelerator: cpu, log_every_n_steps: 2}
"""
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


def segfocal(folder, *words):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SEGFOCAL_BACKEND": "eager"}
    done = subprocess.run(
        [sys.executable, "-m", "segfocal", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One data set with an odd number of images, trained on by one process and by two of half the batch."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "x.yaml").write_text(CONFIG)
    segfocal(
        folder, "generate", "--out", "data", "--kind", "vessels", "--foreground", "0.05", "--count", "21",
        "--size", "70", "--seed", "1", "--channels", "1",
    )  # fmt: skip
    segfocal(folder, "fit", "--config", "x.yaml", "--run", "one")
    segfocal(folder, "fit", "--config", "x.yaml", "--run", "two", "--data.init_args.batch_size", "2", *TWO)
    return folder


def weights(run):
    (last,) = (run / "checkpoints").glob("last*.ckpt")
    return torch.load(last, weights_only=True)["state_dict"]


def test_two_processes_end_in_the_weights_of_one(folder):
    one, two = weights(folder / "one"), weights(folder / "two")
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def test_training_curves_are_those_of_one(folder):
    one, two = (
        pl.read_csv(folder / run / "metrics.csv").filter(pl.col("name").str.starts_with("train/"))
        for run in ("one", "two")
    )
    assert one["name"].to_list() == two["name"].to_list()
    np.testing.assert_allclose(one["value"], two["value"], rtol=1e-5)


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_scores_are_exactly_those_of_one(folder, stage):
    found = []
    for words in ((), TWO):
        segfocal(folder, stage, "--run", "one", *words)
        cases = pl.read_parquet(folder / "one" / "cases.parquet")
        split = cases.filter(pl.col("stage") == {"validate": "val"}.get(stage, stage))
        assert split["name"].n_unique() == 5
        found.append(split.sort(pl.all()))
    assert found[0].equals(found[1])
