"""Lanes as people have them: what is found, and a configuration that trains as it is written."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from segfocal.__main__ import main
from segfocal.data.fingerprint.roads import find_lanes, measure_frame
from segfocal.data.lanes.drawing import draw_lanes

ROWS = list(range(20, 90, 5))
SIZE = (96, 160)


def fan(shift, count=3):
    return [
        np.array([[80 + 0.2 * (x - 80), 20.0], [x, 85.0]]) for x in (20 + shift, 70 + shift, 130 + shift)
    ][:count]


def save(path, lanes, seed):
    noise = np.random.default_rng(seed).integers(30, 70, (*SIZE, 3)).astype(np.uint8)
    noise[draw_lanes(lanes, size_px=SIZE, width_px=3) == 1] = 230
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).save(path)


def tusimple_line(root, number, drive, lanes):
    raw = f"clips/{drive}/{number}/20.jpg"
    save(root / raw, lanes, number)
    positions = [np.interp(ROWS, lane[:, 1], lane[:, 0], left=-2, right=-2).tolist() for lane in lanes]
    return json.dumps({"raw_file": raw, "lanes": positions, "h_samples": ROWS}) + "\n"


@pytest.fixture
def tusimple(tmp_path):
    """Twelve frames with labels in train_set, two in a test file, and predictions, which are no labels."""
    root = tmp_path / "set/train_set"
    lines = [tusimple_line(root, n, f"drive{n % 2}", fan(n, count=n % 4)) for n in range(12)]
    (root / "label_data_1.json").write_text("".join(lines))
    (root / "test_label.json").write_text("".join(tusimple_line(root, n, "late", fan(n)) for n in (20, 21)))
    absent = {"raw_file": "clips/absent/1/20.jpg", "lanes": [], "h_samples": ROWS}
    (root / "label_data_2.json").write_text(json.dumps(absent))
    (tmp_path / "set/predictions.json").write_text(json.dumps({"raw_file": "x", "lanes": [], "run_time": 1}))
    return tmp_path / "set"


@pytest.fixture
def culane(tmp_path):
    root = tmp_path / "culane"
    names = []
    for number in range(8):
        lanes = fan(number)
        stem = root / f"clip{number % 2}.MP4/{number:05}"
        save(stem.with_suffix(".jpg"), lanes, number)
        text = "".join(" ".join(f"{x:.3f} {y:.0f}" for x, y in lane[::-1]) + "\n" for lane in lanes)
        stem.with_suffix(".lines.txt").write_text(text)
        names.append(f"/{stem.relative_to(root)}.jpg\n")
    (root / "list").mkdir()
    (root / "list/train_gt.txt").write_text("".join(names[:6]))
    (root / "list/test.txt").write_text("".join(names[6:]))
    (root / "list/val.txt").write_text("/clip9.MP4/absent.jpg\n")
    return root


def test_tusimple_files_without_images_are_left_out(tusimple):
    found = find_lanes(tusimple)
    assert (found.kind, found.root) == ("TuSimple", tusimple / "train_set")
    assert found.files == {"": ["label_data_1.json"], "test": ["test_label.json"]}
    assert [len(frames) for frames in found.frames.values()] == [12, 2]
    assert "label_data_2.json: left out, 1 of 1 images" in found.problems[0]


def test_frames_are_counted(tusimple):
    frames = find_lanes(tusimple).frames[""]
    case = measure_frame(("", frames[3]))
    assert (case.size_px, case.points, case.sides) == (SIZE, (14, 14, 14), (2, 1))
    drawn = draw_lanes(frames[3].lanes, size_px=SIZE, width_px=3)
    assert case.drawn_px[0] == (drawn == 0).sum()
    assert measure_frame(("", frames[4])).points == ()


def test_no_labels_are_no_lanes_and_labels_without_images_an_error(tusimple, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert find_lanes(tmp_path / "empty") is None
    for path in (tusimple / "train_set/clips").rglob("*.jpg"):
        path.unlink()
    assert main(["fingerprint", str(tusimple)]) == 2
    assert "not all of the images" in capsys.readouterr().err


def trains(root, tmp_path, capsys):
    out = tmp_path / "x.yaml"
    assert main(["fingerprint", str(root), "--out", str(out), "--processes", "1"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    words = ["fit", "--config", str(out), "--run", str(tmp_path / "run"), "--trainer.max_steps", "2"]
    assert main([*words, "--trainer.accelerator", "cpu", "--data.init_args.patches_per_epoch", "16"]) == 0
    return text, yaml.safe_load(out.read_text())["data"]


def test_the_written_tusimple_config_trains(tusimple, tmp_path, capsys):
    text, data = trains(tusimple, tmp_path, capsys)
    assert "14 in TuSimple's form (to be divided 12, test 2)" in text
    assert "3 of 14 frames have no lane" in text
    assert data["class_path"] == "segfocal.data.TuSimpleData"
    assert data["init_args"]["split"] == {"train": 0.9, "val": 0.1}


def test_the_written_culane_config_trains(culane, tmp_path, capsys):
    text, data = trains(culane, tmp_path, capsys)
    assert "lanes per frame 3 (8)" in text
    assert "The list list/val.txt is left out" in text
    assert data["init_args"]["lists"] == {"test": "list/test.txt", "train": "list/train_gt.txt"}


def test_points_beyond_reduced_images_name_the_labelled_size(tusimple, tmp_path):
    for path in (tusimple / "train_set/clips").rglob("*.jpg"):
        Image.open(path).resize((80, 48)).save(path)
    out = tmp_path / "x.yaml"
    assert main(["fingerprint", str(tusimple), "--out", str(out)]) == 0
    height, width = yaml.safe_load(out.read_text())["data"]["init_args"]["labelled_px"]
    assert height / width == pytest.approx(48 / 80)


def test_a_byte_order_mark_before_labels_changes_nothing(tusimple, culane):
    """Editors on Windows write one; the truth is what the same files give without it."""
    plain = find_lanes(tusimple).frames, find_lanes(culane).frames
    for path in (*tusimple.rglob("*.json"), *culane.rglob("*.txt")):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    marked = find_lanes(tusimple).frames, find_lanes(culane).frames
    for before, after in zip(plain, marked, strict=True):
        assert {part: [frame.name for frame in found] for part, found in after.items()} == {
            part: [frame.name for frame in found] for part, found in before.items()
        }
        for part, found in after.items():
            for frame, same in zip(found, before[part], strict=True):
                np.testing.assert_equal(frame.lanes, same.lanes)
