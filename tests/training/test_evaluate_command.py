import json
import subprocess
import sys

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
