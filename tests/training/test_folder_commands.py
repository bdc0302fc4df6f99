"""The verbs on a folder of images, as a user types them: what is refused, and what is left behind."""

import pytest

from segfocal.__main__ import main
from segfocal.errors import SegfocalError
from segfocal.runs.info import read_info

CONFIG = """\
model:
  network:
    class_path: segfocal.models.SmallUNet
    init_args: {{in_channels: 1, num_classes: 1, channels: [4, 8]}}
  loss:
    class_path: segfocal.losses.FocalDiceLoss
    init_args: {{task: binary, ignore_index: 255}}
data:
  class_path: segfocal.data.FolderData
  init_args: {{root: {root}, task: binary, preprocess: {{in_channels: 1}},
              split: {{train: 3, val: 1, test: 2}}, batch_size: 2, patch_size: 16, patches_per_epoch: 4}}
trainer: {{max_steps: 2, accelerator: cpu}}
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Return a folder of six generated images and masks; do not change it."""
    folder = tmp_path_factory.mktemp("set") / "set"
    assert (
        main(["generate", "--out", str(folder), "--count", "6", "--size", "32", "--foreground", "0.1"]) == 0
    )
    return folder


@pytest.fixture
def fit(images, tmp_path):
    """Return a function that trains with options into ``run`` and returns the exit code."""
    (tmp_path / "folder.yaml").write_text(CONFIG.format(root=images))
    words = ["fit", "--config", str(tmp_path / "folder.yaml"), "--run", str(tmp_path / "run")]
    return lambda *options: main([*words, *options])


@pytest.mark.parametrize(
    "words", [["--data.init_args.split.val", "null"], ["--data.init_args.split.val=null"]]
)
def test_null_leaves_out_the_validation_split(words, fit, tmp_path, capsys):
    assert fit(*words) == 0
    assert "Total length" not in capsys.readouterr().err
    assert read_info(tmp_path / "run")["data"]["images"] == {"train": 3, "test": 2}


def test_test_without_test_images_names_the_verb_that_has_some(fit, tmp_path, capsys):
    assert fit("--data.init_args.split.test", "null") == 0
    capsys.readouterr()
    assert main(["test", "--run", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert "no labelled test images: there is nothing to score. Score the 1 validation images" in shown
    assert f"`segfocal validate --run {tmp_path / 'run'}`" in shown
    assert main(["validate", "--run", str(tmp_path / "run")]) == 0


def test_validate_without_validation_images_says_so(fit, tmp_path, capsys):
    assert fit("--data.init_args.split.val", "null") == 0
    assert main(["validate", "--run", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert "no labelled validation images: there is nothing to score. Score the 2 test images with" in shown
    assert main(["test", "--run", str(tmp_path / "run")]) == 0
    found = ["validate", "--run", str(tmp_path / "run"), "--data.init_args.split.val", "1"]
    assert main(found) == 0  # as soon as there are some
    assert "val: 1 images" in capsys.readouterr().out


def test_a_word_for_split_is_answered_with_its_keys(fit, capsys):
    assert fit("--data.init_args.split", "folders") == 2
    shown = capsys.readouterr().err
    assert "keys train, val, test, group, val_share, seed, test_folds, " in shown
    assert "--data.init_args.split.train ..." in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--model.learning_rate -1", "learning_rate must lie in"),
        ("--model.warmup_steps -1", "warmup_steps must lie in"),
        ("--data.init_args.batch_size 5", "4 samples does not fill one batch of 5"),
        (
            "--data.init_args.patch_size 64 --data.init_args.ignore_index null "
            "--model.loss.init_args.ignore_index null",
            "smaller than the patch (64, 64)",
        ),
        ("--checkpoint.monitor val/dicee", "Did you mean 'val/dice'?"),
        (
            "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor val/dcie",
            "EarlyStopping must name",
        ),
        ("--trainer.accelerator cdua", "invalid accelerator name"),
        ("--trainer.accelerator tpu", "torch_xla"),
        ("--trainer.max_steps 0", "Not one step was trained"),
        ("--trainer.limit_train_batches 0", "Not one step was trained"),
    ],
)
def test_an_error_before_the_first_step_leaves_no_folder(options, message, fit, tmp_path, capsys):
    assert fit(*options.split()) == 2
    found = capsys.readouterr()
    assert message in found.err
    assert "segfocal test" not in found.out
    assert not (tmp_path / "run").exists()


def test_what_a_run_did_not_write_stays(fit, tmp_path, monkeypatch):
    def write(*_args, **_settings):
        (tmp_path / "run/notes.txt").write_text("mine")
        raise SegfocalError("stopped")

    monkeypatch.setattr("segfocal.training.previews.Previews.setup", write)
    assert fit() == 2
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_failure_after_the_first_step_is_kept(fit, tmp_path, monkeypatch):
    assert fit("--model.learning_rate", "1e30", "--trainer.max_steps", "20") == 2
    assert read_info(tmp_path / "run")["status"] == "failed"
