import sys
from dataclasses import replace

import pytest

from segfocal.errors import SegfocalError
from segfocal.training.tuning.search import Search, best_of, run_search
from segfocal.training.tuning.space import Choice, Range

SPACE = {"x": Range(-1.0, 1.0), "kind": Choice((None, "a", [1, 2]))}


class Bowl:
    """A score with its maximum at x = 0.3; it can die, or fail for some values."""

    def __init__(self, *, dies_at=None, fails_at=()):
        self.calls, self.dies_at, self.fails_at = [], dies_at, fails_at

    def __call__(self, values, folder, fold):
        self.calls.append((folder.name, fold, values["x"], values["kind"]))
        if len(self.calls) - 1 == self.dies_at:
            raise KeyboardInterrupt
        if len(self.calls) - 1 in self.fails_at:
            raise SegfocalError("the loss became nan")
        return 1 - (values["x"] - 0.3) ** 2 + 0.01 * fold


@pytest.fixture
def search(tmp_path):
    return Search(SPACE, tmp_path / "out", trials=6, folds=2)


def test_trials_are_scored_on_every_fold(search):
    bowl = Bowl()
    tried = run_search(search, bowl)
    assert [each.name for each in tried] == [f"{number:04d}" for number in range(6)]
    assert len(bowl.calls) == 12
    for each in tried:
        assert each.scores == tuple(1 - (each.values["x"] - 0.3) ** 2 + 0.01 * fold for fold in (0, 1))
        assert each.mean == pytest.approx(sum(each.scores) / 2)
        assert each.values["kind"] in (None, "a", [1, 2])
    best = best_of(tried, mode="max")
    assert abs(best.values["x"] - 0.3) == min(abs(each.values["x"] - 0.3) for each in tried)
    assert best_of(tried, mode="min").mean == min(each.mean for each in tried)


def test_the_seed_decides_what_is_tried(search, tmp_path):
    first = run_search(search, Bowl())
    again = run_search(replace(search, folder=tmp_path / "again"), Bowl())
    other = run_search(replace(search, folder=tmp_path / "other", seed=1), Bowl())
    assert again == first
    assert [each.values for each in other] != [each.values for each in first]


@pytest.mark.parametrize("dies_at", [0, 1, 5, 10])
def test_an_interrupted_search_ends_like_any_other(search, tmp_path, dies_at):
    whole = run_search(replace(search, folder=tmp_path / "whole"), Bowl())
    with pytest.raises(KeyboardInterrupt):
        run_search(search, dying := Bowl(dies_at=dies_at))
    bowl = Bowl()
    resumed = run_search(search, bowl)
    assert resumed == whole
    # the trial that died is asked for again with its values, in its folder; what was over is not
    assert bowl.calls[0] == (dying.calls[-1][0], 0, *dying.calls[-1][2:])
    assert len(bowl.calls) == 12 - 2 * (dies_at // 2)


def test_the_same_call_again_runs_nothing_and_more_trials_go_on(search):
    first = run_search(search, Bowl())
    bowl = Bowl()
    assert run_search(search, bowl) == first
    assert not bowl.calls
    more = run_search(replace(search, trials=8), bowl)
    assert more[:6] == first
    assert len(bowl.calls) == 4


def test_a_failed_trial_counts_and_says_why(search):
    tried = run_search(search, Bowl(fails_at=(3,)))
    assert [each.state for each in tried] == ["complete", "failed", *["complete"] * 4]
    assert tried[1].error == "the loss became nan"
    assert len(tried[1].scores) == 1


def test_a_trial_that_another_package_ends_counts_and_says_why(search):
    def score(values, folder, fold):
        if folder.name == "0001":
            raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")
        return 0.5

    tried = run_search(search, score)
    assert [each.state for each in tried[:3]] == ["complete", "failed", "complete"]
    assert "out of memory" in tried[1].error
    assert "\n" not in tried[1].error


def test_a_first_training_that_fails_ends_the_search_and_is_tried_again(search):
    with pytest.raises(SegfocalError, match="became nan"):
        run_search(search, failing := Bowl(fails_at=(0,)))
    bowl = Bowl()
    assert len(run_search(search, bowl)) == 6
    assert bowl.calls[0] == failing.calls[0]


def test_pruning_saves_folds_of_trials_below_the_median(search):
    bowl = Bowl()
    tried = run_search(replace(search, trials=14, prune=True), bowl)
    pruned = [each for each in tried if each.state == "pruned"]
    assert pruned
    assert all(len(each.scores) == 1 for each in pruned)
    assert len(bowl.calls) == 28 - len(pruned)
    complete = sorted(each.scores[0] for each in tried if each.state == "complete")
    assert max(each.scores[0] for each in pruned) < complete[-1]
    assert best_of(tried, mode="max").state == "complete"


def test_only_complete_trials_can_be_best(search):
    with pytest.raises(SegfocalError, match="none of 0 trials"):
        best_of([], mode="max")


def test_one_search_at_a_time(search):
    def nested(values, folder, fold):
        with pytest.raises(SegfocalError, match="in use by `segfocal tune`, process"):
            run_search(search, Bowl())
        return 0.0

    assert len(run_search(replace(search, trials=1), nested)) == 1


def test_without_optuna_the_extra_is_named(search, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SegfocalError, match=r"pip install 'segfocal\[tune\]'"):
        run_search(search, Bowl())
