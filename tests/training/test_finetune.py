"""segfocal finetune from the command line: what it trains, logs, records and refuses."""

import io
import json
import os
import zipfile

import polars as pl
import pytest
import torch
from monai.bundle import init_bundle
from monai.networks.nets import UNet
from safetensors.torch import save_file
from torch import nn

from segfocal.__main__ import main
from segfocal.models import SmallUNet
from segfocal.runs.info import read_info
from segfocal.training.checkpoints import RunCheckpoints

PHASES = """
finetune:
  phases:
    - {name: head, train: [head], max_steps: 3, batch_norm: frozen, learning_rate: 0.1}
    - {name: upper, train: [decoder, head], max_epochs: 1, learning_rate: {all: 0.003, head: 0.01}}
    - {name: everything, max_steps: 3, layer_decay: 0.5, batch_norm: eval, schedule: constant}
"""


@pytest.fixture
def plain(tmp_path, config_text, monkeypatch):
    """Return a configuration without an end and without phases."""
    monkeypatch.setenv("SEGFOCAL_BACKEND", "eager")
    path = tmp_path / "x.yaml"
    path.write_text(config_text.replace("max_steps: 9, ", "").replace("dropout: 0.2", "dropout: 0.1"))
    return path


@pytest.fixture
def weights(tmp_path):
    """Return a file of the configuration's network."""
    torch.manual_seed(7)
    path = tmp_path / "old.pth"
    torch.save({"model": SmallUNet(1, 1, channels=(4, 8)).state_dict()}, path)
    return path


def finetune(config, source, run, *words):
    return main(["finetune", "--config", str(config), "--from", str(source), "--run", str(run), *words])


def network_in(path):
    state = torch.load(path, weights_only=True)["state_dict"]
    return {
        name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")
    }


def test_phases_train_what_they_say_and_nothing_else(plain, weights, tmp_path, monkeypatch, capsys):
    plain.write_text(plain.read_text() + PHASES)
    states = {0: torch.load(weights, weights_only=True)["model"]}
    save = RunCheckpoints.save_last

    def keep(callback, trainer, *, score=None):
        save(callback, trainer, score=score)
        states[trainer.global_step] = network_in(callback.run.checkpoints / "last.ckpt")

    monkeypatch.setattr(RunCheckpoints, "save_last", keep)
    run = tmp_path / "run"
    lowest = ["--checkpoint.monitor", "val/loss", "--checkpoint.mode", "min"]
    assert finetune(plain, weights, run, *lowest) == 0

    def moved(first, last):
        return {name for name, value in states[last].items() if not torch.equal(value, states[first][name])}

    assert moved(0, 3) == {"head.weight", "head.bias"}
    upper = moved(3, 9)
    assert {"head.weight", "decoder.0.body.0.weight", "decoder.0.body.1.running_mean"} <= upper
    assert all(name.startswith(("head", "decoder")) for name in upper)
    last = moved(9, 12)
    assert {"stem.weight", "encoder.0.body.1.weight"} <= last
    assert not any("running" in name or "tracked" in name for name in last)

    log = pl.read_csv(run / "metrics.csv")
    assert log["step"].is_sorted()
    phase = log.filter(pl.col("name") == "phase")
    assert dict(zip(phase["step"], phase["value"], strict=True)) == {
        2: 1.0, 3: 1.0, 4: 2.0, 6: 2.0, 8: 2.0, 9: 2.0, 10: 3.0, 12: 3.0,
    }  # fmt: skip
    assert log.filter(pl.col("name") == "val/dice")["step"].to_list() == [3, 9, 12]
    losses = log.filter(pl.col("name") == "val/loss").sort("value")
    best = read_info(run)["checkpoints"]["best"]  # of all phases
    assert (best["step"], best["score"]) == (losses["step"][0], pytest.approx(losses["value"][0]))
    rates = log.filter((pl.col("name") == "learning_rate") & (pl.col("step") >= 10))["value"]
    assert rates.to_list() == pytest.approx([0.01, 0.01])
    assert "phase 1 of 3, head: 2 of 25 tensors (65 weights), learning rate 0.1" in capsys.readouterr().out
    check_facts(read_info(run))
    assert main(["generate", "--out", str(tmp_path / "new"), "--count", "1", "--size", "32"]) == 0
    pictures = ["--images", str(tmp_path / "new" / "images"), "--out", str(tmp_path / "out")]
    for words in (["validate"], ["test"], ["predict", *pictures]):
        assert main([*words, "--run", str(run)]) == 0


