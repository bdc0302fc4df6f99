"""A process killed between writing last.ckpt and best.ckpt has not forgotten the best score."""

import pytest

from segfocal.__main__ import main
from segfocal.runs import read_info
from segfocal.training.checkpoints import RunCheckpoints


class Killed(BaseException):
    """Nothing catches it, like kill -9."""


@pytest.mark.parametrize(("mode", "at"), [("max", 0), ("min", 1)], ids=["first is best", "last is best"])
def test_the_best_is_found_again(config, tmp_path, monkeypatch, mode, at):
    words = ["fit", "--config", str(config), "--checkpoint.monitor", "val/loss", "--checkpoint.mode", mode]
    words += ["--trainer.val_check_interval", "3", "--run"]
    assert main([*words, str(tmp_path / "whole")]) == 0
    keep, calls = RunCheckpoints._keep_as_best, []

    def killed(self, trainer, score):
        calls.append(score)
        if len(calls) == at + 1:
            raise Killed
        keep(self, trainer, score)

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
