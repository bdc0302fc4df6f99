"""cases.parquet and curves.parquet: replaced by evaluation, read over many runs."""

import polars as pl
import pytest

from segfocal.errors import SegfocalError
from segfocal.runs import RunPaths, create_info, update_info
from segfocal.runs.cases import CASES_SCHEMA, write_cases
from segfocal.runs.curves import CURVES_SCHEMA, write_curves
from segfocal.runs.read import read_infos, scan_cases, scan_curves

ROW = {
    "name": "a",
    "class_index": 0,
    "class_name": "vessel",
    "threshold": 0.5,
    "tp": 1,
    "fp": 2,
    "fn": 3,
    "tn": 4,
}
ROW |= {"pixels": 10, "dice": 2 / 7, "iou": 1 / 6, "precision": None, "recall": 0.25, "f2": 0.3}
BINS = {"name": ["a", "a"], "class_index": [0, 0], "class_name": ["v", "v"], "region": ["all", "band"]}
BINS |= {"curve": ["reliability", "pr"], "low": [0.0, 0.5], "high": [0.5, 1.0], "pixels": [3, 4]}
BINS |= {"positives": [1, 0], "probability_sum": [0.25, float("nan")]}


def write(paths, *rows, stage="test", checkpoint="c" * 64, epoch=3, kind="fixed", **options):
    write_cases(paths, rows, stage=stage, checkpoint=checkpoint, epoch=epoch, threshold_kind=kind, **options)


@pytest.fixture
def run(tmp_path):
    return RunPaths(tmp_path / "run")


def test_a_case_comes_back_with_its_columns(run):
    write(run, ROW, groups={"a": "patient1"})
    table = pl.read_parquet(run.cases)
    assert table.schema == CASES_SCHEMA
    row = table.row(0, named=True)
    assert (row["checkpoint"], row["group"], row["epoch"]) == ("c" * 12, "patient1", 3)
    assert row["precision"] is None
    assert row["dice"] == 2 / 7


def test_the_same_evaluation_replaces_and_others_stay(run):
    write(run, ROW, ROW | {"name": "b"})
    write(run, ROW, stage="val")
    write(run, ROW, kind="tuned")
    write(run, ROW, checkpoint="d" * 64)
    write(run, ROW | {"name": "new"})
    table = pl.read_parquet(run.cases)
    keys = table.select("stage", "checkpoint", "threshold_kind", "name").rows()
    assert sorted(keys) == sorted(
        [
            ("val", "c" * 12, "fixed", "a"),
            ("test", "c" * 12, "tuned", "a"),
            ("test", "d" * 12, "fixed", "a"),
            ("test", "c" * 12, "fixed", "new"),
        ]
    )


def test_an_evaluation_without_images_leaves_an_empty_table(run):
    write(run)
    assert pl.read_parquet(run.cases).schema == CASES_SCHEMA


def test_a_missing_column_or_an_unknown_kind_is_named(run):
    with pytest.raises(SegfocalError, match="lack tn"):
        write(run, {key: value for key, value in ROW.items() if key != "tn"})
    with pytest.raises(SegfocalError, match="Did you mean 'tuned'"):
        write(run, ROW, kind="tune")
    columns = {key: value for key, value in BINS.items() if key != "low"}
    with pytest.raises(SegfocalError, match="lack low"):
        write_curves(run, columns, stage="test", checkpoint="", kind="raw")
    assert not run.cases.exists()


def test_a_damaged_table_is_named_and_kept(run):
    run.root.mkdir()
    run.cases.write_bytes(b"PAR1 no")
    with pytest.raises(SegfocalError, match=r"cases\.parquet must be a Parquet table.*Move it away"):
        write(run, ROW)
    assert run.cases.read_bytes() == b"PAR1 no"


def test_curves_come_back_and_replace_by_kind(run):
    for kind in ("raw", "posterior", "raw"):
        write_curves(run, BINS, stage="test", checkpoint="c" * 64, kind=kind)
    table = pl.read_parquet(run.curves)
    assert table.schema == CURVES_SCHEMA
    assert table.height == 4
    assert table["probability_sum"].to_list() == [0.25, None] * 2


def test_scanning_is_lazy_names_the_run_and_skips_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b[1]"):
        write(RunPaths(name), ROW)
        write_curves(RunPaths(name), BINS, stage="test", checkpoint="", kind="raw")
    for scan in (scan_cases, scan_curves):
        table = scan(["a", tmp_path / "b[1]", "missing"])
        assert isinstance(table, pl.LazyFrame)
        assert set(table.collect()["run"]) == {"a", (tmp_path / "b[1]").as_posix()}
        assert scan([]).collect().height == 0
        assert scan([]).collect_schema() == table.collect_schema()


def test_one_broken_run_does_not_hide_the_others(tmp_path):
    for name in ("good", "bad"):
        create_info(RunPaths(tmp_path / name))
    update_info(tmp_path / "good", status="finished", task="binary")
    (tmp_path / "bad" / "run.json").write_text("{")
    table = read_infos([tmp_path / "good", tmp_path / "bad"]).collect()
    assert table["status"].to_list() == ["finished", None]
    assert table["task"].to_list() == ["binary", None]
    assert table["problem"][0] is None
    assert "damaged" in table["problem"][1]
