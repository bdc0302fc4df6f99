"""A fine-tuning that was stopped in or between its phases ends where an undisturbed one does."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from stop_at import StopAt

from segfocal.__main__ import main
from segfocal.runs.info import read_info
from segfocal.training.phases import run as phase_run

EMA = "{class_path: EMAWeightAveraging, init_args: {decay: 0.9}}"
PHASES = """
finetune:
  phases:
    - {name: head, train: [head], max_steps: 4, batch_norm: frozen, schedule: constant}
    - {name: decoder, train: [decoder, head], max_epochs: 1, learning_rate: {all: 0.003, head: 0.01}}
    - {name: all, max_steps: 5, layer_decay: 0.5, batch_norm: eval}
"""
PENALTIES = """
  penalties:
    - {class_path: segfocal.training.penalties.L2SP, init_args: {alpha: 0.1, beta: 0.01}}
  changes:
    - {class_path: segfocal.models.Dropout, init_args: {p: 0.3, where: decoder}}
"""


def last(run):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def same_end(one, other):
    first, second = last(one), last(other)
    assert first["global_step"] == second["global_step"]
    assert first["segfocal_phase"] == second["segfocal_phase"]
    for key in ("state_dict", "current_model_state"):
        for name, value in first.get(key, {}).items():
            assert torch.equal(value, second[key][name]), name
    starts = [stored["callbacks"]["Penalties"]["start"] for stored in (first, second)]
    assert all(torch.equal(value, starts[1][name]) for name, value in starts[0].items())
    moments = [stored["optimizer_states"][0]["state"] for stored in (first, second)]
    for index, state in moments[0].items():
        assert all(torch.equal(value, moments[1][index][name]) for name, value in state.items())
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    infos = [read_info(run) for run in (one, other)]
    assert infos[0]["extra"]["finetune"]["phases"] == infos[1]["extra"]["finetune"]["phases"]
    best = [info["checkpoints"]["best"] for info in infos]
    assert (best[0]["step"], best[0]["score"]) == (best[1]["step"], best[1]["score"])


def write_config(path, text, *, callbacks=EMA):
    lines = text.replace("max_steps: 9, ", "").replace("trainer: {", f"trainer: {{callbacks: [{callbacks}], ")
    path.write_text(lines.replace("  learning_rate: 0.01\n", f"  learning_rate: 0.01{PENALTIES}") + PHASES)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory, config_text):
    """Return the configuration, the checkpoint and the run directory of an undisturbed fine-tuning."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "pre.yaml").write_text(config_text)
    config = write_config(folder / "x.yaml", config_text)
    assert main(["fit", "--config", str(folder / "pre.yaml"), "--run", str(folder / "pre")]) == 0
    words = ["finetune", "--config", str(config), "--from", str(folder / "pre")]
    assert main([*words, "--run", str(folder / "run")]) == 0
    return words, folder / "run"


# phase 1 ends at step 4 within its epoch, phase 2 at step 10, phase 3 at step 15
@pytest.mark.parametrize(
    "stop",
    [
        {"step": 4},
        {"step": 7},
        *(
            pytest.param(stop, marks=pytest.mark.slow)
            for stop in ({"step": 2}, {"validation": 2}, {"step": 13})
        ),
    ],
)
def test_interrupted_fine_tuning_resumes_bit_for_bit(stop, whole, tmp_path, monkeypatch, capsys):
    words, run = whole
    with monkeypatch.context() as patch:
        StopAt(patch, **stop)
        assert main([*words, "--run", str(tmp_path / "run")]) == 130
    assert read_info(tmp_path / "run")["status"] == "interrupted"
    assert f"segfocal finetune --resume {tmp_path / 'run'}" in capsys.readouterr().err
    assert main(["finetune", "--resume", str(tmp_path / "run")]) == 0
    same_end(run, tmp_path / "run")


@pytest.mark.parametrize("moment", [pytest.param("_record", marks=pytest.mark.slow), "_enter"])
def test_stopped_between_two_phases(moment, whole, tmp_path, monkeypatch):
    """Before run.json says that a phase is done, and after; the network then comes from the checkpoint."""
    words, run = whole
    real = getattr(phase_run._Fits, moment)

    def fail(fits, active, *args, **end):
        if (moment == "_record" and end.get("last_step") == 4) or (moment == "_enter" and active.number == 2):
            raise OSError("the machine went away")
        return real(fits, active, *args, **end)

    with monkeypatch.context() as patch:
        patch.setattr(phase_run._Fits, moment, fail)
        assert main([*words, "--run", str(tmp_path / "run")]) == 2
    assert last(tmp_path / "run")["global_step"] == 4
    assert main(["finetune", "--resume", str(tmp_path / "run")]) == 0
    same_end(run, tmp_path / "run")


