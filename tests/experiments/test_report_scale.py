"""The measurement of reports over many runs still runs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "experiments" / "report_scale" / "measure.py"


@pytest.mark.slow
def test_it_measures_what_it_wrote(tmp_path):
    words = [sys.executable, SCRIPT, "--runs-dir", tmp_path / "runs", "--count", "6"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [set(row) for row in rows] == [{"cold_s", "warm_s", "peak_mib"}] * 3
    assert len(list((tmp_path / "runs").iterdir())) == 6
