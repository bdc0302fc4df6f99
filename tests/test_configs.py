"""Every YAML runs: on stand-ins for two steps, and on the real images where those are present."""

from pathlib import Path

import pytest
import torch
import yaml
from standins import write_all

from segfocal.__main__ import main
from segfocal.data import EpochBatchSampler
from segfocal.runs import RunPaths, read_info
from segfocal.runs.read import scan_metrics
from segfocal.training.rebuild import build_task

EVERY = sorted((Path(__file__).parents[1] / "configs").rglob("*.yaml"))
CONFIGS = [path for path in EVERY if path.parent.name != "study"]  # those are planned in tests/study
# the command line hides Lightning's advice from users; pytest would turn it into errors
pytestmark = pytest.mark.filterwarnings("ignore")
NEEDS = {"demo_wandb": ["wandb"], "demo_mlflow": ["mlflow", "sqlalchemy", "alembic"]}  # tools people have
HEADER = ("# Run: ", "# Time: ", "# Expected: ")


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("data"))


def run_steps(config, run, *, steps, options=()):
    verb = ["fit"]
    if config.parent.name == "finetune":
        verb = ["finetune", "--from", str(weights_for(config, run.with_name("old.pth")))]
    words = ["--config", str(config), "--run", str(run), "--trainer.max_steps", str(steps)]
    return main([*verb, *words, "--trainer.precision", "32-true", *options])


def weights_for(config, path):
    """Write weights of the network that a configuration fine-tunes."""
    task = build_task(yaml.safe_load(config.read_text())["model"], origin=config)
    torch.save({"state_dict": task.network.state_dict()}, path)
    return path


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_takes_two_steps_and_scores(config, stand_ins, tmp_path, monkeypatch):
    for needed in NEEDS.get(config.stem, ()):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    monkeypatch.setenv("SEGFOCAL_DATA", str(stand_ins))
    monkeypatch.chdir(stand_ins)  # where folder.yaml finds data/
    monkeypatch.setenv("SEGFOCAL_BACKEND", "eager")  # two steps are over before a compiler is
    small = ["--data.init_args.batch_size", "2", "--data.init_args.patches_per_epoch", "4"]
    assert run_steps(config, tmp_path / "run", steps=2, options=small) == 0
    assert main(["test", "--run", str(tmp_path / "run")]) == 0
    info = read_info(RunPaths(tmp_path / "run"))
    assert info["status"] == "finished"
    assert RunPaths(tmp_path / "run").cases.is_file()


@pytest.mark.parametrize("config", EVERY, ids=lambda path: path.stem)
def test_every_config_says_command_and_measured_score(config):
    header = [line for line in config.read_text().splitlines() if line.startswith("#")]
    for word in HEADER:
        assert any(word in line for line in header), f"{config.name}: no line with {word!r} in its header"


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize(
    "config", [c for c in CONFIGS if "SEGFOCAL_DATA" in c.read_text()], ids=lambda path: path.stem
)
def test_loss_falls_over_fifty_steps_on_one_batch(config, real_data, tmp_path, monkeypatch):
    root = next(line for line in config.read_text().splitlines() if "root:" in line)
    folder = root.partition("SEGFOCAL_DATA}/")[2].split("/")[0]
    monkeypatch.setenv("SEGFOCAL_DATA", str(real_data(folder.strip()).parent))
    monkeypatch.setenv("SEGFOCAL_BACKEND", "eager")  # fifty small steps are over before a compiler is
    # every epoch is one batch, and every epoch is the first: the same patches fifty times
    monkeypatch.setattr(EpochBatchSampler, "set_epoch", lambda sampler, epoch: None)
    options = ["--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "0"]
    options += [
        "--trainer.log_every_n_steps",
        "1",
        "--model.schedule",
        "constant",
        "--model.warmup_steps",
        "0",
    ]
    edge = "32" if "NiftiData" in config.read_text() else "128"
    options += ["--data.init_args.batch_size", "4", "--data.init_args.patch_size", edge]
    if config.parent.name == "finetune":
        options += ["--finetune.phases", "null"]  # the schedule and the rate above are for everything at once
    assert run_steps(config, tmp_path / "run", steps=50, options=options) == 0
    rows = scan_metrics([tmp_path / "run"]).collect()
    losses = rows.filter(rows["name"] == "train/loss").sort("step")["value"].to_list()
    assert torch.tensor(losses[-5:]).mean() < 0.8 * torch.tensor(losses[:5]).mean()
