"""Damaged and hostile files of every kind: a success, or one line that names the file; never a crash."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import READERS

HERE = Path(__file__).resolve().parent.parent


def run(name, tmp_path, *, trials, first=0):
    """Read mutated files in a process of its own: a crash in native code must not end the tests."""
    words = [sys.executable, "-W", "ignore", HERE / "mutations.py", tmp_path, name, str(trials), str(first)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    seed = (tmp_path / "seed").read_text()
    assert done.returncode == 0, f"{name}, seed {seed}: exit code {done.returncode}: {done.stderr[-500:]}"
    return json.loads((tmp_path / "fell.json").read_text())


QUICK = ("png", "tiff", "npy", "nifti", "coco", "dataset.json", "csv")


@pytest.mark.parametrize("name", QUICK)
def test_mutated_files_are_read_or_named(tmp_path, name):
    assert run(name, tmp_path, trials=25, first=10_000) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_mutated_files_are_read_or_named(tmp_path, name):
    assert run(name, tmp_path, trials=60 if name == "dicom" else 250) == []
