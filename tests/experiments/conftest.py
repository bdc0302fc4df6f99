"""The experiments are no package that is installed: they are imported from the checkout."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture
def problems():
    """Tiny problems by stem."""
    from experiments.bench.problems import BINARY, ROWS, SOFTMAX, Problem

    found = (
        Problem("image", BINARY, (2, 1, 16, 16)),
        Problem("volume", SOFTMAX, (2, 3, 8, 8, 8)),
        Problem("tokens", ROWS, (32, 9)),
    )
    return {problem.stem: problem for problem in found}


@pytest.fixture
def tiny(monkeypatch, tmp_path, problems):
    """Run the command on tiny problems, one round, ours and torch's own alone: no peer is imported."""
    from experiments.bench import losses
    from experiments.bench.problems import PROBLEMS
    from experiments.bench.providers import of_torch, ours

    for problem in problems.values():
        monkeypatch.setitem(PROBLEMS, problem.name, problem)
    monkeypatch.setitem(losses.DEFAULT, "cpu", tuple(problem.name for problem in problems.values()))
    monkeypatch.setattr(losses, "providers", lambda stem, device, _: [*ours(stem, device), *of_torch(stem)])
    monkeypatch.setattr(losses, "copy_rate", lambda *_: 1e9)

    def run(*words):
        return losses.main(["--rounds", "1", "--threads", "1", "--write", "--out", str(tmp_path), *words])

    return run
