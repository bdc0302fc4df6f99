"""The verbs on a folder of images, as a user types them: what is refused, and what is left behind."""

import pytest

from segfocal.__main__ import main
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


def test_validate_without_validation_images_says_so(fit, tmp_path, capsys):
    assert fit("--data.init_args.split.val", "null") == 0
    assert main(["validate", "--run", str(tmp_path / "run")]) == 2
    assert "there are no val images. Give the split val of the data some." in capsys.readouterr().err
    assert main(["test", "--run", str(tmp_path / "run")]) == 0
    found = ["validate", "--run", str(tmp_path / "run"), "--data.init_args.split.val", "1"]
    assert main(found) == 0  # as soon as there are some
    assert "val: 1 images" in capsys.readouterr().out


def test_a_word_for_split_is_answered_with_its_keys(fit, capsys):
    assert fit("--data.init_args.split", "folders") == 2
    shown = capsys.readouterr().err
    assert "keys train, val, test, group, val_share, seed, got 'folders'" in shown
    assert "--data.init_args.split.train ..." in shown
