"""Kills, damage and full disks lose nothing that was saved, and are said in one line."""

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from segfocal.__main__ import main
from segfocal.runs.info import file_sha256, read_info
from segfocal.runs.write import mount_point


@pytest.fixture
def run_copy(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


def flip(path, *, at=0.5):
    """Change one bit in the middle of a file, in place."""
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * at))
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def test_best_and_last_share_no_bytes(finished_run):
    best, last = (finished_run / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    assert best.stat().st_ino != last.stat().st_ino
    assert best.stat().st_nlink == last.stat().st_nlink == 1


@pytest.mark.parametrize("damage", [flip, cut, os.remove], ids=["bit", "cut", "gone"])
def test_damage_of_the_last_checkpoint_spares_the_best(run_copy, damage, capsys):
    before = file_sha256(run_copy / "checkpoints/best.ckpt")
    damage(run_copy / "checkpoints/last.ckpt")
    assert file_sha256(run_copy / "checkpoints/best.ckpt") == before
    assert main(["test", "--run", str(run_copy)]) == 0
    capsys.readouterr()
    assert main(["fit", "--resume", str(run_copy), "--trainer.max_steps", "12"]) == 0
    shown = capsys.readouterr().out
    assert "last.ckpt" in shown
    assert f"goes on from {run_copy / 'checkpoints/best.ckpt'}, step" in shown
    assert read_info(run_copy)["checkpoints"]["last"]["step"] == 12
    keys = [(row["step"], row["name"]) for row in rows_of(run_copy)]
    assert len(set(keys)) == len(keys)


def test_damage_of_both_is_refused_in_one_line(run_copy, capsys):
    for name in ("best", "last"):
        cut(run_copy / f"checkpoints/{name}.ckpt")
    assert main(["fit", "--resume", str(run_copy)]) == 2
    error = capsys.readouterr().err
    assert "last.ckpt is damaged or was changed" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "is full"), (errno.EDQUOT, "is used up")])
@pytest.mark.parametrize("file", ["last.ckpt", "best.ckpt", "run.json", "cases.parquet"])
def test_a_full_disk_is_named_and_the_saved_state_stays(run_copy, file, number, words, monkeypatch, capsys):
    kept = {path: path.read_bytes() for path in (run_copy / "checkpoints").iterdir()}
    sync = os.fsync

    def full(handle):
        if file in Path(f"/proc/self/fd/{handle}").readlink().name:
            raise OSError(number, os.strerror(number))
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    assert main(["fit", "--resume", str(run_copy), "--trainer.max_steps", "12"]) == 2
    error = capsys.readouterr().err
    assert f"{file}: {os.strerror(number)}" in error
    assert str(mount_point(run_copy)) in error.split(os.strerror(number))[1]
    assert words in error
    assert error.count("\n") == 1
    assert not list(run_copy.rglob("*.tmp"))
    if file == "last.ckpt":
        assert {path: path.read_bytes() for path in kept} == kept


def test_the_temporary_folder_is_not_used_for_checkpoints(config, tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    seen, replace = [], os.replace

    def watched(source, target):
        seen.append((os.path.dirname(source), os.path.dirname(target)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    monkeypatch.setattr("shutil.move", lambda *paths: pytest.fail(f"moved {paths}"))
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "run")]) == 0
    assert any(target.endswith("checkpoints") for _, target in seen)
    assert all(source == target for source, target in seen)


def rows_of(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


# a process that imports and nothing more, so that its forks find no thread of torch or TensorBoard
SERVER = """
import json, os, signal, sys
import segfocal.training.verbs.fit
from segfocal.__main__ import main

def count_calls(kill_at):
    done = [0]
    def wrapped(call):
        def inner(*arguments, **options):
            done[0] += 1
            if done[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)
        return inner
    for name in ("replace", "fsync", "ftruncate", "unlink", "mkdir", "write", "open"):
        setattr(os, name, wrapped(getattr(os, name)))
    return done

for line in sys.stdin:
    words, log, kill_at = json.loads(line)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        handle, tell = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), os.write
        os.dup2(handle, 1), os.dup2(handle, 2)
        done = count_calls(kill_at)
        code = main(words)
        sys.stdout.flush()
        tell(write, str(done[0]).encode())
        os._exit(code)
    os.close(write)
    number = os.read(read, 20)
    os.close(read)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), int(number or 0), flush=True)
"""


@pytest.fixture
def in_child(tmp_path):
    """Run a command in a process, killed before a file operation; return exit code and their number."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(words, *, kill_at=0):
        server.stdin.write(json.dumps([words, str(tmp_path / "log"), kill_at]) + "\n")
        server.stdin.flush()
        code, number = server.stdout.readline().split()
        return int(code), int(number)

    with server:
        yield run
        server.stdin.close()


@pytest.mark.slow
def test_a_kill_at_any_file_operation_changes_no_row_and_no_weight(config, tmp_path, in_child):
    config.write_text(config.read_text().replace("max_steps: 9", "max_steps: 9, val_check_interval: 3"))
    begin = ["fit", "--config", str(config), "--run"]
    code, number = in_child([*begin, str(tmp_path / "whole")])
    assert code == 0
    whole = rows_of(tmp_path / "whole")
    weights = torch.load(tmp_path / "whole/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for at in range(3, number, max(1, number // 16)):
        run = tmp_path / f"killed_{at}"
        assert in_child([*begin, str(run)], kill_at=at)[0] == -signal.SIGKILL
        again = ["fit", "--resume", str(run)] if (run / "run.json").is_file() else [*begin, str(run)]
        code, _ = in_child(again)
        assert code == 0, (at, (tmp_path / "log").read_text())
        found = rows_of(run)
        assert sorted(map(steady, found)) == sorted(map(steady, whole)), at
        last = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        assert all(torch.equal(last[name], weights[name]) for name in weights), at
        assert not list(run.rglob(".*.tmp")), at


def steady(row):
    """Return a row without what a clock measured."""
    timed = "per_s" in row["name"] or "time" in row["name"]
    return row["step"], row["epoch"], row["name"], "" if timed else row["value"]
