"""`segfocal tune` as a user types it, on a folder of small generated images."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segfocal.__main__ import main
from segfocal.runs import read_info
from segfocal.training.tuning.search import Search, run_search
from segfocal.training.tuning.space import read_space

CONFIG = """\
model:
  network:
    class_path: segfocal.models.SmallUNet
    init_args: {{in_channels: 1, num_classes: 1, channels: [4, 8]}}
  loss:
    class_path: segfocal.losses.FocalLoss
    init_args: {{task: binary, ignore_index: 255}}
  penalties:
    - {{class_path: segfocal.training.penalties.L1, init_args: {{strength: 0.001}}}}
  learning_rate: 0.05
data:
  class_path: segfocal.data.FolderData
  init_args: {{root: {root}, task: binary, preprocess: {{in_channels: 1}},
              split: {{train: 5, val: 1, test: 2}}, batch_size: 2, patch_size: 16, patches_per_epoch: 4}}
trainer: {{max_steps: 2, accelerator: cpu}}
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "set"
    words = ["generate", "--out", str(folder), "--count", "8", "--size", "32", "--foreground", "0.1"]
    assert main(words) == 0
    return folder


@pytest.fixture
def config(images, tmp_path):
    (tmp_path / "folder.yaml").write_text(CONFIG.format(root=images))
    return tmp_path / "folder.yaml"


def tune(config, out, *options):
    return main(["tune", "--config", str(config), "--out", str(out), "--folds", "2", *options])


def test_a_search_leaves_runs_and_an_overlay_that_fit_takes(config, tmp_path, capsys):
    out = tmp_path / "out"
    assert tune(config, out, "--trials", "2") == 0
    shown = capsys.readouterr().out
    assert "2 trials, val/dice over 2 folds" in shown
    assert "split.val=1 is not used" in shown
    assert "The mean of the best of 2 is optimistic" in shown
    images = [
        read_info(out / "trials" / trial / fold)["data"]["images"]
        for trial in ("0000", "0001")
        for fold in ("fold_0", "fold_1")
    ]
    assert images == [{"train": 2, "val": 3, "test": 2}, {"train": 3, "val": 2, "test": 2}] * 2
    best = yaml.safe_load((out / "best.yaml").read_text())
    words = [
        "fit",
        "--config",
        str(config),
        "--config",
        str(out / "best.yaml"),
        "--run",
        str(tmp_path / "run"),
    ]
    assert main(words) == 0
    used = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]
    chosen = best["model"]["loss"]["init_args"]
    assert set(chosen) == {"gamma", "alpha", "knee"}
    assert chosen == {key: used["loss"]["init_args"][key] for key in chosen}
    assert used["loss"]["init_args"]["ignore_index"] == 255
    strength = best["model"]["penalties"][0]["init_args"]["strength"]
    assert used["penalties"][0]["init_args"]["strength"] == strength != 0.001
    (tmp_path / "before").write_text((out / "best.yaml").read_text())
    assert tune(config, out, "--trials", "2") == 0  # nothing is left to do
    assert (out / "best.yaml").read_text() == (tmp_path / "before").read_text()


def test_a_section_says_what_to_search(config, tmp_path):
    (tmp_path / "space.yaml").write_text("tune: {model.learning_rate: {low: 0.001, high: 0.1, log: true}}\n")
    out = tmp_path / "out"
    assert tune(config, out, "--config", str(tmp_path / "space.yaml"), "--trials", "1") == 0
    best = yaml.safe_load((out / "best.yaml").read_text())
    assert list(best["model"]) == ["learning_rate"]
    run = yaml.safe_load((out / "trials" / "0000" / "fold_0" / "config.yaml").read_text())
    assert run["model"]["learning_rate"] == best["model"]["learning_rate"]
    assert run["model"]["loss"]["init_args"]["gamma"] == 2.0


def test_a_search_trains_on_from_a_checkpoint(config, finished_run, tmp_path):
    (tmp_path / "space.yaml").write_text("tune: {model.learning_rate: [0.01, 0.001]}\n")
    words = ["--config", str(tmp_path / "space.yaml"), "--from", str(finished_run), "--trials", "1"]
    assert tune(config, tmp_path / "out", *words) == 0
    info = read_info(tmp_path / "out" / "trials" / "0000" / "fold_1")
    assert info["command"][:2] == ["segfocal", "finetune"]
    assert info["extra"]["finetune"]["report"]
    assert (tmp_path / "out" / "best.yaml").is_file()


@pytest.mark.parametrize(
    ("section", "options", "words"),
    [
        ("model.loss.init_args.gama: [1, 2]", [], "no key 'model.loss.init_args.gama'. Did you mean"),
        ("model.learning_rate: [0.1, 0.2]", ["--folds", "9"], "--folds must be given once"),
        (
            "model.learning_rate: [0.1, 0.2]",
            ["--trials", "0"],
            "--trials must be a whole number of at least 1",
        ),
        ("model.learning_rate: [0.1, 0.2]", ["--trainer.devices", "2"], "tune trains on one device"),
        ("model.learning_rate: [0.1, 0.2]", ["--checkpoint.monitor", "val/loss"], "cannot be compared"),
        ("model.learning_rate: [0.1, 0.2]", ["--data.init_args.split.train", "1"], "too few for 2 folds"),
        ("model.learning_rate: [-1, -2]", [], "learning_rate"),
    ],
    ids=["unknown key", "twice", "no trials", "devices", "loss", "too few images", "bad value"],
)
def test_mistakes_are_named_and_leave_nothing(config, tmp_path, capsys, section, options, words):
    (tmp_path / "space.yaml").write_text(f"tune: {{{section}}}\n")
    out = tmp_path / "out"
    assert tune(config, out, "--config", str(tmp_path / "space.yaml"), *options) == 2
    assert words in capsys.readouterr().err
    assert not out.exists() or not any(out.iterdir())


