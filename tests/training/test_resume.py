"""A run that was stopped, gently or not, ends where an undisturbed one does."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from stop_at import StopAt

from segfocal.__main__ import main
from segfocal.report.tables.provenance import provenance
from segfocal.report.tables.runs import runs_table
from segfocal.runs.info import read_info
from segfocal.runs.layout import LOCK
from segfocal.training.interrupt import Interrupted, StopSignal
from segfocal.training.resume import ResumeState, seed_step

EMA = "{class_path: EMAWeightAveraging, init_args: {decay: 0.9}}"


def last(run):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def same_end(one, other):
    first, second = last(one), last(other)
    assert first["global_step"] == second["global_step"]
    for key in ("state_dict", "current_model_state"):
        for name, value in first.get(key, {}).items():
            assert torch.equal(value, second[key][name]), name
    moments = [stored["optimizer_states"][0]["state"] for stored in (first, second)]
    assert all(
        torch.equal(moments[0][index][name], moments[1][index][name])
        for index in moments[0]
        for name in ("exp_avg", "exp_avg_sq")
    )
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()


@pytest.fixture
def averaged(config):
    config.write_text(config.read_text().replace("trainer: {", f"trainer: {{callbacks: [{EMA}], "))
    return config


@pytest.mark.parametrize(
    "stop", [{"step": 3}, {"step": 6}, {"step": 8}, {"validation": 1}, {"validation": 2}]
)
def test_interrupted_run_resumes_bit_for_bit(stop, averaged, tmp_path, monkeypatch, capsys):
    """Epochs have six steps: within the first, at its end, within the second, amid both validations."""
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main(["fit", "--config", str(averaged), "--run", str(whole)]) == 0
    with monkeypatch.context() as patch:
        StopAt(patch, **stop)
        assert main(["fit", "--config", str(averaged), "--run", str(stopped)]) == 130
    assert read_info(stopped)["status"] == "interrupted"
    assert f"segfocal fit --resume {stopped}" in capsys.readouterr().err
    assert main(["fit", "--resume", str(stopped)]) == 0
    assert read_info(stopped)["status"] == "finished"
    same_end(whole, stopped)
    entries = [read_info(run)["checkpoints"] for run in (whole, stopped)]
    assert entries[0]["best"]["step"] == entries[1]["best"]["step"]
    assert entries[0]["best"]["score"] == entries[1]["best"]["score"]


def test_flag_wins_over_the_checkpoint_on_resuming(config, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        StopAt(patch, step=4)
        assert main(["fit", "--config", str(config), "--run", str(run)]) == 130
    words = ["--model.learning_rate", "0.5", "--model.schedule", "constant", "--model.weight_decay", "0.25"]
    assert main(["fit", "--resume", str(run), *words]) == 0
    groups = last(run)["optimizer_states"][0]["param_groups"]
    assert [group["lr"] for group in groups] == [0.5, 0.5]
    assert [group["weight_decay"] for group in groups] == [0.25, 0.0]
    kept = yaml.safe_load((run / "config.yaml").read_text())["model"]
    assert (kept["learning_rate"], kept["schedule"]) == (0.5, "constant")


def test_resumed_metrics_are_cut_to_the_checkpoint(config, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        StopAt(patch, step=4)
        assert main(["fit", "--config", str(config), "--run", str(run)]) == 130
    with (run / "metrics.csv").open("a") as file:
        file.write("7,1,train/loss,99.0\n8,1,train/lo")  # a later line and a torn one
    assert main(["fit", "--resume", str(run)]) == 0
    assert "99.0" not in (run / "metrics.csv").read_text()


def test_finished_run_resumes_with_more_steps(config, tmp_path):
    run = tmp_path / "run"
    assert main(["fit", "--config", str(config), "--run", str(run), "--trainer.max_steps", "6"]) == 0
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "8"]) == 0
    assert last(run)["global_step"] == 8


def test_steps_epochs_and_ranks_have_their_own_randomness():
    drawn = []
    for epoch, batch, rank in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)):
        seed_step(epoch, batch, rank=rank)
        drawn.append((torch.rand(1).item(), np.random.rand(), random.random()))  # noqa: NPY002
    assert drawn[0] == drawn[4]
    for draws in zip(*drawn[:4], strict=True):
        assert len(set(draws)) == 4


def with_workers(config, run, workers, *words):
    """Train with dropout, augmentation and validation amid the epochs."""
    more = ["--data.init_args.num_workers", str(workers), "--data.init_args.augment", "medical", *words]
    return main(
        ["fit", "--config", str(config), "--run", str(run), "--trainer.val_check_interval", "2", *more]
    )


@pytest.mark.slow
def test_the_number_of_workers_changes_no_weight(config, tmp_path, monkeypatch):
    runs = [tmp_path / f"workers{n}" for n in (0, 1, 2)]
    for workers, run in enumerate(runs):
        assert with_workers(config, run, workers, "--trainer.max_steps", "14") == 0
    plain = tmp_path / "without_dropout"
    no_dropout = ["--model.network.init_args.dropout", "0.0"]
    assert with_workers(config, plain, 0, "--trainer.max_steps", "14", *no_dropout) == 0
    same_end(runs[0], runs[1])
    same_end(runs[0], runs[2])
    with pytest.raises(AssertionError):  # dropout is at work
        same_end(runs[0], plain)
    for stop, before, after in ((4, 2, 0), (6, 0, 2), (9, 1, 2)):
        changed = tmp_path / f"changed{stop}"
        with monkeypatch.context() as patch:
            StopAt(patch, step=stop)
            assert with_workers(config, changed, before, "--trainer.max_steps", "14") == 130
        assert main(["fit", "--resume", str(changed), "--data.init_args.num_workers", str(after)]) == 0
        same_end(runs[0], changed)


def test_what_draws_between_two_steps_changes_no_weight(config, tmp_path, monkeypatch):
    """Someone's own data, validation or logging may draw from the global random states."""
    quiet, drawing = tmp_path / "quiet", tmp_path / "drawing"
    assert main(["fit", "--config", str(config), "--run", str(quiet)]) == 0
    ends = ResumeState.on_train_batch_end

    def draw(self, trainer, *rest, **named):
        torch.rand(trainer.global_step)
        ends(self, trainer, *rest, **named)

    monkeypatch.setattr(ResumeState, "on_train_batch_end", draw)
    assert main(["fit", "--config", str(config), "--run", str(drawing)]) == 0
    same_end(quiet, drawing)


