from __future__ import annotations

import os

import pytest

from segfocal.errors import SegfocalError
from segfocal.models.weights_find import find_weights


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["config.json", "pytorch_model.bin", "model.safetensors", "README.md"], "model.safetensors"),
        (["config.json", "pytorch_model.bin"], "pytorch_model.bin"),
        (["models/model.ts", "models/model.pt", "models/old.pt", "configs/train.json"], "models/model.pt"),
        (["models/final.pth", "LICENSE"], "models/final.pth"),
        (["epoch=3-step=10.ckpt", "notes.txt"], "epoch=3-step=10.ckpt"),
        (["run.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt"], "checkpoints/best.ckpt"),
    ],
)
def test_a_folder_stands_for_one_file(tmp_path, names, chosen):
    assert find_weights(touch(tmp_path, *names)) == tmp_path / chosen


def test_a_file_is_itself(tmp_path):
    assert find_weights(touch(tmp_path, "any.name") / "any.name") == tmp_path / "any.name"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.pt", "b.pth", "c.txt"], r"found 2: a\.pt, b\.pth\. Give the path of the file itself"),
        (["model.ts", "readme"], r"found none among model\.ts, readme"),
        (["models/model.ts"], r"in .*models, found none among model\.ts"),
        (["run.json"], r"best checkpoint of the run .*Its checkpoints: nothing"),
    ],
)
def test_what_is_unclear_is_listed(tmp_path, names, message):
    with pytest.raises(SegfocalError, match=message):
        find_weights(touch(tmp_path, *names))


def test_nothing_is_downloaded(tmp_path):
    for path in ("smp-hub/unet", "https://example.org/unet.pth", tmp_path / "none"):
        with pytest.raises(SegfocalError, match=r"found nothing\. Nothing is downloaded"):
            find_weights(path)


def test_a_pipe_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SegfocalError, match="found something that is neither"):
        find_weights(tmp_path / "pipe")
