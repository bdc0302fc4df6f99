"""Time and memory of planning 10,000 cells and of counting them, half of them done."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

ARMS, SEEDS = 20, 476  # 476 * (20 arms + 1 shared pretraining) = 9,996 cells

CONFIG = """\
seed_everything: 0
model:
  network: {class_path: segfocal.models.SmallUNet, init_args: {in_channels: 3, num_classes: 1}}
  loss: {class_path: segfocal.losses.FocalLoss, init_args: {task: binary, gamma: 2.0, ignore_index: 255}}
  learning_rate: 0.003
  schedule: cosine
data:
  class_path: segfocal.data.FolderData
  init_args:
    {root: ROOT, task: binary, batch_size: 8, patch_size: 96, split: {train: 0.6, val: 0.2, test: 0.2}}
trainer: {max_steps: 500}
"""


def write_study(folder: Path) -> Path:
    """Write 500 small images, a configuration and a study of 9,996 cells."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "set" / kind).mkdir(parents=True, exist_ok=True)
        for number in range(500):
            picture = Image.fromarray(rng.integers(0, 2, (64, 64), dtype=np.uint8))
            picture.save(folder / "set" / kind / f"{number:04d}.png")
    (folder / "base.yaml").write_text(CONFIG.replace("ROOT", str(folder / "set")))
    arms = "\n".join(f"  g{k}: {{model.loss.init_args.gamma: {k / 4}}}" for k in range(ARMS))
    (folder / "study.yaml").write_text(
        f"name: scale\nseeds: {list(range(SEEDS))}\n"
        "stages:\n  - {name: pretrain, config: base.yaml, arms: false}\n"
        "  - {name: finetune, config: base.yaml, from: pretrain}\n"
        f"arms:\n{arms}\nbaseline: g0\ncontrasts: [[g8, g0]]\n"
    )
    return folder / "study.yaml"


def measured(*words: str) -> dict[str, float]:
    """Run a command; return seconds and its peak memory."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "segfocal", *words], stdout=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    assert code == 0, words
    return {
        "wall_s": time.perf_counter() - start,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def finish_half(out: Path) -> None:
    """Write what the cells write, without running them."""
    cells = json.loads((out / "plan.json").read_text())["cells"]
    for cell in cells[::2]:
        folder = out / "cells" / cell["id"]
        folder.mkdir(parents=True, exist_ok=True)
        outcome = {"status": "done", "reason": None, "seconds": 60.0, "attempts": 1, "overrides": None}
        (folder / "cell.json").write_text(json.dumps(outcome))
        (folder / "lock").write_text(json.dumps({"attempts": 1}))
    for cell in cells[1::4]:  # killed: a lock that nobody holds
        folder = out / "cells" / cell["id"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lock").write_text(json.dumps({"attempts": 1}))


def main() -> None:
    """Plan, pretend, count; five times each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, required=True, help="empty folder")
    folder = parser.parse_args().scratch
    study = write_study(folder)
    for number in range(5):
        print("plan  ", measured("study", "plan", str(study), "--out", str(folder / f"out{number}")))
    finish_half(folder / "out0")
    for _ in range(5):
        print("status", measured("study", "status", str(folder / "out0"), "--json"))


if __name__ == "__main__":
    main()