def check_facts(info):
    facts = info["extra"]["finetune"]
    assert info["status"] == "finished"
    assert facts["phase"] == {"name": "everything", "number": 3}
    assert facts["report"]["path"].endswith("old.pth")
    assert (facts["report"]["matched"], len(facts["report"]["sha256"])) == (1.0, 64)
    names = ("name", "trained_tensors", "first_step", "last_step", "finished")
    assert [[phase[name] for name in names] for phase in facts["phases"]] == [
        ["head", 2, 0, 3, True], ["upper", 9, 3, 9, True], ["everything", 25, 9, 12, True],
    ]  # fmt: skip
    upper = facts["phases"][1]["learning_rates"]
    assert [(group["part"], group["learning_rate"], group["tensors"]) for group in upper] == [
        ("all", 0.003, 3), ("all", 0.003, 4), ("head", 0.01, 1), ("head", 0.01, 1),
    ]  # fmt: skip


def test_callbacks_of_the_configuration_begin_anew_in_each_phase(plain, weights, tmp_path):
    """It stops at the first validation, of the second phase as of the first."""
    stop = "{class_path: EarlyStopping, init_args: {monitor: val/loss, mode: min, stopping_threshold: 100}}"
    phases = "[{name: head, train: [head], max_epochs: 4}, {name: all, max_steps: 9}]"
    words = [f"--trainer.callbacks=[{stop}]", f"--finetune.phases={phases}"]
    words += ["--data.init_args.patches_per_epoch", "4"]
    assert finetune(plain, weights, tmp_path / "run", *words) == 0
    found = read_info(tmp_path / "run")["extra"]["finetune"]["phases"]
    assert [(phase["first_step"], phase["last_step"], phase["finished"]) for phase in found] == [
        (0, 2, True),
        (2, 4, True),
    ]


def test_no_phases_is_one_that_trains_everything(plain, weights, tmp_path):
    run = tmp_path / "run"
    assert finetune(plain, weights, run, "--trainer.max_steps", "2") == 0
    facts = read_info(run)["extra"]["finetune"]
    assert [(phase["name"], phase["trained_tensors"]) for phase in facts["phases"]] == [("all", 25)]
    assert main(["finetune", "--resume", str(run), "--trainer.max_steps", "3"]) == 0
    assert read_info(run)["checkpoints"]["last"]["step"] == 3


def test_l2sp_starts_from_the_loaded_weights_and_takes_a_new_head_for_new(plain, weights, tmp_path):
    penalty = "{class_path: segfocal.training.penalties.L2SP, init_args: {alpha: 0.1, beta: 0.01}}"
    run = tmp_path / "run"
    words = ["--trainer.max_steps", "2", "--finetune.new_head", "true", f"--model.penalties=[{penalty}]"]
    assert finetune(plain, weights, run, *words) == 0
    loaded = torch.load(weights, weights_only=True)["model"]
    start = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["callbacks"]["Penalties"]["start"]
    parameters = {name for name, _ in SmallUNet(1, 1, channels=(4, 8)).named_parameters()}
    assert set(start) == parameters - {"head.weight", "head.bias"}
    assert all(torch.equal(value, loaded[name]) for name, value in start.items())
    info = read_info(run)
    report, listed = info["extra"]["finetune"]["report"], info["extra"]["penalties"][0]
    assert report["reinitialised"] == {"head.weight": [[4, 1, 4, 4]] * 2, "head.bias": [[1], [1]]}
    assert report["head_prior"] is True
    assert set(listed["exempt"]) == {name for name in parameters if loaded[name].ndim < 2}
    log = pl.read_csv(run / "metrics.csv")["name"].to_list()
    assert {"penalty/L2SP", "distance/start/encoder", "norm/head"} <= set(log)
    assert "distance/start/head" not in log


