"""What `study report` prints and writes, and what it says to bad input."""

import csv
import io
import json
import shutil
import subprocess
import sys

import pytest
from report_studies import FakeStudy, edit_json

from segfocal.errors import SegfocalError
from segfocal.study.report_command import report
from segfocal.study.report_schema import TABLES


def score(arm, seed, cluster, image, label):
    gain = 0.02 + 0.001 * ((cluster + seed) % 3) if arm == "focal2" else 0.0
    return 0.5 + 0.01 * cluster + 0.001 * seed + gain


def read_csv(path):
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    fake = FakeStudy(
        score=score,
        arms=("ce", "focal2", "l2|odd"),
        curves={"ce": {"raw": (0.3, 0.2)}},
        failed={"vessels-1-l2|odd-0-0": "=HYPERLINK() <b>\nlast line"},
        missing=("vessels-1-l2|odd-1-0", "vessels-1-l2|odd-2-0"),
    )
    return fake.write(root)


@pytest.fixture
def copy(study, tmp_path):
    return shutil.copytree(study, tmp_path / "moved")


def test_the_terminal_says_what_a_reader_needs_first(study, tmp_path, capsys):
    assert report([str(study), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "6 of 9 cells are compared (1 failed, 2 missing)" in said
    assert "focal2 - ce on vessels: +2.1 Dice points [" in said
    assert "focal2 is better, over 8 clusters and 3 seeds (8 wins, 0 ties, 0 losses)." in said
    assert "l2|odd on vessels (1) seed 0: failed, =HYPERLINK() <b> last line" in said
    lines = [line for line in said.splitlines() if line.startswith("│")]
    assert [line.split("│")[8].strip() for line in lines] == ["baseline", "better", "no data"]


def test_files_hold_every_table_with_documented_columns(study, tmp_path):
    out = tmp_path / "out"
    report([str(study), "--out", str(out)])
    whole = json.loads((out / "report.json").read_text())
    assert set(whole["tables"]) == set(TABLES)
    for name, columns in TABLES.items():
        rows = read_csv(out / f"{name}.csv")
        assert len(rows) == len(whole["tables"][name]) > 0
        assert all(list(row) == list(columns) for row in [*rows, *whole["tables"][name]])
    text = (out / "report.md").read_text()
    assert text.count("focal2 is better") == 1
    assert "l2\\|odd" in text
    assert "\\<b>" in text
    assert text.count("<b>") == 1
    assert "not valid for this loss" in text
    for line in text.splitlines():  # a name with a bar does not add a column
        if line.startswith("| vessels | l2"):
            assert line.replace("\\|", "").count("|") == 10
    reasons = [row["reason"] for row in read_csv(out / "cells.csv")]
    assert " =HYPERLINK() <b>\nlast line" in reasons


def test_the_same_folder_gives_the_same_bytes_wherever_it_lies(study, copy, tmp_path):
    for name, folder in (("first", study), ("again", study), ("moved", copy)):
        report([str(folder), "--out", str(tmp_path / f"of_{name}")])
    for path in sorted((tmp_path / "of_first").iterdir()):
        assert path.read_bytes() == (tmp_path / "of_again" / path.name).read_bytes()
        assert path.read_bytes() == (tmp_path / "of_moved" / path.name).read_bytes()


def test_reporting_loads_no_torch(study, tmp_path):
    code = (
        "import sys; from segfocal.study.report_command import report; report(sys.argv[1:]);"
        "assert not {'torch', 'pytorch_lightning'} & set(sys.modules)"
    )
    words = [sys.executable, "-c", code, str(study), "--out", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_folder_that_is_no_study_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        SegfocalError, match=r"must be a study folder, but it holds no plan\.json.*study plan"
    ):
        report([str(tmp_path / "empty"), "--out", str(tmp_path / "out")])
    with pytest.raises(SegfocalError, match="is no folder"):
        report([str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema_version": 1}', "3"])
def test_a_damaged_plan_is_named(copy, tmp_path, text):
    (copy / "plan.json").write_text(text)
    with pytest.raises(SegfocalError, match=r"plan\.json (must be the JSON|lacks name)"):
        report([str(copy), "--out", str(tmp_path / "out")])


def test_another_schema_version_is_refused(copy, tmp_path):
    run = copy / "cells" / "vessels-1-ce-0-0" / "run"
    edit_json(run / "run.json", schema_version=7)
    with pytest.raises(SegfocalError, match=r"run\.json has schema version 7.*reads version 1"):
        report([str(copy), "--out", str(tmp_path / "out")])
    edit_json(copy / "plan.json", schema_version=2)
    with pytest.raises(SegfocalError, match=r"plan\.json has schema version 2.*reads version 1"):
        report([str(copy), "--out", str(tmp_path / "out")])


def test_without_a_finished_cell_there_is_nothing_to_report(tmp_path):
    fake = FakeStudy()
    fake.missing = tuple(entry["id"] for entry in fake.cells())[:5]
    fake.failed = {"vessels-1-focal2-2-0": "no disk"}
    with pytest.raises(SegfocalError, match=r"no finished cell to report \(5 missing, 1 failed\)"):
        report([str(fake.write(tmp_path / "study")), "--out", str(tmp_path / "out")])


def test_a_baseline_without_a_finished_cell_is_named(tmp_path):
    fake = FakeStudy(missing=tuple(f"vessels-1-ce-{seed}-0" for seed in range(3)))
    with pytest.raises(SegfocalError, match=r"the baseline 'ce' of .* has no finished cell"):
        report([str(fake.write(tmp_path / "study")), "--out", str(tmp_path / "out")])


def test_done_cells_that_cannot_be_read_are_stated_and_left_out(copy, tmp_path):
    cells = copy / "cells"
    (cells / "vessels-1-ce-0-0" / "run" / "run.json").write_text("{")
    (cells / "vessels-1-ce-1-0" / "run" / "cases.parquet").unlink()
    (cells / "vessels-1-focal2-2-0" / "cell.json").write_text("")
    report([str(copy), "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["counts"]["unusable"] == 3
    reasons = {row["id"]: row["reason"] for row in found["tables"]["cells"] if row["status"] == "unusable"}
    assert "damaged" in reasons["vessels-1-ce-0-0"]
    assert "no test rows" in reasons["vessels-1-ce-1-0"]
    assert "cell.json is damaged" in reasons["vessels-1-focal2-2-0"]
    assert "no seed and image that both arms finished" in found["conclusions"][0]
    (cells / "vessels-1-ce-2-0" / "run" / "cases.parquet").unlink()
    with pytest.raises(SegfocalError, match=r"baseline 'ce' .* can be used: .*no test rows.*segfocal test"):
        report([str(copy), "--out", str(tmp_path / "again")])


@pytest.mark.parametrize("name", ["cases.parquet", "curves.parquet", "calibration.parquet", "metrics.csv"])
def test_a_damaged_table_costs_its_cell_and_is_named(copy, tmp_path, name):
    path = copy / "cells" / "vessels-1-ce-1-0" / "run" / name
    damaged = b"step,epoch,name,value\nx,y,z,w\n" if name.endswith("csv") else path.read_bytes()[:-9]
    path.write_bytes(damaged)
    report([str(copy), "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    reasons = [row["reason"] for row in found["tables"]["cells"] if row["status"] == "unusable"]
    assert len(reasons) == 1
    assert reasons[0].startswith(f"{name} is damaged (")
    assert "over 8 clusters and 2 seeds" in found["conclusions"][0]


def test_the_best_checkpoints_rows_count_where_several_were_tested(tmp_path):
    root = FakeStudy(score=score).write(tmp_path / "study")
    from segfocal.runs import RunPaths
    from segfocal.runs.cases import write_cases

    fake = FakeStudy(score=lambda *_: 0.1)
    entry = next(iter(fake.cells()))
    run = RunPaths(root / "cells" / entry["id"] / "run")
    rows, groups = fake.rows(entry, "fixed")
    common = {"epoch": 1, "threshold_kind": "fixed", "groups": groups}
    write_cases(run, rows, stage="test", checkpoint="0" * 64, **common)
    write_cases(run, rows, stage="val", checkpoint="1" * 64, **common)
    report([str(root), "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "+2.1 Dice points" in found["conclusions"][0]
    edit_json(run.info, checkpoints={})
    report([str(root), "--out", str(tmp_path / "out"), "--overwrite"])
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["counts"]["unusable"] == 1


def test_an_unknown_metric_and_wrong_words_are_named(copy, tmp_path):
    edit_json(copy / "plan.json", metric="dise")
    with pytest.raises(SegfocalError, match=r"metric must be one of dice, iou.*Did you mean 'dice'"):
        report([str(copy), "--out", str(tmp_path / "out")])
    with pytest.raises(SegfocalError, match="required: --out"):
        report([str(copy)])
    with pytest.raises(SegfocalError, match="unrecognized arguments: --fast"):
        report([str(copy), "--out", "x", "--fast"])


def test_an_output_that_cannot_be_written_is_named(study, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SegfocalError, match=r"cannot write .*--out"):
        report([str(study), "--out", str(tmp_path / "file" / "out")])


def test_a_report_replaces_its_own_files_alone_and_on_request(study, tmp_path):
    words = [str(study), "--out", str(tmp_path / "out")]
    report(words)
    with pytest.raises(SegfocalError, match="Add --overwrite"):
        report(words)
    report([*words, "--overwrite"])
    (tmp_path / "out/report.md").write_text("my notes")
    with pytest.raises(SegfocalError, match=r"report\.md was edited"):
        report([*words, "--overwrite"])
    with pytest.raises(SegfocalError, match="must not lie in what the command reads"):
        report([str(study), "--out", str(study / "inside")])
