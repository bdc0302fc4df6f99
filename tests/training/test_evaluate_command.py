import json
import subprocess
import sys
from pathlib import Path

import pytest

from segfocal.__main__ import main


@pytest.fixture
def words(tmp_path):
    rows = list(range(160, 720, 10))
    lane = [500.0] * len(rows)
    frame = {"raw_file": "clips/1/20.jpg", "lanes": [lane, [900.0] * len(rows), [50.0] * len(rows)]}
    (tmp_path / "labels.json").write_text(json.dumps(frame | {"h_samples": rows}) + "\n")
    guess = {"raw_file": "clips/1/20.jpg", "lanes": [lane], "run_time": 5}
    (tmp_path / "guesses.json").write_text(json.dumps(guess) + "\n")
    return ["--predictions", str(tmp_path / "guesses.json"), "--labels", str(tmp_path / "labels.json")]


def test_json_has_every_digit(words, capsys):
    assert main(["evaluate", "tusimple", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"frames": 1, "accuracy": 1 / 3, "fp": 0.0, "fn": 2 / 3}


def test_table_names_its_numbers(words, capsys):
    assert main(["evaluate", "tusimple", *words]) == 0
    assert (
        capsys.readouterr().out == "TuSimple, 1 frames\naccuracy 0.3333\nFP       0.0000\nFN       0.6667\n"
    )


def test_mistakes_are_short(words, capsys):
    assert main(["evaluate", "kitti"]) == 2
    assert main(["evaluate", "tusimple", *words, "--jsn"]) == 2
    assert main(["evaluate", "tusimple", "--predictions", "absent.json", "--labels", "absent.json"]) == 2
    error = capsys.readouterr().err
    assert "knows tusimple and culane" in error
    assert "Did you mean '--json'" in error
    assert "absent.json must be a file of JSON lines" in error


def test_lane_scores_need_no_torch(words):
    code = f"import sys; from segfocal.__main__ import main; main(['evaluate', 'tusimple', *{words!r}]); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run_time": None}, "line 1: run_time must be a number, got None"),
        ({"run_time": "5"}, "line 1: run_time must be a number, got '5'"),
        ({"raw_file": ["a"]}, "line 1: raw_file must be the path of a frame, got ['a']"),
        ({"lanes": [[float("nan")] * 56]}, "a predicted lane must hold finite numbers, got nan"),
    ],
    ids=["null", "text", "list", "nan"],
)
def test_broken_predictions_are_one_line(words, capsys, change, message):
    frame = json.loads(Path(words[1]).read_text())
    Path(words[1]).write_text(json.dumps(frame | change) + "\n")
    assert main(["evaluate", "tusimple", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_rows_that_are_no_list_are_named(words, capsys):
    frame = json.loads(Path(words[3]).read_text())
    Path(words[3]).write_text(json.dumps(frame | {"h_samples": None}) + "\n")
    assert main(["evaluate", "tusimple", *words]) == 2
    assert "line 1: h_samples must be a list of heights, got None" in capsys.readouterr().err


def test_a_byte_order_mark_is_passed_over(words):
    text = Path(words[1]).read_text()
    Path(words[1]).write_text(text, encoding="utf-8-sig")
    assert main(["evaluate", "tusimple", *words]) == 0


@pytest.mark.parametrize("size", [["--width", "0"], ["--height", "-3"]], ids=["none", "negative"])
def test_pictures_of_no_size_are_refused(tmp_path, capsys, size):
    (tmp_path / "a.lines.txt").write_text("500 500 500 100\n")
    folder = str(tmp_path)
    assert main(["evaluate", "culane", "--predictions", folder, "--labels", folder, *size]) == 2
    assert f"{size[0][2:]} of the images in px must lie in [1, inf]" in capsys.readouterr().err


def test_a_width_of_nothing_is_refused(words, capsys):
    assert main(["evaluate", "tusimple", *words, "--width", "0"]) == 2
    assert "width_px must lie in (0, inf]" in capsys.readouterr().err


def test_lanes_of_nan_are_named(tmp_path, capsys):
    (tmp_path / "a.lines.txt").write_text("500 nan 500 100\n")
    folder = str(tmp_path)
    assert main(["evaluate", "culane", "--predictions", folder, "--labels", folder]) == 2
    assert "line 1 must be finite numbers, got NaN or infinity" in capsys.readouterr().err


def test_culane_names_images_without_predictions_and_predictions_without_labels(tmp_path, capsys):
    lane = "100 590 100 300\n"
    for number in range(9):
        for folder, given in (("labels", number < 8), ("guesses", number in (0, 8))):
            file = tmp_path / folder / "clip" / f"{number}.lines.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            if given:
                file.write_text(lane)
    words = [
        "evaluate",
        "culane",
        "--predictions",
        str(tmp_path / "guesses"),
        "--labels",
        str(tmp_path / "labels"),
    ]
    assert main([*words, "--json"]) == 0
    shown = capsys.readouterr()
    missing, odd = shown.err.splitlines()
    assert "7 of 8 images have no file" in missing
    assert missing.endswith("clip/1, clip/2, clip/3, clip/4, clip/5 and 2 more")
    assert "1 prediction files are not scored" in odd
    assert odd.endswith("clip/8")
    found = json.loads(shown.out)
    assert (found["without_prediction"], found["not_scored"]) == (7, 1)
    assert (found["categories"][0]["tp"], found["categories"][0]["fn"]) == (1, 7)