KINDS = {
    "L1": "strength: 0",
    "L2": "strength: 0",
    "L2SP": "alpha: 0, beta: 0",
    "ConfidencePenalty": "strength: 0",
}


@pytest.mark.slow
def test_strength_zero_is_the_run_without_it(plain, weights, tmp_path):
    plain.write_text(plain.read_text() + PHASES)
    assert finetune(plain, weights, tmp_path / "without") == 0
    wanted = network_in(tmp_path / "without/checkpoints/last.ckpt")
    for kind, arguments in KINDS.items():
        penalty = f"{{class_path: segfocal.training.penalties.{kind}, init_args: {{{arguments}}}}}"
        assert finetune(plain, weights, tmp_path / kind, f"--model.penalties=[{penalty}]") == 0
        found = network_in(tmp_path / kind / "checkpoints/last.ckpt")
        assert all(torch.equal(value, wanted[name]) for name, value in found.items()), kind


def test_a_trained_head_keeps_its_bias_though_the_configuration_of_a_fit_sets_one(plain, weights, tmp_path):
    start = torch.load(weights, weights_only=True)["model"]
    words = ["--model.head_prior", "measured", "--trainer.max_steps", "1", "--model.learning_rate", "1e-12"]
    assert finetune(plain, weights, tmp_path / "run", *words) == 0
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(last["network.head.bias"], start["head.bias"], rtol=0, atol=1e-6)


def test_a_new_head_starts_at_the_measured_frequencies(plain, weights, tmp_path, monkeypatch):
    from segfocal.training.verbs import finetune as finetune_command

    seen = {}
    load = finetune_command.load_pretrained

    def spy(network, path, **settings):
        report = load(network, path, **settings)
        seen["bias"] = network.head.bias.item()
        return report

    monkeypatch.setattr(finetune_command, "load_pretrained", spy)
    words = ["--trainer.max_steps", "1", "--finetune.new_head", "true"]
    assert finetune(plain, weights, tmp_path / "measured", *words) == 0
    ((negatives, positives),) = read_info(tmp_path / "measured")["class_counts"]
    assert seen["bias"] == pytest.approx(torch.tensor(positives / negatives).log().item())
    assert finetune(plain, weights, tmp_path / "given", *words, "--finetune.head_prior", "0.01") == 0
    assert seen["bias"] == pytest.approx(-4.5951, abs=1e-4)
    assert finetune(plain, weights, tmp_path / "old", *words[:2]) == 0
    assert seen["bias"] == torch.load(weights, weights_only=True)["model"]["head.bias"].item()


