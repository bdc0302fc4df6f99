"""Every published layout: all files accounted for, and the complete list of pairs, splits and groups."""

import pytest
from layouts.every import EVERY


@pytest.mark.parametrize("layout", EVERY, ids=lambda layout: layout.name)
def test_the_truth_names_every_file(tmp_path, layout):
    truth = layout.make(tmp_path / "set")
    written = {path.relative_to(tmp_path / "set").as_posix() for path in (tmp_path / "set").rglob("*")}
    written = {path for path in written if (tmp_path / "set" / path).is_file()}
    written = {path for path in written if not path.rpartition("/")[2].startswith(".")}
    named = truth.files()  # a series of slices is named by its folder
    assert {path.rpartition("/")[0] if path.endswith(".dcm") else path for path in written} == named
