"""From label files to a trained network to official submission files and their scores."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from segfocal.__main__ import main
from segfocal.data.lanes.drawing import draw_lanes

ROWS = list(range(20, 90, 5))


def write_frames(root, count):
    """Frames with three bright lanes, labelled in both official forms."""
    lines = []
    for number in range(count):
        tops = [(80 + 0.2 * (x - 80), x) for x in (20 + 3 * number, 70 + 3 * number, 130 + 3 * number)]
        lanes = [np.array([[top, 20.0], [x, 85.0]]) for top, x in tops]
        picture = np.random.default_rng(number).integers(30, 70, (96, 160, 3)).astype(np.uint8)
        picture[draw_lanes(lanes, size_px=(96, 160), width_px=3) == 1] = 230
        stem = root / f"clips/{number}/20"
        stem.parent.mkdir(parents=True)
        Image.fromarray(picture).save(stem.with_suffix(".png"))
        text = "".join(" ".join(f"{x:.3f} {y:.0f}" for x, y in lane[::-1]) + "\n" for lane in lanes)
        stem.with_suffix(".lines.txt").write_text(text)
        positions = [np.interp(ROWS, lane[:, 1], lane[:, 0], left=-2, right=-2).tolist() for lane in lanes]
        lines.append({"raw_file": f"clips/{number}/20.png", "lanes": positions, "h_samples": ROWS})
    (root / "train.json").write_text("".join(json.dumps(line) + "\n" for line in lines[:-2]))
    (root / "test.json").write_text("".join(json.dumps(line) + "\n" for line in lines[-2:]))
    (root / "train.txt").write_text("".join(f"/clips/{number}/20.png\n" for number in range(count - 2)))
    (root / "test.txt").write_text("".join(f"/clips/{number}/20.png\n" for number in range(count - 2, count)))


def config(root, data):
    common = {
        "root": str(root),
        "width_px": 5,
        "patch_size": 64,
        "batch_size": 4,
        "preprocess": {"in_channels": 3},
    }
    network = {"class_path": "segfocal.models.SmallUNet", "init_args": {"in_channels": 3, "num_classes": 1}}
    loss = {
        "class_path": "segfocal.losses.FocalDiceLoss",
        "init_args": {"task": "binary", "ignore_index": 255},
    }
    return {
        "model": {"network": network, "loss": loss, "learning_rate": 0.003},
        "data": {"class_path": data["class_path"], "init_args": common | data["init_args"]},
        "trainer": {"max_steps": 60, "accelerator": "cpu"},
    }


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tusimple", "culane"])
def test_a_trained_run_scores_officially(form, tmp_path, capsys):
    write_frames(tmp_path, 8)
    data = {
        "tusimple": {
            "class_path": "segfocal.data.TuSimpleData",
            "init_args": {"labels": ["train.json"], "test_labels": ["test.json"]},
        },
        "culane": {
            "class_path": "segfocal.data.CULaneData",
            "init_args": {"lists": {"train": "train.txt", "test": "test.txt"}},
        },
    }[form]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config(tmp_path, data)))
    run, out = tmp_path / "run", tmp_path / ("found.json" if form == "tusimple" else "found")
    assert main(["fit", "--config", str(tmp_path / "config.yaml"), "--run", str(run)]) == 0
    assert main(["lanes", "--run", str(run), "--out", str(out), "--checkpoint", "last"]) == 0
    capsys.readouterr()
    if form == "tusimple":
        words = [
            "tusimple",
            "--predictions",
            str(out),
            "--labels",
            str(tmp_path / "test.json"),
            "--width",
            "160",
        ]
        assert main(["evaluate", *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["accuracy"] > 0.8
    else:
        words = [
            "culane",
            "--predictions",
            str(out),
            "--labels",
            str(tmp_path),
            "--width",
            "160",
            "--height",
            "96",
        ]
        assert main(["evaluate", *words, "--list", str(tmp_path / "test.txt"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["categories"][0]["f1"] > 0.8


def test_options_need_no_torch():
    code = "import sys; from segfocal.training.verbs.lanes import parser; parser()"
    code += "; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0