@pytest.mark.slow
def test_finished_fine_tuning_goes_on_in_a_further_phase(whole, tmp_path, capsys):
    words, _ = whole
    run = tmp_path / "run"
    assert main([*words, "--run", str(run), "--trainer.max_steps", "6"]) == 0
    assert "phase 'all' is not reached" in capsys.readouterr().out
    assert [phase.get("finished") for phase in read_info(run)["extra"]["finetune"]["phases"]] == [
        True,
        False,
        None,
    ]
    assert last(run)["global_step"] == 6
    assert main(["finetune", "--resume", str(run)]) == 0
    assert "nothing was left to train" in capsys.readouterr().out
    assert main(["finetune", "--resume", str(run), "--trainer.max_steps", "12"]) == 0
    phases = read_info(run)["extra"]["finetune"]["phases"]
    assert [(phase["first_step"], phase["last_step"]) for phase in phases] == [(0, 4), (4, 10), (10, 12)]
    assert last(run)["segfocal_phase"]["name"] == "all"


def test_what_cannot_go_on_is_refused(whole, tmp_path, capsys, monkeypatch):
    words, _ = whole
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        StopAt(patch, step=7)
        assert main([*words, "--run", str(run)]) == 130
    phases = yaml.safe_load(PHASES)["finetune"]["phases"]
    for number, change, message in (
        (1, {"train": ["head"]}, "phase 2 was trained with train ['decoder', 'head']"),
        (0, {"name": "first"}, "phase 1 was trained with name 'head'"),
        (1, {"learning_rate": 0.01}, "has 4 groups of learning rates in the checkpoint"),
    ):
        changed = [phase | (change if index == number else {}) for index, phase in enumerate(phases)]
        before = (run / "run.json").read_text()
        assert main(["finetune", "--resume", str(run), f"--finetune.phases={changed}"]) == 2
        assert message in capsys.readouterr().err
        assert (run / "run.json").read_text() == before
    assert main(["fit", "--resume", str(run)]) == 2
    assert "segfocal finetune --resume" in capsys.readouterr().err
    rates = [
        phase | ({"learning_rate": {"all": 0.5, "head": 0.25}} if index == 1 else {})
        for index, phase in enumerate(phases)
    ]
    assert (
        main(["finetune", "--resume", str(run), f"--finetune.phases={rates}", "--trainer.max_steps", "8"])
        == 0
    )
    groups = last(run)["optimizer_states"][0]["param_groups"]
    assert [group["initial_lr"] for group in groups] == [0.5, 0.5, 0.25, 0.25]


def test_changes_are_refused_or_kept_once_the_trainer_takes_them(whole, tmp_path, capsys, monkeypatch):
    words, _ = whole
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        StopAt(patch, step=7)
        assert main([*words, "--run", str(run)]) == 130
    files = [run / name for name in ("run.json", "config.yaml", "config_history.json")]
    before = [file.read_text() for file in files]
    other = ["finetune", "--resume", str(run), "--model.loss.init_args.gamma", "0.5"]
    capsys.readouterr()
    for more, message in (
        ([], "model.loss.init_args.gamma"),
        (["--allow-changes", "--trainer.accelerator", "nonsense"], "trainer"),
    ):
        assert main([*other, *more]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert message in line
        assert [file.read_text() for file in files[1:]] == before[1:]
    assert main([*other, "--allow-changes"]) == 0
    assert "changed at step 7: model.loss.init_args.gamma" in capsys.readouterr().out
    assert yaml.safe_load(files[1].read_text())["model"]["loss"]["init_args"]["gamma"] == 0.5


def start(words, folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SEGFOCAL_BACKEND": "eager"}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "segfocal", *words], env=environment, stdout=log, stderr=subprocess.STDOUT
        )


@pytest.mark.slow
def test_killed_fine_tuning_resumes_bit_for_bit(config_text, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGFOCAL_BACKEND", "eager")
    (tmp_path / "pre.yaml").write_text(config_text)
    config = write_config(
        tmp_path / "x.yaml", config_text.replace("batch_size: 2", "num_workers: 1, batch_size: 2")
    )
    config.write_text(
        config.read_text().replace("max_steps: 4", "max_steps: 40").replace("max_epochs: 1", "max_epochs: 8")
    )
    assert main(["fit", "--config", str(tmp_path / "pre.yaml"), "--run", str(tmp_path / "pre")]) == 0
    words = ["finetune", "--config", str(config), "--from", str(tmp_path / "pre"), "--run"]
    assert start([*words, str(tmp_path / "whole")], tmp_path).wait(timeout=120) == 0
    run = tmp_path / "killed"
    process = start([*words, str(run)], tmp_path)
    for step in (9, 47):  # in the first phase, and in the second
        for _ in range(18_000):
            entry = (
                read_info(run).get("checkpoints", {}).get("last", {}) if (run / "run.json").is_file() else {}
            )
            if entry.get("step", 0) >= step:
                break
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
        process = start(["finetune", "--resume", str(run)], tmp_path)
    assert process.wait(timeout=120) == 0
    same_end(tmp_path / "whole", run)
