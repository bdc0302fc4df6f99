"""One process at a time works in a run; a killed one is told from one that runs."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from segfocal.errors import SegfocalError
from segfocal.runs import RunPaths, create_info, update_info
from segfocal.runs.layout import LOCK
from segfocal.runs.lock import (
    check_free,
    check_not_running,
    hold,
    is_held,
    make_first,
    run_state,
    this_host,
)
from segfocal.runs.read import read_infos

HOLDER = """
import os, sys, time
from segfocal.runs.lock import hold
with hold(sys.argv[1], verb="fit", say=print):
    if sys.argv[2] == "fork":
        runs, tells = os.pipe()
        if os.fork() == 0:
            os.write(tells, b"x")  # the child runs, and with it what it does first
            time.sleep(30)
            os._exit(0)
        os.read(runs, 1)
    print("held", flush=True)
    time.sleep(60)
"""


def quiet(text):
    raise AssertionError(text)


@pytest.fixture
def run(tmp_path):
    paths = RunPaths(tmp_path / "run")
    create_info(paths)
    return paths


@pytest.fixture
def elsewhere(run):
    """A process that trains in the run, with a forked child where that is asked for."""
    started = []

    def start(kind="alone"):
        words = [sys.executable, "-c", HOLDER, str(run.root), kind]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
        started.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_the_second_is_told_who_holds_the_folder(run, elsewhere):
    process = elsewhere()
    words = rf"in use by `segfocal fit`, process {process.pid} on .* since 2"
    with pytest.raises(SegfocalError, match=words):
        check_free(run.root)
    with pytest.raises(SegfocalError, match=words), hold(run.root, verb="test", say=quiet):
        pass
    assert run_state(run, {"status": "running", "host": this_host()}).text == "running"


@pytest.mark.parametrize("kind", ["alone", "fork"])
def test_a_killed_process_gives_its_lock_back_at_once(run, elsewhere, kind):
    process = elsewhere(kind)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert is_held(run.root) is False
    assert run_state(run, {"status": "running", "host": this_host()}).text == "died"
    with hold(run.root, verb="fit", say=quiet):
        assert is_held(run.root)


def test_within_one_process_two_trainings_exclude_each_other(run):
    with hold(run.root, verb="fit", say=quiet):
        words = pytest.raises(SegfocalError, match="in use by `segfocal fit`")
        with words, hold(run.root, verb="test", say=quiet):
            pass
        with hold(run.root, verb="fit", say=quiet, nested=True):
            pass
        assert is_held(run.root)
    assert not is_held(run.root)


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted"])
def test_what_a_run_wrote_itself_counts(run, status):
    info = update_info(run, status=status)
    assert run_state(run, info).text == status
    check_not_running(run, info, take_over=False)


def test_a_run_that_is_only_being_scored_has_died(run):
    with hold(run.root, verb="test", say=quiet):
        assert run_state(run, {"status": "running", "host": this_host()}).word == "died"


@pytest.mark.parametrize(
    ("minutes", "words"), [(0, "0 s ago"), (3, "3 min ago"), (130, "2 h ago"), (6000, "4 days ago")]
)
def test_another_machine_cannot_be_checked(run, minutes, words):
    info = update_info(run, host="node17")
    past = time.time() - 60 * minutes
    os.utime(run.info, (past, past))
    text = f"running on node17, last write {words} (cannot be checked from here)"
    assert run_state(run, info).text == text
    assert read_infos([run.root]).collect()["status"].to_list() == [text]
    with hold(run.root, verb="fit", say=quiet):
        with pytest.raises(SegfocalError, match=r"running on node17.*--take-over"):
            check_not_running(run, info, take_over=False)
        check_not_running(run, info, take_over=True)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_said_and_guarded_by_a_marker(run, monkeypatch, number):
    def no_locks(*arguments):
        raise OSError(number, os.strerror(number))

    (run.root / LOCK).touch()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    info, lines = {"status": "running", "host": this_host()}, []
    assert "cannot be checked from here" in run_state(run, info).text
    with hold(run.root, verb="fit", say=lines.append):
        assert len(lines) == 1
        assert "has no locks" in lines[0]
        with pytest.raises(SegfocalError, match="--take-over"), hold(run.root, verb="fit", say=print):
            pass
        with pytest.raises(SegfocalError, match="--take-over"):
            check_not_running(run, info, take_over=False)
    with hold(run.root, verb="fit", say=lines.append):
        pass


def test_reading_makes_nothing_and_waits_for_nobody(run, elsewhere):
    before = sorted(run.root.iterdir())
    assert read_infos([run.root]).collect()["status"].to_list() == ["died"]
    assert sorted(run.root.iterdir()) == before
    elsewhere()
    start = time.monotonic()
    assert read_infos([run.root]).collect()["status"].to_list() == ["running"]
    assert time.monotonic() - start < 5
    (run.root / LOCK).write_bytes(b"\x00\xff not json")
    with pytest.raises(SegfocalError, match="in use by `segfocal unknown`"):
        check_free(run.root)


def test_a_pipe_or_a_link_in_the_place_of_the_lock_stops_no_reader(run, tmp_path):
    info = {"status": "running", "host": this_host()}
    os.mkfifo(run.root / LOCK)
    run_state(run, info)
    (run.root / LOCK).unlink()
    (run.root / LOCK).symlink_to(tmp_path)
    assert run_state(run, info).word == "unchecked"


def test_a_look_does_not_turn_a_starter_away(run):
    (run.root / LOCK).touch()
    handle = os.open(run.root / LOCK, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    pid = os.fork()
    if pid == 0:
        time.sleep(0.2)
        os._exit(0)
    os.close(handle)
    with hold(run.root, verb="fit", say=quiet):
        pass
    os.waitpid(pid, 0)


def test_leftovers_of_a_killed_process_are_removed_and_named(run):
    mine = run.root / ".notes.tmp"
    run.checkpoints.mkdir()
    left = [run.root / ".run.json.4711-0a1b2c3d.tmp", run.checkpoints / ".last.ckpt.12-ffffffff.tmp"]
    for path in (mine, *left):
        path.write_text("x")
    lines = []
    with hold(run.root, verb="fit", say=lines.append):
        pass
    assert mine.exists()
    assert not any(path.exists() for path in left)
    assert all(any(path.name in line for line in lines) for path in left)


def _made(base, count, queue, barrier):
    barrier.wait()
    queue.put([make_first(base / f"run-{n}" for n in range(1000)).name for _ in range(count)])


def test_many_processes_make_each_their_own_folders(tmp_path):
    context = multiprocessing.get_context("fork")
    queue, barrier = context.Queue(), context.Barrier(8)
    workers = [context.Process(target=_made, args=(tmp_path / "runs", 20, queue, barrier)) for _ in range(8)]
    for worker in workers:
        worker.start()
    names = [name for _ in workers for name in queue.get()]
    for worker in workers:
        worker.join()
    assert len(set(names)) == len(names) == 160


def test_the_holder_is_in_the_file_for_people(run):
    with hold(run.root, verb="fit", say=quiet):
        content = json.loads((run.root / LOCK).read_text())
    assert content["pid"] == os.getpid()
    assert content["host"] == this_host()