def test_generated_data_are_sent_to_a_folder(config_text, tmp_path, capsys):
    (tmp_path / "tiny.yaml").write_text(config_text)
    assert tune(tmp_path / "tiny.yaml", tmp_path / "out") == 2
    assert "SyntheticData cannot" in capsys.readouterr().err


def test_another_search_never_goes_on_in_a_folder(config, tmp_path, capsys):
    out = tmp_path / "out"
    assert tune(config, out, "--trials", "1") == 0
    assert tune(config, out, "--trials", "1", "--seed", "3") == 2
    assert "holds another search: seed 0 -> 3" in capsys.readouterr().err
    assert tune(config, out, "--trials", "1", "--model.learning_rate", "0.01") == 2
    assert "config.model.learning_rate 0.05 -> 0.01" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert tune(config, tmp_path / "full") == 2
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "content"),
    [("tune.json", b""), ("tune.json", b"\xff{"), ("tune.json", b"[1]"), ("optuna.db", b"\xff{ " * 300)],
)
def test_a_damaged_search_is_named(name, content, config, tmp_path, capsys):
    out = tmp_path / "out"
    assert tune(config, out, "--trials", "1") == 0
    (out / name).write_bytes(content)
    capsys.readouterr()
    assert tune(config, out, "--trials", "1") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(out / name) in error


def test_a_file_in_the_place_of_the_search_is_named(config, tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert tune(config, tmp_path / "out") == 2
    assert "--out" in capsys.readouterr().err


def test_a_configuration_that_is_not_there_is_named(config, tmp_path, capsys):
    assert tune(config.with_name("foldr.yaml"), tmp_path / "out") == 2
    assert "which does not exist. Did you mean 'folder.yaml'?" in capsys.readouterr().err


def test_missing_words_are_asked_for(capsys):
    assert main(["tune", "--config", "x.yaml"]) == 2
    assert "--out DIR" in capsys.readouterr().err
    assert main(["tune", "--help"]) == 0
    assert "kill -9" in capsys.readouterr().out


def scores(out, section):
    """What the search's own file holds, in the order of the trials."""

    def never(values, folder, fold):
        raise AssertionError("everything was trained")

    known = json.loads((out / "tune.json").read_text())
    space = read_space(section, known=section)
    tried = run_search(Search(space, out, trials=2, folds=2, seed=known["seed"]), never)
    return [(each.values, each.scores) for each in tried]


@pytest.mark.slow
def test_a_killed_search_ends_like_one_that_was_not(config, tmp_path):
    text = config.read_text().replace("max_steps: 2", "max_steps: 16")
    text = text.replace("patches_per_epoch: 4", "patches_per_epoch: 16")
    section = {"model.loss.init_args.gamma": {"low": 0, "high": 5}}
    config.write_text(
        text
        + "checkpoint: {every_n_steps: 2, monitor: val/threshold_dice/foreground}\n"
        + yaml.safe_dump({"tune": section})
    )
    assert tune(config, tmp_path / "whole", "--trials", "2") == 0
    out = tmp_path / "out"
    words = ["tune", "--config", str(config), "--out", str(out), "--folds", "2", "--trials", "2"]
    process = subprocess.Popen([sys.executable, "-m", "segfocal", *words], stdout=subprocess.DEVNULL)
    wait_for(out / "trials" / "0000" / "fold_1" / "checkpoints" / "last.ckpt", process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    first = out / "trials" / "0000" / "fold_0" / "run.json"
    before, killed = first.read_bytes(), read_info(out / "trials" / "0000" / "fold_1")
    assert killed["status"] == "running"
    assert main(words) == 0
    assert first.read_bytes() == before  # what was finished was not trained again
    assert read_info(out / "trials" / "0000" / "fold_1")["created"] == killed["created"]  # gone on with
    found = scores(out, section)
    assert found == scores(tmp_path / "whole", section)
    assert len({score for _, own in found for score in own}) == 4  # no two folds score the same
    assert sorted(path.name for path in (out / "trials").iterdir()) == ["0000", "0001"]
    assert Path(out / "best.yaml").read_text() == (tmp_path / "whole" / "best.yaml").read_text()


def wait_for(path, process):
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)


def test_equal_best_trials_are_said(config, tmp_path, capsys):
    """Background everywhere under every learning rate: no trial is better than another."""
    section = "tune: {model.learning_rate: {low: 1.0e-12, high: 1.0e-10}}\n"
    config.write_text(section + config.read_text().replace("model:", "model:\n  head_prior: 0.001"))
    assert tune(config, tmp_path / "out", "--trials", "3") == 0
    assert "trial 0000 ties with 0001, 0002 at 0.0000" in capsys.readouterr().out
    assert "# trial 0000 ties with 0001, 0002" in (tmp_path / "out/best.yaml").read_text()


def test_a_fold_without_the_class_ends_the_search_before_it_begins(config, images, tmp_path, capsys):
    root = shutil.copytree(images, tmp_path / "rare")
    masks = sorted((root / "masks").iterdir())
    for path in masks[1:]:
        Image.fromarray(np.zeros((32, 32), np.uint8)).save(path)
    text = (
        config.read_text()
        .replace(str(images), str(root))
        .replace("{train: 5, val: 1, test: 2}", "{train: 8}")
    )
    config.write_text(text)
    assert tune(config, tmp_path / "out", "--trials", "2") == 2
    shown = capsys.readouterr().err
    assert "of 2: val/dice is monitored, but class foreground occurs in none of the" in shown
    assert not (tmp_path / "out").exists()
