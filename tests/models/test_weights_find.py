from __future__ import annotations

import hashlib
import json
import os

import numpy as np
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


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("named", ["run", "file"])
def test_one_flipped_bit_in_a_checkpoint_of_a_run_is_refused(tmp_path, seed, named):
    run, rng = tmp_path / "run", np.random.default_rng(seed)
    files = {which: run / "checkpoints" / f"{which}.ckpt" for which in ("best", "last")}
    files["best"].parent.mkdir(parents=True)
    entries = {}
    for which, file in files.items():
        content = rng.bytes(5000)
        file.write_bytes(content)
        entries[which] = {"file": file.name, "sha256": hashlib.sha256(content).hexdigest()}
    (run / "run.json").write_text(json.dumps({"checkpoints": entries}))
    path = run if named == "run" else files["best"]
    assert find_weights(path) == files["best"]
    content = bytearray(files["best"].read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    files["best"].write_bytes(content)
    with pytest.raises(SegfocalError, match="is damaged or was changed") as raised:
        find_weights(path)
    for told in (
        str(files["best"]),
        entries["best"]["sha256"][:12],
        hashlib.sha256(content).hexdigest()[:12],
    ):
        assert told in str(raised.value)
    assert find_weights(run, checkpoint="last") == files["last"]
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(content)
    assert find_weights(copy) == copy


def test_runs_that_record_no_hash_are_not_checked(tmp_path):
    file = tmp_path / "checkpoints" / "best.ckpt"
    file.parent.mkdir()
    file.write_bytes(b"weights")
    for text in ('{"checkpoints": {"best": {"file": "best.ckpt"}}}', '{"checkpoints": []}', "{"):
        (tmp_path / "run.json").write_text(text)
        assert find_weights(tmp_path) == file
