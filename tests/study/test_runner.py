"""Running cells: needs first, none twice, whatever is killed."""

import io
import signal
import time

import pytest
from study_fakes import planned, program, ran, run_fake, start_runner, states

from segfocal.__main__ import main
from segfocal.study.engines import LocalEngine
from segfocal.study.locks import acquire, is_locked, release
from segfocal.study.runner import Runner, Settings
from segfocal.study.schedule import Schedule
from segfocal.study.status import study_status


def wait_for(condition, *, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path):
    return planned(tmp_path)


def test_every_cell_runs_once_and_after_its_needs(folder):
    assert run_fake(folder, jobs=2) == 0
    order = ran(folder)
    assert sorted(order) == sorted(folder.cells)
    for name, cell in folder.cells.items():
        assert all(order.index(need) < order.index(name) for need in cell["needs"])
    assert run_fake(folder) == 0
    assert ran(folder) == order


def test_outcome_tells_time_and_attempt(folder):
    run_fake(folder)
    outcome = folder.paths(next(iter(folder.cells))).read_outcome()
    assert outcome["status"] == "done"
    assert outcome["attempts"] == 1
    assert 0 <= outcome["seconds"] < 30


def test_failed_cell_is_recorded_with_its_last_lines_and_others_go_on(folder):
    (folder.root / "fail").write_text("focal")
    out = io.StringIO()
    assert run_fake(folder, out=out) == 1
    failed = [name for name, state in states(folder).items() if state == "failed"]
    assert {folder.cells[name]["arm"] for name in failed} == {"focal"}
    reason = folder.paths(failed[0]).read_outcome()["reason"]
    assert reason.splitlines()[-2:] == ["a line before", "segfocal: error: it was asked to fail"]
    assert "it was asked to fail" in out.getvalue()
    assert "4 of 6 cells done, 2 failed" in out.getvalue()


def test_failed_cells_stay_until_they_are_asked_for(folder):
    (folder.root / "fail").write_text("focal")
    run_fake(folder)
    (folder.root / "fail").unlink()
    before = len(ran(folder))
    assert run_fake(folder) == 1
    assert len(ran(folder)) == before
    assert run_fake(folder, retry_failed=True) == 0
    again = ran(folder)[before:]
    assert {folder.cells[name]["arm"] for name in again} == {"focal"}
    assert folder.paths(again[0]).read_outcome()["attempts"] == 2


def test_cells_that_need_a_failed_one_do_not_run(folder):
    (folder.root / "fail").write_text("pretrain")
    assert run_fake(folder) == 1
    assert {folder.cells[name]["stage"] for name in ran(folder)} == {"pretrain"}
    status = study_status(folder)
    assert (status["failed"], status["waiting"], status["blocked"]) == (2, 4, 4)


def test_max_failures_starts_no_further_cell(folder):
    (folder.root / "fail").write_text("pretrain dice focal")
    assert run_fake(folder, max_failures=1) == 1
    assert len(ran(folder)) == 1


def test_cell_killed_from_outside_is_tried_again_and_then_given_up(folder):
    (folder.root / "kill").write_text("focal")
    assert run_fake(folder, retries=1) == 1
    for name, cell in folder.cells.items():
        if cell["arm"] == "focal":
            assert ran(folder).count(name) == 2
            assert "killed by signal 9, 2 times" in folder.paths(name).read_outcome()["reason"]


def test_two_runners_never_run_a_cell_twice(folder):
    (folder.root / "wait").write_text("0.1")
    runners = [start_runner(folder) for _ in range(2)]
    codes = [runner.wait(60) for runner in runners]
    assert codes == [0, 0]
    assert sorted(ran(folder)) == sorted(folder.cells)


def test_killed_runner_takes_its_cells_along_and_the_next_completes_the_missing(folder):
    (folder.root / "wait").write_text("0.4")
    runner = start_runner(folder, jobs=1)
    wait_for(lambda: "done" in states(folder).values() and "running" in states(folder).values())
    runner.send_signal(signal.SIGKILL)
    runner.wait(10)
    wait_for(lambda: "running" not in states(folder).values(), seconds=5)
    finished = {name for name, state in states(folder).items() if state == "done"}
    (folder.root / "wait").unlink()
    before = ran(folder)
    assert run_fake(folder) == 0
    assert set(ran(folder)[len(before) :]) == set(folder.cells) - finished
    assert len(ran(folder)[len(before) :]) == len(folder.cells) - len(finished)


def test_terminated_runner_takes_its_cells_along(folder):
    (folder.root / "wait").write_text("20")
    runner = start_runner(folder)
    wait_for(lambda: list(states(folder).values()).count("running") == 2)
    runner.send_signal(signal.SIGTERM)  # nobody listens here: the process dies at once
    runner.wait(10)
    wait_for(lambda: set(states(folder).values()) == {"waiting"}, seconds=5)


def test_runner_waits_for_a_cell_that_runs_elsewhere(folder):
    first = next(iter(folder.cells))
    handle = acquire(folder.paths(first).lock)
    runner = start_runner(folder)
    wait_for(lambda: list(states(folder).values()).count("done") == 3)
    assert runner.poll() is None
    release(handle)
    assert runner.wait(30) == 0
    assert sorted(ran(folder)) == sorted(folder.cells)


def test_lock_is_seen_and_given_back(tmp_path):
    path = tmp_path / "cell" / "lock"
    assert not is_locked(path)
    handle = acquire(path)
    assert is_locked(path)
    assert acquire(path) is None
    release(handle)
    assert not is_locked(path)


def test_moved_study_goes_on(folder):
    (folder.root / "fail").write_text("focal")
    run_fake(folder)
    (folder.root / "fail").unlink()
    moved = type(folder)(folder.root.rename(folder.root.with_name("moved")))
    before = len(ran(moved))
    assert run_fake(moved, retry_failed=True) == 0
    assert len(ran(moved)) == before + 2


def cell(name, *, needs=(), source=None):
    return {"id": name, "needs": list(needs), "source": source}


def test_one_trial_is_enough_for_a_search():
    schedule = Schedule([cell("a"), cell("b"), cell("arm", needs=["a", "b"])])
    schedule.end("a", "failed")
    schedule.end("b", "done")
    assert list(schedule.ready)[-1] == "arm"


def test_search_without_any_trial_blocks_its_arm():
    schedule = Schedule([cell("a"), cell("arm", needs=["a"]), cell("next", needs=["arm"], source="arm")])
    schedule.end("a", "failed")
    assert schedule.endings == {"a": "failed", "arm": "blocked", "next": "blocked"}


def test_runner_that_is_asked_to_stop_asks_its_cells(folder):
    (folder.root / "wait").write_text("20")
    chosen = Settings(program=program(folder), jobs=2)
    runner = Runner(folder, LocalEngine(), chosen, out=io.StringIO())
    runner.asked = lambda: list(states(folder).values()).count("running") == 2
    assert runner.run() == 130
    assert set(states(folder).values()) == {"waiting"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "x", "--jobs", "0"], "--jobs must be at least 1"),
        (["run", "x", "--gpus", "1"], "--gpus is for --engine ray and slurm"),
        (["run", "/no/such/study"], "is no study"),
        (["rnu", "x"], "Did you mean 'run'"),
        (["plan", "/no/such.yaml", "--out", "x"], "does not exist"),
        (["run", "x", "--job", "2"], "Did you mean '--jobs'"),
    ],
    ids=["jobs", "gpus", "no study", "verb", "no file", "option"],
)
def test_wrong_words_are_named(words, message, capsys):
    assert main(["study", *words]) == 2
    assert message in capsys.readouterr().err
