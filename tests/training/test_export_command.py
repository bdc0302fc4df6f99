"""``segfocal export``: files that run without segfocal, to the masks that ``segfocal predict`` writes."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import segfocal
from segfocal.__main__ import main
from segfocal.data.synthetic import SyntheticData, write_folder
from segfocal.runs.info import read_info
from segfocal.training.export import check, torch_file

# what a user without segfocal writes; argv: model, folder of images, folder for results
ONNX = """
import json, sys
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
meta = json.loads(session.get_modelmeta().custom_metadata_map["segfocal"])
predict = lambda images: session.run(None, {"images": images})[0]
"""
TORCH = """
import json, sys
import torch
extra = {"segfocal.json": ""}
module = torch.export.load(sys.argv[1], extra_files=extra).module()
meta = json.loads(extra["segfocal.json"])
predict = lambda images: module(torch.from_numpy(images)).numpy()
"""
MASKS = """
from pathlib import Path
import numpy as np
from PIL import Image
limits = np.array(meta["thresholds"], dtype=np.float32)[:, None, None]
for path in Path(sys.argv[2]).iterdir():
    image = np.asarray(Image.open(path), dtype=np.float32)[None, None]
    probabilities = predict(image)[0]
    np.savez(f"{sys.argv[3]}/{path.stem}.npz", mask=probabilities > limits, probabilities=probabilities)
json.dump(meta, open(f"{sys.argv[3]}/meta.json", "w"))
assert "segfocal" not in sys.modules
assert sys.argv[1].endswith(".pt2") or "torch" not in sys.modules
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images") / "set"
    data = SyntheticData(kind="lesions", foreground=0.1, image_size=52, test_images=2)
    return write_folder(data, folder, split="test") / "images"


@pytest.fixture(scope="module")
def masks(finished_run, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("predicted")
    words = ["predict", "--run", str(finished_run), "--images", str(images), "--out", str(out)]
    assert main(words) == 0
    return out / "masks"


def consumed(script, model, images, masks, out):
    """Run a user's script; its masks agree wherever a score is not at its threshold. Return the metadata."""
    words = [sys.executable, "-W", "ignore", "-c", script + MASKS, str(model), str(images), str(out)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=out, check=False)
    assert done.returncode == 0, done.stderr
    meta = json.loads((out / "meta.json").read_text())
    for path in images.iterdir():
        found = np.load(out / f"{path.stem}.npz")
        expected = np.asarray(Image.open(masks / f"{path.stem}.png")) == 255
        clear = np.abs(found["probabilities"][0] - meta["thresholds"][0]) > 1e-5
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(found["mask"][0][clear], expected[clear])
    return meta


@pytest.mark.slow
def test_an_onnx_file_gives_the_masks_of_predict_without_torch(finished_run, images, masks, tmp_path, capsys):
    model = tmp_path / "sub" / "model.onnx"
    words = ["export", "--run", str(finished_run), "--format", "onnx", "--out", str(model)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "images: float32 (N, 1, H, W), as stored, 0 to 255" in shown
    assert "probabilities differ by" in shown
    meta = consumed(ONNX, model, images, masks, tmp_path)
    info = read_info(finished_run)
    assert meta["class_names"] == info["class_names"]
    assert meta["thresholds"] == info["thresholds"]
    assert meta["preprocess"] == info["preprocess"]
    assert meta["run"]["sha256"] == info["checkpoints"]["best"]["sha256"]
    assert meta["patch_size"] == 16
    assert str(finished_run).encode() not in model.read_bytes()
    assert b".py" not in model.read_bytes()  # nor where torch and segfocal are installed


@pytest.mark.slow
def test_a_torch_file_gives_the_masks_of_predict(finished_run, images, masks, tmp_path):
    model = tmp_path / "model.pt2"
    words = ["export", "--run", str(finished_run), "--format", "torch", "--out", str(model)]
    assert main([*words, "--checkpoint", "best"]) == 0
    meta = consumed(TORCH, model, images, masks, tmp_path)
    assert meta["size_multiple"] == 4
    assert meta["input"]["axes"] == ["N", "C", "H", "W"]


def test_a_file_that_differs_does_not_replace_one_that_agrees(
    finished_run, images, tmp_path, monkeypatch, capsys
):
    model = tmp_path / "model.pt2"
    words = ["export", "--run", str(finished_run), "--format", "torch", "--out", str(model)]
    assert main(words) == 0
    image = np.asarray(Image.open(images / "test_00000.png"))
    expected = segfocal.load(finished_run, device="cpu")(image).probabilities
    content = model.read_bytes()
    found = torch_file.open_content(content)(torch.from_numpy(image.astype(np.float32))[None, None])
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-5)
    monkeypatch.setattr(check, "TOLERANCE", -1.0)
    assert main(words) == 2
    assert "Add --overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 2
    assert "differs from the network" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {model.name, ".segfocal.json"}
    assert model.read_bytes() == content


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--format onxn", "invalid choice: 'onxn'"),
        ("--format torch --checkpoint none.ckpt", "checkpoint 'none.ckpt' not found"),
        ("--format torch --out {folder}", "--out must name a file, got the folder"),
        ("--format torch --size 32", "--size must be 2 numbers"),
        ("--format torch --size 0 32", "--size must lie in [1, inf]"),
        ("--format torch --full-scale -1", "--full-scale must lie in"),
        ("--format torch --network-only --full-scale 1", "--full-scale must be left out"),
    ],
)
def test_wrong_words_are_named(words, message, finished_run, tmp_path, capsys):
    given = [word.format(folder=tmp_path) for word in words.split()]
    assert main(["export", "--run", str(finished_run), *given]) == 2
    assert message in capsys.readouterr().err
    assert not [*finished_run.glob("export*")]


def test_what_is_missing_is_named_before_the_run_is_read(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name)
    )
    assert main(["export", "--run", "/no/such/run", "--format", "onnx"]) == 2
    assert "needs onnxruntime: pip install 'segfocal[onnx]'" in capsys.readouterr().err


def test_help_needs_no_torch():
    code = (
        "import sys; from segfocal.__main__ import main\n"
        "try: main(['export', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--network-only" in done.stdout