class Runs:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def write_hostile(kind, path, ran):
    state = SmallUNet(1, 1, channels=(4, 8)).state_dict()
    if kind == "code":
        torch.save(state | {"extra": Runs(ran)}, path)
    elif kind == "bomb":
        content = io.BytesIO()
        torch.save(state, content)
        with zipfile.ZipFile(content) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for entry in old.infolist():
                new.writestr(entry.filename, old.read(entry))
            new.writestr("archive/data/99", b"\0" * 10_000_000)
    elif kind == "truncated":
        save_file(state, path)
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "script":
        torch.jit.save(torch.jit.script(nn.Conv2d(1, 1, 1)), path)
    elif kind == "other":
        torch.save(UNet(2, 1, 2, channels=(4, 8), strides=(2,)).state_dict(), path)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("code", "found posix.mkdir: reading them would run code"),
        ("bomb", "times its size: it was not unpacked"),
        ("truncated", "found a damaged or incomplete file"),
        ("script", "found a TorchScript archive"),
        ("other", "Expected at least 50% of the 43 tensors of SmallUNet"),
        ("missing", "--from must name a file or folder"),
    ],
)
def test_hostile_files_are_refused_and_leave_nothing_behind(kind, message, plain, tmp_path, capsys):
    suffix = "safetensors" if kind == "truncated" else "pth"
    path = tmp_path / f"file.{suffix}"
    write_hostile(kind, path, tmp_path / "ran")
    before = sorted(tmp_path.iterdir())
    assert finetune(plain, path, tmp_path / "run", "--trainer.max_steps", "1") == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    if kind == "code":
        out = path.with_suffix(".safetensors")
        assert f"segfocal convert --trust {path} --out {out}" in shown
    assert sorted(tmp_path.iterdir()) == before


def test_a_bundle_is_read_and_not_evaluated(plain, tmp_path, capsys):
    bundle, marker = tmp_path / "bundle", tmp_path / "ran"
    init_bundle(bundle, network=SmallUNet(1, 1, channels=(4, 8)))
    touch = f"$__import__('pathlib').Path({str(marker)!r}).touch()"
    (bundle / "configs" / "inference.json").write_text(
        json.dumps({"imports": ["$import os", touch], "network_def": touch})
    )
    assert finetune(plain, bundle, tmp_path / "run", "--trainer.max_steps", "1") == 0
    assert not marker.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--finetune.phases=[{name: a, train: [decodr], max_steps: 1}]"], "Did you mean 'decoder'"),
        (
            ["--finetune.phases=[{name: a, trian: [head], max_steps: 1}]"],
            "has no argument 'trian'. Did you mean 'train'?",
        ),
        (
            ["--finetune.phases=[{name: a, max_steps: two}]"],
            "finetune.phases.max_steps must be int, got 'two'",
        ),
        (
            ["--finetune.phases=[{name: a, batch_norm: freeze}]"],
            "batch_norm must be 'train' or 'eval' or 'frozen'",
        ),
        (
            ["--finetune.chekpoint", "last"],
            "(finetune) has no argument 'chekpoint'. Did you mean 'checkpoint'?",
        ),
        (["--finetune.checkpoint", "lst"], "finetune.checkpoint must be 'best' or 'last', got 'lst'"),
        (
            ["--finetune.head_prior", "mesured"],
            "finetune.head_prior must be 'measured', got 'mesured'",
        ),
        (["--finetune.phases=[{name: a}, {name: b}]"], "phase 'a' has no end"),
        (["--finetune.min_matched", "1.5"], "min_matched must lie in"),
        (["--trainer.max_steps", "-1"], "phase 'all' has no end"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_named_in_a_line_before_anything_is_written(
    words, message, plain, weights, tmp_path, capsys
):
    assert finetune(plain, weights, tmp_path / "run", "--trainer.max_steps", "1", *words) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_verbs_refuse_what_is_for_the_other(plain, weights, finished_run, tmp_path, capsys):
    assert main(["finetune", "--config", str(plain), "--run", str(tmp_path / "run")]) == 2
    assert "needs --from CHECKPOINT" in capsys.readouterr().err
    assert main(["finetune", "--resume", str(finished_run)]) == 2
    assert f"segfocal fit --resume {finished_run}" in capsys.readouterr().err
    assert main(["finetune", "--resume", str(finished_run), "--from", "x.pth"]) == 2
    assert "leave out --from x.pth" in capsys.readouterr().err
    plain.write_text(plain.read_text() + PHASES)
    assert main(["fit", "--config", str(plain), "--run", str(tmp_path / "run")]) == 2
    assert "segfocal finetune --config" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
