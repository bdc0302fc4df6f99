"""Leaderboard and heat map of 1,000 runs x 100 images x 5 classes: seconds and memory, cold and warm.

    python experiments/report_scale/measure.py --runs-dir /tmp/scale [--count 1000]

Writes the run directories where they are missing, then measures in a fresh process: cold is from the start of
the interpreter to the figures, warm the same again in that process after one run changed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from segfocal.runs import MetricsLog, RunPaths, create_info, update_info, write_text
from segfocal.runs.cases import CASES_SCHEMA
from segfocal.runs.scores import all_scores

IMAGES, CLASSES, SEEDS = 100, 5, 5


def write_run(folder: Path, number: int) -> None:
    """Write one run as `segfocal fit` and `segfocal test` leave it, without checkpoints and pictures."""
    arm, seed = divmod(number, SEEDS)
    run, random = RunPaths(folder), np.random.default_rng(number)
    names = [f"class {c}" for c in range(CLASSES)]
    create_info(run, task="multilabel", class_names=names, seeds={"process": seed})
    update_info(run, status="finished", checkpoints={"best": {"sha256": f"{number:064x}"}})
    write_text(run.config, f"seed_everything: {seed}\nmodel:\n  learning_rate: {0.001 * (arm + 1)}\n")
    tp, fp, fn = random.integers(1, 1000, (3, IMAGES * CLASSES))
    tp += arm
    columns = {
        "stage": "test",
        "checkpoint": f"{number:064x}"[:12],
        "epoch": 10,
        "threshold_kind": "fixed",
        "name": np.repeat([f"image {i:03d}" for i in range(IMAGES)], CLASSES).tolist(),
        "group": None,
        "class_index": np.tile(np.arange(CLASSES), IMAGES),
        "class_name": np.tile(names, IMAGES).tolist(),
        "threshold": 0.5,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": 9000 - fp,
        "pixels": 9000 + tp + fn,
        **all_scores(tp, fp, fn),
    }
    columns = dict.fromkeys(CASES_SCHEMA) | columns  # boundary scores are not measured here
    pl.DataFrame(columns).select(pl.col(k).cast(t) for k, t in CASES_SCHEMA.items()).write_parquet(run.cases)
    log = MetricsLog(run.metrics)
    for step in range(10, 1010, 10):
        values = {"train/loss": 1 / step, "learning_rate": 0.001, "val/dice": step / 1500}
        log.append(values, step=step, epoch=step // 100)
    log.append({"test/ece": 0.01, "test/aupr": 0.8}, step=1000, epoch=10)


def measure(root: Path) -> dict[str, float]:
    """Return seconds of the second half of a cold start, of a warm one, and the peak memory in MiB."""
    from segfocal.report.figures.leaderboard import heat_map_figure, leaderboard_figure
    from segfocal.report.sources import Sources, read_sources
    from segfocal.report.tables.find import find_runs
    from segfocal.report.tables.leaderboard import heat_map, leaderboard, run_board
    from segfocal.report.tables.scores import Gathered

    def views(before: Gathered | None) -> Sources:
        sources = read_sources(find_runs([root]), before=before)
        board = leaderboard(run_board(sources.scores, sources.runs, scalars=sources.scalars))
        shown = [leaderboard_figure(board), heat_map_figure(heat_map(sources.scores))]
        for one in shown:
            one.figure.to_json()
        return sources

    sources = views(None)
    cold = time.time() - float(os.environ["SCALE_STARTED"])
    os.utime(RunPaths(sources.runs["run"][0]).cases)
    started = time.time()
    views(sources.gathered)
    warm = time.time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cold_s": round(cold, 2), "warm_s": round(warm, 2), "peak_mib": round(peak)}


def main() -> None:
    """Write what is missing and measure in a process of its own."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--runs-dir", type=Path, required=True)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.measure:
        print(json.dumps(measure(given.runs_dir)))
        return
    for number in range(given.count):
        folder = given.runs_dir / f"run-{number:04d}"
        if not (folder / "metrics.csv").is_file():
            write_run(folder, number)
    words = [sys.executable, __file__, "--runs-dir", str(given.runs_dir), "--measure"]
    for _ in range(3):
        subprocess.run(words, check=True, env={**os.environ, "SCALE_STARTED": str(time.time())})


if __name__ == "__main__":
    main()
