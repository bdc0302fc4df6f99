"""Two trainings never share a folder, and a run that died starts or goes on with either command."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import polars as pl
import pytest

from segfocal.__main__ import main
from segfocal.runs import RunPaths, read_info, update_info
from segfocal.runs.lock import hold, run_state
from segfocal.runs.read import scan_metrics
from segfocal.training.checkpoints import RunCheckpoints

HOLDER = """
import sys, time
from segfocal.runs.lock import hold
with hold(sys.argv[1], verb="fit", say=print):
    print("held", flush=True)
    time.sleep(60)
"""


class Killed(BaseException):
    """Nothing catches it, like kill -9."""


def start(words, folder, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "segfocal", *words]
    return subprocess.Popen(
        words, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
    )


@pytest.fixture
def died(config, tmp_path, monkeypatch):
    """Return a run that was killed before its first checkpoint."""

    def killed(*arguments, **options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunCheckpoints, "save_last", killed)
        patch.setattr("segfocal.training.verbs.fit.stopped", killed)
        with pytest.raises(Killed):
            main(["fit", "--config", str(config), "--run", str(tmp_path / "died")])
    run = RunPaths(tmp_path / "died")
    assert read_info(run)["status"] == "running"
    return run


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "--resume", "{run}"],
        ["fit", "--config", "{config}", "--run", "{run}"],
        ["test", "--run", "{run}"],
        ["validate", "--run", "{run}"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_what_writes_is_refused_while_another_process_works_there(finished_run, config, words, capsys):
    places = {"run": finished_run, "config": config}
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, finished_run], stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout.readline() == b"held\n"
        assert main([word.format(**places) for word in words]) == 2
        holder.kill()
    error = capsys.readouterr().err
    assert f"in use by `segfocal fit`, process {holder.pid} on " in error
    assert error.count("\n") == 1


def test_reading_commands_do_not_wait(finished_run, tmp_path):
    with hold(finished_run, verb="fit", say=print):
        assert main(["report", str(finished_run), "--out", str(tmp_path / "report")]) == 0


@pytest.mark.parametrize("by", ["--run", "--resume"])
@pytest.mark.parametrize("kept", ["all", "no config.yaml"])
def test_a_run_that_died_before_its_first_checkpoint_starts_again(died, config, by, kept, tmp_path, capsys):
    assert run_state(died, read_info(died)).text == "died"
    if kept == "no config.yaml":
        died.config.unlink()
    words = ["--config", str(config)] if by == "--run" else []
    assert main(["fit", *words, by, str(died.root)]) == 0
    assert "died before its first checkpoint and starts again" in capsys.readouterr().out
    assert main(["fit", "--config", str(config), "--run", str(tmp_path / "whole")]) == 0
    again, whole = (
        scan_metrics([run]).drop("run").filter(~pl.col("name").str.contains("time|speed|per_s")).collect()
        for run in (died.root, tmp_path / "whole")
    )
    assert again.equals(whole)


@pytest.mark.parametrize("by", ["--run", "--resume"])
def test_a_run_of_another_machine_is_taken_over_only_when_asked(died, config, by, capsys):
    update_info(died, host="node17")
    words = ["fit", *(["--config", str(config)] if by == "--run" else []), by, str(died.root)]
    before = {path: path.read_bytes() for path in died.root.glob("*.*") if path.name != ".lock"}
    assert main(words) == 2
    assert "running on node17, last write" in (error := capsys.readouterr().err)
    assert "--take-over" in error
    assert {path: path.read_bytes() for path in before} == before
    assert main([*words, "--take-over"]) == 0
    assert read_info(died)["host"] != "node17"


@pytest.mark.slow
def test_processes_started_at_once_get_a_folder_each(config, tmp_path):
    processes = [start(["fit", "--config", str(config)], tmp_path) for _ in range(4)]
    for process in processes:
        shown = process.communicate()[0].decode()
        assert process.returncode == 0, shown
    runs = sorted((tmp_path / "runs/tiny").iterdir())
    tables = scan_metrics(runs).collect().partition_by("run")
    assert len(runs) == len(tables) == 4
    assert len({table.height for table in tables}) == 1
    assert all(table.select("step", "name").is_duplicated().sum() == 0 for table in tables)


@pytest.mark.slow
def test_named_alike_one_trains_and_the_other_is_told(config, tmp_path):
    words = ["fit", "--config", str(config), "--run", "same", "--trainer.max_steps", "200"]
    processes = [start(words, tmp_path) for _ in range(2)]
    shown = [process.communicate()[0].decode() for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 2], shown
    loser = codes.index(2)
    assert f"process {processes[1 - loser].pid} on " in shown[loser] or "which holds" in shown[loser]


@pytest.mark.slow
def test_a_run_with_loaders_is_free_at_once_after_a_kill(config, tmp_path):
    words = ["fit", "--config", str(config), "--run", "run", "--trainer.max_steps", "100000"]
    process = start([*words, "--data.init_args.num_workers", "2"], tmp_path, start_new_session=True)
    run = RunPaths(tmp_path / "run")
    for _ in range(1200):
        if (run.checkpoints / "last.ckpt").is_file():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    try:
        assert run_state(run, read_info(run)).text == "died"
        with hold(run.root, verb="fit", say=print):
            pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
