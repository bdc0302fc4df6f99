"""What a cell costs beside `segfocal finetune` and `segfocal test`, and how throughput grows with jobs."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from segfocal.study.engines import LocalEngine
from segfocal.study.folder import StudyFolder
from segfocal.study.plan import plan_study
from segfocal.study.runner import Runner, Settings

CONFIG = """\
seed_everything: 0
model:
  network: {class_path: segfocal.models.SmallUNet, init_args: {in_channels: 1, num_classes: 1}}
  loss: {class_path: segfocal.losses.FocalLoss, init_args: {task: binary, gamma: 2.0, ignore_index: 255}}
data:
  class_path: segfocal.data.SyntheticData
  init_args:
    {kind: vessels, image_size: 64, train_images: 8, val_images: 2, test_images: 4, batch_size: 4,
     patch_size: 48, patches_per_epoch: 40}
trainer: {max_steps: STEPS, accelerator: cpu}
"""
STUDY = """\
name: cells
seeds: [0, 1, 2, 3, 4, 5, 6, 7]
stages:
  - {name: pretrain, config: base.yaml, arms: false, seeds: false}
  - {name: finetune, config: base.yaml, from: pretrain}
arms: {focal: {}, rate: {model.learning_rate: 0.01}}
baseline: focal
contrasts: [[rate, focal]]
"""
SLEEPER = """\
import sys, time
from segfocal.study.cell import main
sys.exit(main(work=lambda folder, cell: time.sleep(SECONDS) or {}))
"""


def planned(scratch: Path, *, steps: int) -> StudyFolder:
    """Plan the study afresh."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    (scratch / "base.yaml").write_text(CONFIG.replace("STEPS", str(steps)))
    (scratch / "study.yaml").write_text(STUDY)
    return plan_study(scratch / "study.yaml", out=scratch / "out")


def timed(words: list[str]) -> tuple[float, float]:
    """Run a command; return its wall and processor seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, code, usage = os.wait4(process.pid, 0)
    assert code == 0, words
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


def overhead(scratch: Path, *, repeats: int) -> None:
    """Print a cell beside the same two commands by hand, alternating."""
    folder = planned(scratch, steps=20)
    cells = list(folder.cells.values())
    program = [sys.executable, "-m", "segfocal.study.cell", str(folder.root)]
    timed([*program, cells[0]["id"], str(os.getpid())])  # pretrain
    origin = str(folder.paths(cells[0]["id"]).run)
    by_hand = [sys.executable, "-m", "segfocal"]
    rows: dict[str, list[tuple[float, float]]] = {"cell": [], "finetune": [], "test": []}
    for number in range(repeats):
        rows["cell"].append(timed([*program, cells[1 + number]["id"], str(os.getpid())]))
        run = str(scratch / f"run{number}")
        config = str(folder.paths(cells[1 + number]["id"]).config)
        rows["finetune"].append(
            timed([*by_hand, "finetune", "--config", config, "--from", origin, "--run", run])
        )
        rows["test"].append(timed([*by_hand, "test", "--run", run]))
    for name, values in rows.items():
        walls, processor = zip(*values, strict=True)
        medians = f"wall {statistics.median(walls):6.2f} s  processor {statistics.median(processor):6.2f} s"
        print(f"{name:9} {medians}")


def throughput(scratch: Path, *, jobs: list[int], seconds: float | None) -> None:
    """Print cells per minute with so many jobs; cells that sleep show the runner alone."""
    for count in jobs:
        folder = planned(scratch, steps=200)
        settings = Settings(jobs=count, threads=1)
        if seconds is not None:
            sleeper = scratch / "sleeper.py"
            sleeper.write_text(SLEEPER.replace("SECONDS", str(seconds)))
            settings = Settings(jobs=count, threads=1, program=(sys.executable, str(sleeper)))
        first = next(iter(folder.cells))
        program = settings.program
        timed([*program, str(folder.root), first, str(os.getpid())])
        start = time.perf_counter()
        with Path(os.devnull).open("w") as out:
            assert Runner(folder, LocalEngine(), settings, out=out).run() == 0
        spent = time.perf_counter() - start
        kind = "training" if seconds is None else f"sleeping {seconds:g} s"
        print(f"{kind}: {count} jobs, {60 * (len(folder.cells) - 1) / spent:.2f} cells a minute")


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path, required=True, help="folder that may be emptied")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--what", choices=("overhead", "sleeping", "training"), required=True)
    options = parser.parse_args()
    print("load", os.getloadavg(), "cores", os.cpu_count())
    if options.what == "overhead":
        overhead(options.scratch, repeats=options.repeats)
    elif options.what == "sleeping":
        throughput(options.scratch, jobs=[1, 2, 4, 8], seconds=5.0)
    else:
        throughput(options.scratch, jobs=[1, 2, 1, 2], seconds=None)


if __name__ == "__main__":
    main()
