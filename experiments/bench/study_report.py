"""How long `segfocal study report` takes over many cells, made up with the writers of segfocal.runs.

python experiments/bench/study_report.py [--arms 20] [--seeds 5] [--datasets 2] [--folds 5] [--images 100]

1,000 cells of 100 test images each by default: scores at two thresholds, reliability bins of three kinds of
score in three regions, precision-recall bins, calibration sums and 600 lines of log per cell. The folder is
made first (minutes), then reported in a fresh process, whose wall time and memory are printed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from segfocal.runs import MetricsLog, RunPaths, write_json
from segfocal.runs.calibration import write_calibration
from segfocal.runs.cases import write_cases
from segfocal.runs.curves import write_curves
from segfocal.runs.scores import all_scores

REGIONS, BINS, PR_BINS, STEPS = ("all", "foreground", "band"), 15, 150, 120
LOGGED = ("train/loss", "train/dataset_dice", "val/dataset_dice", "norm/all", "learning_rate")


def case_rows(rng: np.random.Generator, names: list[str], gain: float) -> list[dict[str, object]]:
    """Return rows of cases.parquet for one pass."""
    size = len(names)
    tp = (10_000 * np.clip(0.75 + gain + 0.05 * rng.normal(size=size), 0, 1)).astype(int)
    counts = {"tp": tp, "fp": 10_000 - tp, "fn": 10_000 - tp, "tn": np.full(size, 90_000)}
    scores = all_scores(counts["tp"], counts["fp"], counts["fn"])
    table = counts | {"pixels": sum(counts.values())} | scores
    label = {"class_index": 0, "class_name": "vessel", "threshold": 0.5}
    return [
        {"name": name, **label, **{key: column[place].item() for key, column in table.items()}}
        for place, name in enumerate(names)
    ]


def bin_columns(names: list[str], curve: str, regions: tuple[str, ...], bins: int) -> dict[str, np.ndarray]:
    """Return columns of curves.parquet: every image, region and bin."""
    size = len(names) * len(regions) * bins
    low = np.tile(np.arange(bins) / bins, len(names) * len(regions))
    return {
        "name": np.repeat(np.array(names, dtype=object), len(regions) * bins),
        "class_index": np.zeros(size, np.int64),
        "class_name": np.full(size, "vessel", dtype=object),
        "region": np.tile(np.repeat(np.array(regions, dtype=object), bins), len(names)),
        "curve": np.full(size, curve, dtype=object),
        "low": low,
        "high": low + 1 / bins,
        "pixels": np.full(size, 1000),
        "positives": (1000 * low).astype(np.int64),
        "probability_sum": 1000 * (low + 0.5 / bins),
    }


def sum_columns(names: list[str]) -> dict[str, object]:
    """Return columns of calibration.parquet."""
    size = len(names) * len(REGIONS)
    base = {"name": np.repeat(np.array(names, dtype=object), len(REGIONS)), "class_index": [0] * size}
    base |= {"class_name": ["vessel"] * size, "region": list(REGIONS) * len(names)}
    base |= {"pixels": [100_000] * size, "positives": [10_000] * size, "squared_error": [3e3] * size}
    return base | {"nll": [9e3] * size, "nll_positive": [4e3] * size}


def write_run(run: RunPaths, rng: np.random.Generator, *, gain: float, fold: int, images: int) -> None:
    """Write one run directory."""
    names = [f"image{fold}-{place:03d}" for place in range(images)]
    groups = {name: f"patient{fold}-{place // 2:03d}" for place, name in enumerate(names)}
    sha = "0" * 64
    info = {"schema_version": 1, "status": "finished", "task": "binary", "timings": {"fit_s": 100.0}}
    write_json(run.info, info | {"checkpoints": {"best": {"file": "best.ckpt", "sha256": sha}}})
    common = {"stage": "test", "checkpoint": sha}
    for kind in ("fixed", "tuned"):
        write_cases(run, case_rows(rng, names, gain), epoch=9, threshold_kind=kind, groups=groups, **common)
    pr = bin_columns(names, "pr", ("all",), PR_BINS)
    for kind in ("raw", "posterior", "temperature"):
        columns = bin_columns(names, "reliability", REGIONS, BINS)
        if kind == "raw":
            columns = {key: np.concatenate([columns[key], pr[key]]) for key in columns}
        write_curves(run, columns, kind=kind, **common)
        write_calibration(run, sum_columns(names), kind=kind, temperature=None, **common)
    log = MetricsLog(run.metrics)
    for step in range(STEPS):
        log.append(dict.fromkeys(LOGGED, step / STEPS), step=20 * (step + 1), epoch=step // 12)


def write_study(root: Path, options: argparse.Namespace) -> int:
    """Write the study folder and return its number of cells."""
    arms, rng = [f"arm{place}" for place in range(options.arms)], np.random.default_rng(0)
    datasets = [f"data{place}" for place in range(options.datasets)]
    cells, done = [], {"status": "done", "reason": None, "seconds": 120.0, "attempts": 1, "overrides": None}
    axes = (datasets, range(options.arms), range(options.seeds), range(options.folds))
    for number, (dataset, arm, seed, fold) in enumerate(itertools.product(*axes)):
        where = {"id": f"{number:012x}", "kind": "arm", "stage": "finetune", "arm": arms[arm]}
        where |= {"dataset": dataset, "fraction": 1.0, "seed": seed, "fold": fold, "trial": None, "needs": []}
        folder = root / "cells" / where["id"]
        write_run(RunPaths(folder / "run"), rng, gain=0.001 * arm, fold=fold, images=options.images)
        write_json(folder / "cell.json", done)
        cells.append(where)
    contrasts = [
        {"arm": arm, "baseline": arms[0], "dataset": dataset, "fraction": 1.0}
        for arm in arms[1:4]
        for dataset in datasets
    ]
    plan = {"schema_version": 1, "name": "benchmark", "metric": "dice", "baseline": arms[0]}
    plan |= {"seeds": list(range(options.seeds)), "folds": options.folds, "datasets": {}, "cells": cells}
    write_json(root / "plan.json", plan | {"arms": {arm: {} for arm in arms}, "contrasts": contrasts})
    return len(cells)


def main() -> None:
    """Make the folder, report it, print the time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    defaults = {"arms": 20, "seeds": 5, "datasets": 2, "folds": 5, "images": 100, "rounds": 3}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", type=Path, help="a folder made before, or to keep; else a temporary one")
    options = parser.parse_args()
    root = options.folder or Path(tempfile.mkdtemp())
    if not (root / "plan.json").is_file():
        start = time.monotonic()
        print(f"{write_study(root, options)} cells written in {time.monotonic() - start:.0f} s", flush=True)
    code = "import sys; from segfocal.study.report_command import report; report(sys.argv[1:])"
    words = [
        sys.executable,
        "-c",
        code,
        str(root),
        "--out",
        str(root.with_name(f"{root.name}-report")),
        "--overwrite",
    ]
    seconds = []
    for _ in range(options.rounds):
        start = time.monotonic()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - start)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = (usage.ru_utime + usage.ru_stime) / options.rounds
    rounds = " ".join(f"{value:.1f}" for value in seconds)
    print(
        f"reported in {rounds} s, {worked:.1f} s of processor time each, "
        f"{usage.ru_maxrss / 1024:.0f} MiB at most, {os.cpu_count()} processors"
    )
    if options.folder is None:
        shutil.rmtree(root)
        shutil.rmtree(root.with_name(f"{root.name}-report"))


if __name__ == "__main__":
    main()
