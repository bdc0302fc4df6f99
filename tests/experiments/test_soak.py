"""The soak: its verdict on growth, and its two-minute form."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.soak import soak

ROOT = Path(__file__).parents[2]
FLAT = dict.fromkeys(soak.BOUNDS, 5.0)


def test_what_is_flat_does_not_grow():
    assert soak.growth([FLAT] * 9) == []


@pytest.mark.parametrize("name", sorted(FLAT))
def test_each_figure_that_grows_is_named(name):
    rows = [FLAT | {name: 5.0 + 10 * number} for number in range(9)]
    (line,) = soak.growth(rows)
    assert line.startswith(f"{name} grew from 45 to 75")  # medians of rounds 4 to 6 and 7 to 9


def test_growth_that_ended_before_the_last_two_thirds_is_no_growth():
    rows = [FLAT | {"memory_mib": 100.0 * min(number, 3)} for number in range(9)]
    assert soak.growth(rows) == []


@pytest.mark.slow
def test_two_minutes_of_training_killing_and_reading_leave_nothing_behind(tmp_path):
    words = [sys.executable, str(ROOT / "experiments" / "soak" / "soak.py")]
    words += ["--out", str(tmp_path), "--minutes", "2", "--least", "3"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=900)
    assert done.returncode == 0, done.stdout + (tmp_path / "soak.log").read_text()[-3000:]
    with (tmp_path / "soak.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 3
    assert all(row["orphans"] == "0" and row["children"] == "0" for row in rows)
