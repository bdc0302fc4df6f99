"""Studies with real trainings: the one that continuous integration kills, a search, and the real parser."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from study_fakes import CONFIG, STUDY, planned

from segfocal.__main__ import main
from segfocal.errors import SegfocalError
from segfocal.runs import RunPaths, read_info
from segfocal.study.folder import StudyFolder
from segfocal.study.plan import plan_study
from segfocal.study.validation import check_arms

STUDIES = Path(__file__).parents[2] / "configs" / "study"


def segfocal(*words, check=True):
    """Run a command in a process of its own, with one thread and without a compiler."""
    environment = os.environ | {"SEGFOCAL_BACKEND": "eager", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "segfocal", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def start(*words):
    environment = os.environ | {"SEGFOCAL_BACKEND": "eager"}
    command = [sys.executable, "-m", "segfocal", *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def outcomes(folder):
    return {name: folder.paths(name).outcome.stat().st_mtime_ns for name in done(folder)}


def done(folder):
    return {name for name in folder.cells if folder.paths(name).state() == "done"}


@pytest.mark.slow
def test_smoke_study_is_killed_and_completes_what_is_missing(tmp_path):
    out = tmp_path / "smoke"
    segfocal("study", "plan", STUDIES / "smoke.yaml", "--out", out)
    folder = StudyFolder(out)
    runner = start("study", "run", out, "--jobs", "2", "--threads", "1")
    end = time.monotonic() + 600
    while len(done(folder)) < 4:
        assert runner.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    runner.send_signal(signal.SIGKILL)
    runner.wait(10)
    time.sleep(1)
    status = json.loads(segfocal("study", "status", out, "--json").stdout)
    assert status["running"] == 0
    assert status["done"] + status["waiting"] == status["cells"] == len(folder.cells)
    before = outcomes(folder)
    segfocal("study", "run", out, "--jobs", "2", "--threads", "1")
    assert done(folder) == set(folder.cells)
    assert {name: time_ns for name, time_ns in outcomes(folder).items() if name in before} == before
    for name, cell in folder.cells.items():
        outcome = folder.paths(name).read_outcome()
        assert outcome["attempts"] in ((1,) if name in before else (1, 2))
        if cell["kind"] == "arm":
            rows = pl.read_parquet(RunPaths(folder.paths(name).run).cases)
            assert rows.filter(pl.col("stage") == "test")["name"].n_unique() == 12
    accepted = json.loads((out / "validated.json").read_text())
    assert set(accepted) == set(folder.plan["bases"])
    segfocal("study", "report", out, "--out", tmp_path / "report")


@pytest.mark.slow
def test_search_takes_the_best_trial_on_validation(tmp_path):
    study = STUDY.replace("[0, 1]", "[0]").replace(
        "  - {name: pretrain, config: base.yaml, arms: false}\n", ""
    )
    study = study.replace(", from: pretrain", "")
    study += "search: {trials: 2, common: {model.learning_rate: {low: 1e-4, high: 1e-1, log: true}}}\n"
    folder = planned(tmp_path, study=study, config=CONFIG)
    segfocal("study", "run", folder.root, "--jobs", "2", "--threads", "1")
    assert done(folder) == set(folder.cells)
    for cell in folder.cells.values():
        if cell["kind"] == "search":
            rows = pl.read_parquet(RunPaths(folder.paths(cell["id"]).run).cases)
            assert set(rows["stage"]) == {"val"}
            continue
        runs = {trial: RunPaths(folder.paths(trial).run) for trial in cell["needs"]}
        scores = {trial: read_info(run)["checkpoints"]["best"]["score"] for trial, run in runs.items()}
        best = max(scores, key=scores.__getitem__)
        outcome = folder.paths(cell["id"]).read_outcome()
        assert outcome["overrides"] == folder.cells[best]["overrides"]
        assert outcome["trial"] == best
        used = folder.paths(cell["id"]).config.read_text()
        assert f"learning_rate: {outcome['overrides']['model.learning_rate']}" in used


@pytest.mark.slow
def test_real_parser_names_the_arm(tmp_path):
    wrong = STUDY.replace("focal: {}", "focal: {model.loss.init_args.gamma: -1}")
    with pytest.raises(SegfocalError, match=r"focal data .*gamma"):
        check_arms(planned(tmp_path / "wrong", study=wrong))
    default = STUDY.replace("focal: {}", "focal: {}\n  same: {model.loss.init_args.gamma: 2.0}")
    with pytest.raises(
        SegfocalError, match="'focal' and 'same' resolve to the same configuration, defaults included"
    ):
        check_arms(planned(tmp_path / "default", study=default))


@pytest.mark.data
def test_regularisers_plan_on_the_real_images(real_data, tmp_path, monkeypatch):
    folders = [real_data(name) for name in ("chase_db1", "dsb2018_nuclei", "hippocampus_msd")]
    monkeypatch.setenv("SEGFOCAL_DATA", str(folders[0].parent))
    plan = plan_study(STUDIES / "regularisers.yaml", out=tmp_path / "out").plan
    clusters = {row["dataset"].split("-")[0]: row["clusters"] for row in plan["contrasts"]}
    assert clusters == {"chase": 14, "nuclei": 538, "hippocampus": 260}  # children, images, volumes
    folds = {"chase": 7, "nuclei": 5, "hippocampus": 5}
    sets = 2 * sum(folds.values())
    assert len(plan["cells"]) == sets * (3 + 24 * 3 + 24 * 6)


def test_plan_tries_each_loss_on_each_data_set(tmp_path, monkeypatch, capsys):
    """Of two data sets one has unlabelled pixels, of two arms one knows about them."""
    monkeypatch.chdir(tmp_path)
    study = """\
name: ignored
seeds: [0]
stages: [{name: train, config: base.yaml}]
datasets:
  whole: {data.init_args.ignore_index: null, model.loss.init_args.ignore_index: null}
  parts: {}
arms:
  dice: {}
  focal: {model.loss: {class_path: FocalLoss, init_args: {task: binary}}}
baseline: dice
contrasts: [[focal, dice]]
"""
    (tmp_path / "base.yaml").write_text(CONFIG)
    (tmp_path / "study.yaml").write_text(study)
    words = ["study", "plan", "study.yaml", "--out", "out"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "focal parts seed 0: FocalLoss has ignore_index=None, but the data mark" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
    (tmp_path / "study.yaml").write_text(study.replace("ignore_index: null, model", "test_images: 0, model"))
    assert main(words) == 2
    assert "the data have no test images, and arms are compared on them" in capsys.readouterr().err
    (tmp_path / "study.yaml").write_text(study.replace("binary}}", "binary, ignore_index: 255}}"))
    assert main(words) == 0
    assert (tmp_path / "out" / "validated.json").is_file()