def test_second_signal_stops_at_once():
    stop = StopSignal()
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
        assert stop.name == "SIGTERM"
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)


def start(words, folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "segfocal", *words], env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def wait_for_step(process, run, step):
    """Wait until a checkpoint of this step or a later one is on the disk."""
    for _ in range(18_000):
        if (run / "run.json").is_file():
            entry = read_info(run).get("checkpoints", {}).get("last", {})
            if entry.get("step", 0) >= step:
                return
        assert process.poll() is None, "the run ended before it could be stopped"
        time.sleep(0.005)
    pytest.fail("no checkpoint within 90 s")


def long_config(config, steps, workers):
    text = config.read_text().replace("max_steps: 9", f"max_steps: {steps}")
    config.write_text(text.replace("batch_size: 2", f"num_workers: {workers}, batch_size: 2"))
    return str(config)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_run_resumes_bit_for_bit(workers, config, tmp_path):
    words = ["fit", "--config", long_config(config, 120, workers), "--run"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start([*words, str(whole)], tmp_path).wait(timeout=120) == 0
    process = start([*words, str(killed)], tmp_path)
    wait_for_step(process, killed, 9)
    process.kill()
    process.wait(timeout=30)
    assert read_info(killed)["status"] == "running"  # nobody had time to say otherwise
    assert start(["fit", "--resume", str(killed)], tmp_path).wait(timeout=120) == 0
    same_end(whole, killed)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_and_exits_with_130(number, config, tmp_path):
    run = tmp_path / "run"
    words = ["fit", "--config", long_config(config, 100_000, 0), "--run", str(run)]
    process = start(words, tmp_path)
    wait_for_step(process, run, 3)
    process.send_signal(number)
    assert process.wait(timeout=60) == 130
    assert f"interrupted by {number.name}. Go on with" in Path(tmp_path / "log").read_text()
    info = read_info(run)
    assert (info["status"], info["reason"]) == ("interrupted", number.name)
    assert last(run)["global_step"] == info["checkpoints"]["last"]["step"]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0 and not Path("/dev/full").exists(), reason="needs /dev/full or no root")
