"""Two processes fine-tune in step: frozen in the first phase, unfrozen in the second."""

import os
import subprocess
import sys

import pytest
import torch

from segfocal.models import SmallUNet

pytestmark = pytest.mark.slow

KEEPER = """\
import torch
from pytorch_lightning import Callback

class KeepWeights(Callback):
    def on_train_batch_end(self, trainer, task, outputs, batch, batch_idx):
        name = f"step{trainer.global_step}_rank{trainer.global_rank}.pt"
        torch.save({key: value.detach().clone() for key, value in task.network.named_parameters()}, name)
"""
PHASES = """
finetune:
  phases:
    - {name: head, train: [head], max_steps: 3}
    - {name: all, train: [all], max_epochs: 1, learning_rate: {all: 0.001, head: 0.01}}
"""


def test_ranks_stay_in_step_after_unfreezing(config_text, tmp_path):
    (tmp_path / "keeper.py").write_text(KEEPER)
    trainer = "trainer: {devices: 2, strategy: ddp, callbacks: [{class_path: keeper.KeepWeights}], "
    text = config_text.replace("max_steps: 9, ", "").replace("trainer: {", trainer)
    (tmp_path / "x.yaml").write_text(text + PHASES)
    torch.manual_seed(0)
    torch.save(SmallUNet(1, 1, channels=(4, 8)).state_dict(), tmp_path / "old.pt")
    words = ["finetune", "--config", "x.yaml", "--from", "old.pt", "--run", "run"]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "SEGFOCAL_BACKEND": "eager",
        "PYTHONPATH": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "segfocal", *words],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = torch.load(tmp_path / "old.pt", weights_only=True)
    kept = {path.stem: torch.load(path, weights_only=True) for path in tmp_path.glob("step*.pt")}
    assert sorted(kept) == sorted(f"step{step}_rank{rank}" for step in range(1, 7) for rank in (0, 1))
    for step in range(1, 7):
        one, other = kept[f"step{step}_rank0"], kept[f"step{step}_rank1"]
        assert all(torch.equal(value, other[name]) for name, value in one.items()), step
    moved = [
        {name for name, value in kept[f"step{step}_rank1"].items() if not torch.equal(value, loaded[name])}
        for step in (3, 6)
    ]
    assert moved[0] == {"head.weight", "head.bias"}
    assert moved[1] == set(kept["step6_rank0"])
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(last[f"network.{name}"], value) for name, value in kept["step6_rank1"].items())
