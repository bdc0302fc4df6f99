"""A process killed while it records forgets no best score and shows no scores of other weights."""

import contextlib
import os

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from segfocal.__main__ import main
from segfocal.report.sources import read_sources
from segfocal.runs import RunPaths, checkpoint, file_sha256, read_info
from segfocal.runs.read import scan_cases, scan_metrics
from segfocal.training.checkpoints import RunCheckpoints


class Killed(BaseException):
    """Nothing catches it, like kill -9."""


@pytest.mark.parametrize(("mode", "at"), [("max", 0), ("min", 1)], ids=["first is best", "last is best"])
def test_the_best_is_found_again(config, tmp_path, monkeypatch, mode, at):
    words = ["fit", "--config", str(config), "--checkpoint.monitor", "val/loss", "--checkpoint.mode", mode]
    words += ["--trainer.val_check_interval", "3", "--run"]
    assert main([*words, str(tmp_path / "whole")]) == 0
    keep, calls = RunCheckpoints._keep_as_best, []

    def killed(self, trainer, module, score):
        calls.append(score)
        if len(calls) == at + 1:
            raise Killed
        keep(self, trainer, module, score)

    monkeypatch.setattr(RunCheckpoints, "_keep_as_best", killed)
    with pytest.raises(Killed):
        main([*words, str(tmp_path / "run")])
    monkeypatch.undo()
    assert ("best" in read_info(tmp_path / "run")["checkpoints"]) is (at > 0)
    assert main(["fit", "--resume", str(tmp_path / "run")]) == 0
    whole, resumed = (read_info(tmp_path / name)["checkpoints"] for name in ("whole", "run"))
    for which in ("best", "last"):
        keys = ("epoch", "step", "score")
        assert [resumed[which].get(key) for key in keys] == [whole[which].get(key) for key in keys]


OPERATIONS = ("replace", "fsync", "link", "unlink")


class KilledAt:
    """Dies before the given one of the file operations."""

    def __init__(self, monkeypatch, number):
        self.count, self.number = 0, number
        for name in OPERATIONS:
            monkeypatch.setattr(os, name, self.counted(getattr(os, name)))

    def counted(self, operation):
        def run(*arguments, **settings):
            self.count += 1
            if self.count == self.number:
                raise Killed
            if self.number is not None and self.count > self.number:
                raise Killed  # what a dying process would still do on its way out
            return operation(*arguments, **settings)

        return run


def shown_rows(run):
    """The validation rows that a report shows, by checkpoint."""
    sources = read_sources([run], stage="val") if scan_cases([run]).collect().height else None
    return set() if sources is None else set(sources.scores["checkpoint"].to_list())


def facts(run):
    """What a run says at its end, without times and hashes of files (which hold times)."""
    known = read_info(run)["checkpoints"]
    keys = ("epoch", "step", "score", "monitor")
    rows = scan_cases([run]).collect().drop("run", "checkpoint").sort("name", "threshold_kind")
    metrics = scan_metrics([run]).collect().drop("run").sort("step", "name")
    metrics = metrics.filter(~pl.col("name").str.contains("second|time"))
    return {which: [known[which].get(key) for key in keys] for which in known}, rows, metrics


def check_kill(config, tmp_path, monkeypatch, number, whole):
    run = tmp_path / f"run{number}"
    with monkeypatch.context() as patched:
        counter = KilledAt(patched, number)
        with contextlib.suppress(Killed):
            assert main(["fit", "--config", str(config), *EVERY_3, "--run", str(run)]) == 0
    if not (run / "checkpoints" / "last.ckpt").is_file():
        return counter.count
    best = run / "checkpoints" / "best.ckpt"
    known = read_info(run)["checkpoints"].get("best", {}).get("sha256")
    assert shown_rows(run) <= {str(known)[:12]}  # rows of other weights are never shown
    for which in ("best", "last"):
        if (run / "checkpoints" / f"{which}.ckpt").is_file():
            checkpoint(RunPaths(run), which)  # a kill is no damage
    assert main(["fit", "--resume", str(run)]) == 0
    assert read_info(run)["checkpoints"]["best"]["sha256"] == file_sha256(best)
    assert shown_rows(run) == {file_sha256(best)[:12]}
    found = facts(run)
    assert found[0] == whole[0]
    assert_frame_equal(found[1], whole[1])
    assert_frame_equal(found[2], whole[2])
    assert not list(run.rglob("*.tmp"))
    return counter.count


EVERY_3 = ("--trainer.val_check_interval", "3", "--trainer.max_steps", "6")


@pytest.fixture
def whole(config, tmp_path):
    assert main(["fit", "--config", str(config), *EVERY_3, "--run", str(tmp_path / "whole")]) == 0
    return facts(tmp_path / "whole")


@pytest.mark.parametrize("number", [12, 17, 22, 27])
def test_a_kill_between_file_operations_mixes_no_scores(config, tmp_path, monkeypatch, whole, number):
    check_kill(config, tmp_path, monkeypatch, number, whole)


@pytest.mark.slow
def test_a_kill_at_every_file_operation_mixes_no_scores(config, tmp_path, monkeypatch, whole):
    operations = check_kill(config, tmp_path, monkeypatch, None, whole)
    assert operations > 30
    for number in range(2, operations + 1, 2):  # every one of them was tried once: experiments/faults
        check_kill(config, tmp_path, monkeypatch, number, whole)
