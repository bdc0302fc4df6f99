"""Every published layout trains, scores and predicts with the configuration that is written for it."""

import subprocess
import sys

import pytest
from layouts.every import EVERY

from segfocal.__main__ import main

SMALL = (
    "--trainer.max_steps",
    "2",
    "--trainer.accelerator",
    "cpu",
    "--data.init_args.patches_per_epoch",
    "32",
)
PICTURES = [layout for layout in EVERY if layout.kind == "pictures"]
THROUGH_THE_COMMAND = ("drive", "busi", "idrid", "voc")  # patterns or a table, joined, classes, lists


def commands(layout, tmp_path):
    """Words of fingerprint, fit, the scores and predict, one after the other."""
    truth = layout.make(tmp_path / "set")
    config, run = str(tmp_path / "x.yaml"), str(tmp_path / "run")
    drawn = "" in truth.pairs
    scores = "test" if drawn or "test" in truth.pairs else "validate"
    images = truth.predict or next(iter(next(iter(truth.pairs.values())))).rpartition("/")[0]
    return [
        ["fingerprint", str(tmp_path / "set"), "--out", config, "--processes", "1"],
        ["fit", "--config", config, "--run", run, *SMALL],
        [scores, "--run", run],
        ["predict", "--run", run, "--images", str(tmp_path / "set" / images), "--out", str(tmp_path / "p")],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("layout", PICTURES, ids=lambda layout: layout.name)
def test_fit_score_and_predict(tmp_path, layout):
    for words in commands(layout, tmp_path):
        assert main(words) == 0, words
    assert list((tmp_path / "p").rglob("*.png"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout", [e for e in PICTURES if e.name in THROUGH_THE_COMMAND], ids=lambda e: e.name
)
def test_through_the_real_command(tmp_path, layout):
    for words in commands(layout, tmp_path):
        done = subprocess.run([sys.executable, "-m", "segfocal", *words], capture_output=True, check=False)
        assert done.returncode == 0, (words, done.stderr.decode()[-2000:])
