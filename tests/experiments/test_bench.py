"""The benchmark: numbers are refused where they are wrong, rows are whole, tables come from rows."""

import contextlib
import csv
import time
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from experiments.bench import losses, rows
from experiments.bench.check import WrongNumberError, by_formula, check_all, gradient_error
from experiments.bench.nnunet import CrossEntropyAndDice
from experiments.bench.problems import (
    BINARY,
    PROBLEMS,
    SOFTMAX,
    chosen,
    fit_memory,
    floor_bytes,
    make,
)
from experiments.bench.providers import forced, of_torch, ours
from experiments.bench.references import FORMULAS
from experiments.bench.variants import TooLong, at_most, compiled
from segfocal.losses import backend_for


def wrong(stem, device="cpu", without=()):
    """Ours, a thousandth off."""
    provider, *others = *ours(stem, device), *of_torch(stem)
    return [replace(provider, loss=lambda x, y: 1.001 * provider.loss(x, y)), *others]


def test_every_row_has_every_column(tiny, tmp_path):
    assert tiny() == 0
    with (tmp_path / "results.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    # 3 of each stem by 3 modes by 2 dtypes; one more of softmax + Dice (nnU-Net's) and of rows (four lines)
    assert len(found) == (3 + 4 + 4) * 3 * 2
    for row in found:
        assert tuple(row) == rows.COLUMNS
        empty = {name for name, value in row.items() if value == ""}
        assert empty <= {"peak_mib", "commit"}
        assert float(row["times_floor"]) == pytest.approx(float(row["value"]) / float(row["floor_ms"]))


def test_wrong_number_is_refused(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(losses, "providers", wrong)
    assert tiny() == 1
    said = capsys.readouterr()
    assert "segfocal compiled is not 'binary focal'" in said.err
    assert "1.0e-03" in said.err
    assert not said.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_wrong_gradient_is_refused(dtype, problems):
    provider = next(ours(SOFTMAX, "cpu"))
    # the value stays
    bent = replace(provider, loss=lambda x, y: provider.loss(x.detach() + 1.02 * (x - x.detach()), y))
    with pytest.raises(WrongNumberError, match="of the gradient"):
        check_all(problems[SOFTMAX], [bent], dtype, "cpu")


def test_nan_is_refused(problems):
    provider = next(ours(BINARY, "cpu"))
    nowhere = replace(provider, loss=lambda x, y: provider.loss(x, y) * float("nan"))
    with pytest.raises(WrongNumberError):
        check_all(problems[BINARY], [nowhere], torch.float32, "cpu")


def test_peer_that_raises_is_left_out(capsys, problems):
    ours_first, peer = next(ours(BINARY, "cpu")), next(of_torch(BINARY))

    def fails(*_):
        raise RuntimeError("not here")

    found = check_all(problems[BINARY], [replace(peer, loss=fails), ours_first], torch.float32, "cpu")
    assert found == [ours_first]
    assert capsys.readouterr().out == "skipped: torch bce, not here\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_every_peer_follows_the_formula_it_is_said_to(problems):
    for stem, problem in problems.items():
        offered = losses.providers(stem, "cpu")
        assert set(by_formula(offered)) <= set(FORMULAS)
        assert check_all(problem, offered, torch.float32, "cpu") == offered
        assert sum(provider.formula == stem for provider in offered) >= 3  # of us two


@pytest.mark.slow
def test_nnunet_formula_is_that_of_nnunet(problems):
    dice = pytest.importorskip("nnunetv2.training.loss.dice")
    logits, labels = make(problems[SOFTMAX], torch.float32, "cpu")
    for batch_dice in (True, False):
        theirs = dice.MemoryEfficientSoftDiceLoss(
            lambda x: x.softmax(1), batch_dice=batch_dice, do_bg=False, smooth=1e-5, ddp=False
        )
        expected = F.cross_entropy(logits, labels.long()) + theirs(logits, labels.unsqueeze(1))
        found = CrossEntropyAndDice(batch_dice=batch_dice)(logits, labels)
        torch.testing.assert_close(found, expected)


def test_gradient_error_of_small_elements_counts():
    expected = torch.tensor([1.0, 0.1]).double()
    assert gradient_error(torch.tensor([1.0, 0.11]), expected, 0.0) == pytest.approx(0.1, rel=1e-4)
    assert gradient_error(expected.bfloat16(), expected, 2**-8) <= 0.0


def test_forced_backend_is_the_one_that_runs(monkeypatch):
    monkeypatch.delenv("SEGFOCAL_BACKEND", raising=False)
    logits = torch.zeros(1, 1, 8, 8)
    with forced("compiled"):
        assert backend_for(logits) == "compiled"
    assert backend_for(logits) == "eager"


def test_large_problem_is_cut_to_memory():
    body = PROBLEMS["body"]
    cut = fit_memory(body, 2**30)
    assert cut.shape[:2] == body.shape[:2]
    logits = cut.logits
    assert logits * 4 * 13 + logits // 104 * 8 <= 2**30 < 2 * (logits * 4 * 13 + logits // 104 * 8)


def test_cpu_leaves_out_what_takes_too_long(capsys):
    assert list(chosen(["street"], "cpu")) == []
    assert capsys.readouterr().out.startswith("skipped: street 4x19x512x1024")


def test_floor_is_that_of_the_logits_and_byte_labels(problems):
    problem = problems[SOFTMAX]
    logits, labels = make(problem, torch.bfloat16, "cpu")
    pixels = 2 * 8**3
    assert labels.nbytes == pixels
    assert floor_bytes(problem, logits) == {
        "forward": pixels * (3 * 2 + 1),
        "backward": pixels * (2 * 3 * 2 + 1),
        "forward+gradient": pixels * (3 * 3 * 2 + 2),
    }


def sleep_through_exceptions():
    with at_most(0.01), contextlib.suppress(Exception):
        time.sleep(5)


def test_time_limit_stops_a_compiler():
    with pytest.raises(TooLong, match="more than 0 s"):
        sleep_through_exceptions()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_provider_or_a_line_that_says_why_not(capsys, problems):
    logits, labels = make(problems[BINARY], torch.float32, "cpu")
    leaf, provider = logits.requires_grad_(), next(of_torch(BINARY))
    assert compiled(provider, leaf, labels.float(), 300.0).label == "torch bce, torch.compile"

    def other(x, y):
        return provider.loss(x, y) * (2 if torch.compiler.is_compiling() else 1)

    assert compiled(replace(provider, loss=other), leaf, labels.float(), 300.0) is None
    assert "before it was compiled" in capsys.readouterr().out