def test_full_disk_leaves_the_last_checkpoint_whole(config, tmp_path):
    """A file size limit stands for a full disk: the checkpoint grows past it, run.json does not."""
    run = tmp_path / "run"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from segfocal.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, "fit", "--config", str(config), "--run", str(run)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "cannot write" in done.stderr
    assert not list((run / "checkpoints").glob("*tmp*"))


def interrupted(config, run, monkeypatch, capsys, *words, step=7):
    with monkeypatch.context() as patch:
        StopAt(patch, step=step)
        assert main(["fit", "--config", str(config), "--run", str(run), *words]) == 130
    capsys.readouterr()
    return run


def history(run):
    return json.loads((run / "config_history.json").read_text())


@pytest.mark.parametrize(
    ("first", "second", "step"),
    [
        (("val/dice", "max"), ("val/loss", "min"), 6),
        (("val/loss", "min"), ("val/dice", "max"), 7),
        (("val/loss", "max"), ("val/loss", "min"), 6),
    ],
    ids=["at a validation", "within an epoch", "mode alone"],
)
def test_another_monitor_begins_a_new_best(first, second, step, config, tmp_path, monkeypatch, capsys):
    words = ["--trainer.val_check_interval", "2"]
    options = ("--checkpoint.monitor", "--checkpoint.mode")
    before, after = ([w for pair in zip(options, one, strict=True) for w in pair] for one in (first, second))
    run = interrupted(config, tmp_path / "run", monkeypatch, capsys, *words, *before, step=step)
    assert main(["fit", "--resume", str(run), *after]) == 0
    assert "a new best begins" in capsys.readouterr().out
    log = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    seen = {int(line[0]): float(line[3]) for line in log if line[2] == second[0]}
    # the weights of a checkpoint at a validation compete under the new monitor, those before do not
    rivals = {at: value for at, value in seen.items() if at >= step}
    best = read_info(run)["checkpoints"]["best"]
    assert best["score"] == pytest.approx((min if second[1] == "min" else max)(rivals.values()))
    assert best["step"] in rivals


def test_another_monitor_where_nothing_is_left_to_train(config, tmp_path):
    run = tmp_path / "run"
    assert main(["fit", "--config", str(config), "--run", str(run)]) == 0
    assert (
        main(["fit", "--resume", str(run), "--checkpoint.monitor", "val/loss", "--checkpoint.mode", "min"])
        == 0
    )
    best = read_info(run)["checkpoints"]["best"]
    log = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    assert best["score"] == pytest.approx([float(row[3]) for row in log if row[2] == "val/loss"][-1])


