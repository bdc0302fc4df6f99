"""When does the best threshold of the validation images pay? Resample the images of trained networks.

    python experiments/threshold/measure.py RUN ... --write

Scores every validation and test image of each run once, as ``predict`` would write it, then draws validation
sets with a given number of images that hold the class (those without it in proportion), chooses a threshold
on each by two rules, and scores it on all other images against 0.5.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

import segfocal
from segfocal.metrics.threshold import GRID, HALF, LEVEL, ThresholdSearch, held_out_gains
from segfocal.training.cli import SegfocalCLI

Numbers = NDArray[np.float64]
COUNTS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 27, 30, 40, 60, 80, 120)
DRAWS = 1000
LEAST_TESTED = 8  # images that hold the class and on which a threshold is judged
COLUMNS = ("run", "class", "images", "rule", "moved", "mean_gain", "gain_5", "loses_01", "loses_05", "draws")
HERE = Path(__file__).parent


def image_dice(run: Path) -> tuple[list[str], Numbers, NDArray[np.bool_]]:
    """Return the classes, Dice (images, classes, thresholds), and which images hold a class."""
    cli = SegfocalCLI(["--config", str(run / "config.yaml")], pretrained=False)
    data, predictor = cli.datamodule, segfocal.load(run)
    search = ThresholdSearch(
        data.task, data.num_classes, class_names=data.class_names, ignore_index=data.ignore_index
    )
    for split in ("val", "test"):
        source = data.cases(split).source
        for index, name in enumerate(source.names):
            scores = torch.from_numpy(predictor(source.image(index)).probabilities)[None]
            mask = torch.from_numpy(np.array(source.mask(index)))[None]
            search.update(scores, mask, [f"{split}/{name}"])
    return [*data.class_names], *search.image_dice()


def best(scores: Numbers) -> int:
    """Return the place of the threshold with the best mean."""
    means = np.nanmean(scores, axis=0)
    places = np.flatnonzero(means >= means.max() - 1e-9)
    return int(places[np.argmin(np.abs(GRID[places] - 0.5))])


def resolved(scores: Numbers) -> bool:
    """Return whether the cross-validated gain over 0.5 is above 0, one-sided at 95 %."""
    gains = held_out_gains(scores)
    if len(gains) < 2:
        return False
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    return bool(gains.mean() > stats.t.ppf(LEVEL, len(gains) - 1) * error)


def measure(
    scores: Numbers, held: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> dict[str, Numbers]:
    """Return gains over 0.5 on the images not drawn, by rule; NaN where the threshold stayed 0.5."""
    positives, negatives = np.flatnonzero(held), np.flatnonzero(~held)
    found: dict[str, list[float]] = {"best": [], "resolved": []}
    for _ in range(DRAWS):
        drawn = rng.choice(positives, count, replace=False)
        empty = negatives[rng.random(len(negatives)) < count / len(positives)]
        chosen = np.concatenate([drawn, empty])
        rest = np.setdiff1d(np.arange(len(scores)), chosen)
        place = best(scores[chosen])
        means = np.nanmean(scores[rest][:, [place, HALF]], axis=0)
        gain = float("nan") if place == HALF else means[0] - means[1]
        found["best"].append(gain)
        found["resolved"].append(gain if resolved(scores[chosen]) else float("nan"))
    return {rule: np.array(gains) for rule, gains in found.items()}


def rows(run: Path) -> list[dict[str, object]]:
    """Return the table of one run."""
    names, scores, held = image_dice(run)
    table = []
    for index, name in enumerate(names):
        own, images = scores[:, index], held[:, index]
        counted = ~np.isnan(own).all(axis=1)
        own, images = own[counted], images[counted]
        print(
            f"{run.name} {name}: {int(images.sum())} images hold it, best on all {GRID[best(own)]:.3f}, gain "
            f"{np.nanmean(own, axis=0)[best(own)] - np.nanmean(own, axis=0)[HALF]:.4f}"
        )
        for count in COUNTS:
            if images.sum() - count < LEAST_TESTED:
                continue
            for rule, gains in measure(own, images, count, np.random.default_rng(0)).items():
                all_gains = np.nan_to_num(gains)
                table.append(
                    {
                        "run": run.name,
                        "class": name,
                        "images": count,
                        "rule": rule,
                        "moved": round(float(np.mean(~np.isnan(gains))), 3),
                        "mean_gain": round(float(all_gains.mean()), 4),
                        "gain_5": round(float(np.quantile(all_gains, 0.05)), 4),
                        "loses_01": round(float(np.mean(all_gains < -0.01)), 3),
                        "loses_05": round(float(np.mean(all_gains < -0.05)), 3),
                        "draws": DRAWS,
                    }
                )
                print(table[-1], flush=True)
    return table


def main() -> None:
    """Measure all runs given."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("runs", nargs="+", type=Path)
    options.add_argument(
        "--write", action="store_true", help="replace the rows of these runs in thresholds.csv"
    )
    given = options.parse_args()
    torch.set_num_threads(1)
    table = [row for run in given.runs for row in rows(run)]
    if given.write:
        write(table)


def write(table: list[dict[str, object]]) -> None:
    """Put rows into thresholds.csv in the place of those of the same runs."""
    file = HERE / "thresholds.csv"
    runs = {str(row["run"]) for row in table}
    kept: list[dict[str, object]] = []
    if file.is_file():
        with file.open(newline="") as before:
            kept = [dict(row) for row in csv.DictReader(before) if row["run"] not in runs]
    with file.open("w", newline="") as after:
        writer = csv.DictWriter(after, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *table])


if __name__ == "__main__":
    main()
