"""metrics.csv: appended, torn, cut, read back."""

import csv
import math

import polars as pl
import pytest

from segfocal.errors import SegfocalError
from segfocal.runs import MetricsLog, RunPaths
from segfocal.runs.read import scan_metrics


@pytest.fixture
def log(tmp_path):
    log = MetricsLog(tmp_path / "metrics.csv")
    log.append({"loss": 0.1, "dice/a, b": 1 / 3}, step=1, epoch=0)
    log.append({"loss": math.nan, "lr": 1e-300}, step=2, epoch=0)
    log.append({"loss": math.inf}, step=3, epoch=1)
    return log


def rows(log):
    return scan_metrics([log.path.parent]).select("step", "epoch", "name", "value").collect().rows()


def test_numbers_come_back_bit_for_bit(log):
    found = {(step, name): value for step, _, name, value in rows(log)}
    assert math.isnan(found.pop((2, "loss")))
    assert found == {(1, "loss"): 0.1, (1, "dice/a, b"): 1 / 3, (2, "lr"): 1e-300, (3, "loss"): math.inf}


def test_any_csv_reader_reads_it(log):
    with log.path.open(newline="") as file:
        assert next(csv.DictReader(file)) == {"step": "1", "epoch": "0", "name": "loss", "value": "0.1"}


def test_a_torn_last_line_is_ignored_wherever_it_tears(log):
    whole, expected = log.path.read_bytes(), rows(log)
    start = whole[:-1].rfind(b"\n") + 1
    for end in range(start, len(whole)):
        log.path.write_bytes(whole[:end])
        assert [row[:3] for row in rows(log)] == [row[:3] for row in expected[:-1]]


def test_the_next_writer_cuts_a_torn_line_off(log):
    log.path.write_bytes(log.path.read_bytes() + b"4,1,lo")
    MetricsLog(log.path).append({"loss": 4.0}, step=4, epoch=1)
    assert rows(log)[-1] == (4, 1, "loss", 4.0)
    assert b"lo4" not in log.path.read_bytes()


def test_cut_drops_the_steps_after_the_checkpoint_and_no_others(log):
    log.cut(after_step=2)
    assert [row[0] for row in rows(log)] == [1, 1, 2, 2]
    log.append({"loss": 0.5}, step=3, epoch=1)
    assert rows(log)[-1] == (3, 1, "loss", 0.5)
    log.cut(after_step=-1)
    assert rows(log) == []
    assert log.path.read_text() == "step,epoch,name,value\n"


def test_a_value_logged_again_at_its_step_replaces_the_first(log):
    log.append({"loss": 7.0}, step=1, epoch=0)
    assert (1, 0, "loss", 7.0) in rows(log)
    assert (1, 0, "loss", 0.1) not in rows(log)


def test_another_programs_file_is_refused(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(SegfocalError, match="must start with 'step,epoch,name,value', got 'epoch,loss'"):
        MetricsLog(path)
    assert path.read_text() == "epoch,loss\n1,2\n"


def test_a_name_of_two_lines_is_refused(log):
    before = log.path.read_bytes()
    with pytest.raises(SegfocalError, match="one line"):
        log.append({"a\nb": 1.0}, step=1, epoch=0)
    assert log.path.read_bytes() == before


def test_an_empty_or_missing_log_gives_an_empty_table(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metrics.csv").write_text("")
    table = scan_metrics([tmp_path / "empty", tmp_path / "none"]).collect()
    assert table.shape == (0, 5)
    assert table.schema["value"] == pl.Float64


def test_runs_stand_side_by_side(tmp_path):
    for name in "ab":
        MetricsLog(RunPaths(tmp_path / name).metrics).append({"loss": 1.0}, step=1, epoch=0)
    table = scan_metrics([tmp_path / "a", tmp_path / "b"]).collect()
    assert table["run"].to_list() == [(tmp_path / "a").as_posix(), (tmp_path / "b").as_posix()]
