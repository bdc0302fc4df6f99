"""Penalties and changed networks from a configuration: run directories, resuming, loading."""

import polars as pl
import pytest
import torch

import segfocal
from segfocal.__main__ import main
from segfocal.runs.info import read_info
from segfocal.training.checkpoints import RunCheckpoints

PENALTIES = "segfocal.training.penalties"


def last(run):
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def same_weights(one, other):
    first, second = last(one), last(other)
    for key in ("state_dict", "current_model_state"):
        for name, value in first.get(key, {}).items():
            assert torch.equal(value, second[key][name]), name
    for state, wanted in zip(first["optimizer_states"], second["optimizer_states"], strict=True):
        for index, moments in state["state"].items():
            for name, value in moments.items():
                assert torch.equal(value, wanted["state"][index][name]), name


def with_model(config, path, text):
    """Write the configuration with further lines in its model section."""
    lines = config.read_text().replace("  learning_rate: 0.01\n", f"  learning_rate: 0.01\n{text}")
    path.write_text(lines)
    return path


def penalised(**strengths):
    rows = [
        f"    - {{class_path: {PENALTIES}.{name}, init_args: {arguments}}}\n"
        for name, arguments in strengths.items()
    ]
    return "  penalties:\n" + "".join(rows)


ZERO = penalised(
    L1="{strength: 0}", L2="{strength: 0}", L2SP="{alpha: 0, beta: 0}", ConfidencePenalty="{strength: 0}"
)
NO_DROPOUT = "  changes:\n    - {class_path: segfocal.models.Dropout, init_args: {p: 0.0}}\n"


def test_strength_zero_is_the_run_without_it(config, tmp_path):
    changed = with_model(config, tmp_path / "zero.yaml", ZERO + NO_DROPOUT)
    plain, zero = tmp_path / "plain", tmp_path / "zero"
    assert main(["fit", "--config", str(config), "--run", str(plain)]) == 0
    assert main(["fit", "--config", str(changed), "--run", str(zero)]) == 0
    same_weights(plain, zero)
    same_weights(zero, plain)


ALL = (
    penalised(
        L1="{strength: 1e-4}",
        L2="{strength: 1e-3}",
        L2SP="{alpha: 0.01, beta: 0.01}",
        ConfidencePenalty="{strength: 0.1}",
    )
    + "  schedule: constant\n"
    + """\
  changes:
    - {class_path: segfocal.models.Dropout, init_args: {p: 0.2, where: head, kind: block}}
    - {class_path: segfocal.models.Pooling, init_args: {kind: blur}}
"""
)
EMA = "{class_path: EMAWeightAveraging, init_args: {decay: 0.9}}"


@pytest.fixture(scope="module")
def penalised_run(tmp_path_factory, config_text):
    """Return a finished run with every penalty and change, and its configuration."""
    folder = tmp_path_factory.mktemp("penalised")
    (folder / "tiny.yaml").write_text(config_text.replace("trainer: {", f"trainer: {{callbacks: [{EMA}], "))
    path = with_model(folder / "tiny.yaml", folder / "all.yaml", ALL)
    assert main(["fit", "--config", str(path), "--run", str(folder / "run")]) == 0
    return folder / "run", path


def test_run_logs_apart_and_lists_what_is_exempt(penalised_run):
    run, _ = penalised_run
    names = set(pl.read_csv(run / "metrics.csv")["name"])
    assert {f"penalty/{kind}" for kind in ("L1", "L2", "L2SP", "ConfidencePenalty")} <= names
    assert {"penalty/L1/sparsity", "norm/encoder", "norm/all", "distance/start/decoder"} <= names
    listed = read_info(run)["extra"]["penalties"]
    assert listed[0]["penalty"] == "L1(0.0001, proximal=True, norm_and_bias=False)"
    assert "head.bias" in listed[0]["exempt"]
    assert "head.weight" not in listed[0]["exempt"]


def test_resumed_run_ends_in_the_same_weights(penalised_run, tmp_path, monkeypatch):
    """Stopped within an epoch: the start, the averages and the random states all come back."""
    whole, path = penalised_run
    run = tmp_path / "run"
    batch_end = RunCheckpoints.on_train_batch_end

    def stop_at_four(callback, trainer, *args):
        if trainer.global_step == 4:
            callback.stop.name = "SIGINT"
        batch_end(callback, trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(RunCheckpoints, "on_train_batch_end", stop_at_four)
        assert main(["fit", "--config", str(path), "--run", str(run)]) == 130
    start = last(run)["callbacks"]["Penalties"]["start"]
    assert main(["fit", "--resume", str(run)]) == 0
    same_weights(whole, run)
    kept = last(run)["callbacks"]["Penalties"]["start"]
    assert all(torch.equal(value, start[name]) for name, value in kept.items())
    assert (whole / "metrics.csv").read_text() == (run / "metrics.csv").read_text()


def test_changed_network_is_rebuilt_from_its_run(penalised_run):
    network = segfocal.load(penalised_run[0]).network
    assert network.stem.stride == (1, 1)
    assert len(network.head._forward_pre_hooks) == 1


def test_l2sp_without_a_start_is_refused_on_resuming(config, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["fit", "--config", str(config), "--run", str(run), "--trainer.max_steps", "2"]) == 0
    words = ["--model.penalties+", f"{PENALTIES}.L2SP", "--model.penalties.init_args.alpha", "0.1"]
    words += ["--model.penalties.init_args.beta", "0.1", "--trainer.max_steps", "4", "--allow-changes"]
    assert main(["fit", "--resume", str(run), *words]) == 2
    assert "the checkpoint holds none" in capsys.readouterr().err
