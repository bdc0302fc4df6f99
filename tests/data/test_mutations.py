"""Damaged and hostile files of every kind: a success, or one line that names the file; never a crash."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import READERS, TEXTS, read_picture, read_size

HERE = Path(__file__).resolve().parent.parent


def run(names, tmp_path, *, trials, first=0):
    """Read mutated files in a process of its own: a crash in native code must not end the tests."""
    words = [sys.executable, "-W", "ignore", HERE / "mutations.py", tmp_path, ",".join(names)]
    done = subprocess.run([*words, str(trials), str(first)], capture_output=True, text=True, timeout=300)
    place = (tmp_path / "seed").read_text()
    assert done.returncode == 0, f"{place}: exit code {done.returncode}: {done.stderr[-500:]}"
    return json.loads((tmp_path / "fell.json").read_text())


QUICK = ("png", "tiff", "npy", "nifti", "coco", "dataset.json", "csv")
GROUPS = {
    "pictures": [name for name, (_, read) in READERS.items() if read in (read_picture, read_size)],
    "texts": list(TEXTS),
    "dicom": ["dicom"],
}
GROUPS["others"] = [name for name in READERS if not any(name in group for group in GROUPS.values())]


def test_mutated_files_are_read_or_named(tmp_path):
    assert run(QUICK, tmp_path, trials=25, first=10_000) == []


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_many_mutated_files_are_read_or_named(tmp_path, group):
    assert run(GROUPS[group], tmp_path, trials=150 if group == "dicom" else 500) == []