def test_changed_settings_are_kept(config, tmp_path, monkeypatch, capsys):
    run = interrupted(config, tmp_path / "run", monkeypatch, capsys)
    words = [
        "--trainer.max_steps",
        "12",
        "--data.init_args.num_workers",
        "1",
        "--model.learning_rate",
        "0.02",
    ]
    assert main(["fit", "--resume", str(run), *words]) == 0
    assert "trainer.max_steps 9 -> 12" in capsys.readouterr().out
    start, change = history(run)["entries"]
    assert (start["changes"], start["step"]) == ([], 0)
    found = {(each["key"], each["old"], each["new"]) for each in change["changes"]}
    assert found == {
        ("trainer.max_steps", 9, 12),
        ("data.init_args.num_workers", 0, 1),
        ("model.learning_rate", 0.01, 0.02),
    }
    assert change["step"] == 7
    assert change["command"][:3] == ["segfocal", "fit", "--resume"]
    assert main(["fit", "--resume", str(run)]) == 0
    assert len(history(run)["entries"]) == 2
    config.write_text(config.read_text().replace("max_steps: 9", "max_steps: 14"))
    assert main(["fit", "--resume", str(run), "--config", str(config)]) == 0
    last_change = {each["key"] for each in history(run)["entries"][-1]["changes"]}
    assert last_change == {"trainer.max_steps", "model.learning_rate"}
    [[text]] = provenance(runs_table([run])).select("changes").rows()
    assert "step 7: trainer.max_steps 9 -> 12" in text
    assert "step 12: " in text


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--model.loss.init_args.gamma", "3.5"], "gamma 2.0 -> 3.5"),
        (["--model.loss", "segfocal.losses.DiceLoss", "--model.loss.init_args.task", "binary"], "DiceLoss"),
        (["--model.network.init_args.dropout", "0.3"], "dropout 0.2 -> 0.3"),
        (["--model.task", "binary"], "model.task null -> binary"),
        (["--data.init_args.foreground", "0.2"], "foreground 0.1 -> 0.2"),
    ],
    ids=["loss", "class of loss", "network", "task", "data"],
)
def test_another_experiment_is_refused(words, named, config, tmp_path, monkeypatch, capsys):
    run = interrupted(config, tmp_path / "run", monkeypatch, capsys)
    kept = {path: path.read_bytes() for path in run.glob("*.*") if path.name != LOCK}
    words = [*words, "--model.loss.init_args.ignore_index", "255"]
    assert main(["fit", "--resume", str(run), *words]) == 2
    error = capsys.readouterr().err
    assert named in error
    assert "--allow-changes" in error
    assert error.count("\n") == 1
    assert {path: path.read_bytes() for path in kept} == kept
    if "foreground" in named:
        assert main(["fit", "--resume", str(run), *words, "--allow-changes"]) == 0
        keys = [each["key"] for each in history(run)["entries"][-1]["changes"]]
        assert "data (sha256)" in keys
        assert read_info(run)["data"]["sha256"][:12] == history(run)["entries"][-1]["changes"][-1]["new"]


def test_a_config_changed_by_hand_is_noticed(config, tmp_path, monkeypatch, capsys):
    run = interrupted(config, tmp_path / "run", monkeypatch, capsys)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("gamma: 2.0", "gamma: 1.0"))
    assert main(["fit", "--resume", str(run)]) == 2
    assert "gamma 2.0 -> 1.0" in capsys.readouterr().err


def test_runs_without_a_history_are_compared_with_their_config(config, tmp_path, monkeypatch, capsys):
    run = interrupted(config, tmp_path / "run", monkeypatch, capsys)
    (run / "config_history.json").unlink()
    # a setting that was added since is no change
    settings = yaml.safe_load((run / "config.yaml").read_text())
    del settings["model"]["momentum"]
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "8"]) == 0
    [entry] = history(run)["entries"]
    assert [each["key"] for each in entry["changes"]] == ["trainer.max_steps"]


def test_settings_that_the_trainer_refuses_are_not_kept(config, tmp_path, monkeypatch, capsys):
    run = interrupted(config, tmp_path / "run", monkeypatch, capsys)
    assert main(["fit", "--resume", str(run), "--trainer.accelerator", "nonsense"]) == 2
    assert main(["fit", "--resume", str(run)]) == 0


def test_patience_given_on_resuming_counts(config, tmp_path):
    stopping = "{class_path: EarlyStopping, init_args: {monitor: val/loss, patience: %d, min_delta: 1000}}"
    text = config.read_text().replace("trainer: {", "trainer: {val_check_interval: 2, callbacks: [STOP], ")
    text = text.replace("max_steps: 9", "max_steps: 20")
    config.write_text(text.replace("STOP", stopping % 2))
    run = tmp_path / "run"
    assert main(["fit", "--config", str(config), "--run", str(run)]) == 0
    assert last(run)["global_step"] == 6
    config.write_text(text.replace("STOP", stopping % 4))
    assert main(["fit", "--resume", str(run), "--config", str(config)]) == 0
    assert last(run)["global_step"] == 10
