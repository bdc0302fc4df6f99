"""Study folders without a single training: what `study plan`, `study run` and the cells would leave."""

import itertools
import json
from dataclasses import dataclass, field

import numpy as np

from segfocal.runs import MetricsLog, RunPaths, write_json
from segfocal.runs.calibration import write_calibration
from segfocal.runs.cases import write_cases
from segfocal.runs.curves import write_curves
from segfocal.runs.scores import all_scores

PIXELS = 10_000


def flat(arm, seed, cluster, image, label):
    """The same score everywhere."""
    return 0.5


@dataclass
class FakeStudy:
    """What is planned, and what each cell scores: ``score`` gives Dice, rounded to 1/10000.

    Precision and recall equal Dice, since as many pixels are missed as are wrongly found.
    """

    score: object = flat
    arms: tuple = ("ce", "focal2")
    datasets: tuple = ("vessels",)
    fractions: tuple = (1.0,)
    seeds: tuple = (0, 1, 2)
    folds: int = 1
    clusters: int = 8  # over all folds
    images: int = 1  # per cluster
    classes: tuple = ("vessel",)
    task: str = "binary"
    kinds: tuple = ("fixed",)
    contrasts: tuple = (("focal2", "ce"),)
    baseline: str = "ce"
    metric: str = "dice"
    grouped: bool = True
    pixels: object = None  # cluster to reference pixels
    failed: dict = field(default_factory=dict)  # cell id to reason
    missing: tuple = ()  # cell ids
    metrics: dict = field(default_factory=dict)  # arm to name to value, logged last
    curves: dict = field(default_factory=dict)  # arm to kind to (probability, share of positives)

    def cells(self):
        """Return the plan's entries of kind arm; ids name what they are."""
        axes = (self.datasets, self.fractions, self.arms, self.seeds, range(self.folds))
        for dataset, fraction, arm, seed, fold in itertools.product(*axes):
            name = f"{dataset}-{fraction:g}-{arm}-{seed}-{fold}"
            entry = {"id": name, "kind": "arm", "stage": "finetune", "arm": arm, "dataset": dataset}
            entry |= {"fraction": fraction, "seed": seed, "fold": fold if self.folds > 1 else None}
            yield entry | {"trial": None, "needs": ["shared"]}

    def write(self, root):
        """Write the folder and return it."""
        entries = list(self.cells())
        shared = dict.fromkeys(entries[0]) | {
            "id": "shared",
            "kind": "shared",
            "stage": "pretrain",
            "needs": [],
        }
        contrasts = [
            {"arm": arm, "baseline": other, "dataset": dataset, "fraction": fraction}
            for arm, other in self.contrasts
            for dataset, fraction in itertools.product(self.datasets, self.fractions)
        ]
        plan = {"schema_version": 1, "name": "fake", "metric": self.metric, "baseline": self.baseline}
        plan |= {"seeds": list(self.seeds), "folds": self.folds if self.folds > 1 else None}
        plan |= {"datasets": {name: {} for name in self.datasets}, "arms": {arm: {} for arm in self.arms}}
        write_json(root / "plan.json", plan | {"contrasts": contrasts, "cells": [shared, *entries]})
        for place, entry in enumerate(entries):
            self.write_cell(root, entry, seconds=10.0 + place)
        return root

    def write_cell(self, root, entry, *, seconds):
        folder = root / "cells" / entry["id"]
        if entry["id"] in self.missing:
            return
        ended = {"status": "done", "reason": None, "seconds": seconds, "attempts": 1, "overrides": None}
        if entry["id"] in self.failed:
            ended |= {"status": "failed", "reason": self.failed[entry["id"]]}
        else:
            self.write_run(RunPaths(folder / "run"), entry)
        write_json(folder / "cell.json", ended)

    def write_run(self, paths, entry):
        sha = (entry["id"].encode().hex() * 6)[:64]
        info = {"schema_version": 1, "status": "finished", "task": self.task, "timings": {"fit_s": 5.0}}
        write_json(paths.info, info | {"checkpoints": {"best": {"file": "best.ckpt", "sha256": sha}}})
        common = {"stage": "test", "checkpoint": sha}
        for kind in self.kinds:
            rows, groups = self.rows(entry, kind)
            write_cases(paths, rows, epoch=1, threshold_kind=kind, groups=groups, **common)
        log = MetricsLog(paths.metrics)
        log.append(
            {"train/dataset_dice": 0.1, "val/dataset_dice": 0.1, "learning_rate": 1.0}, step=1, epoch=0
        )
        if entry["arm"] in self.metrics:
            log.append(self.metrics[entry["arm"]], step=20, epoch=1)
        for kind, (probability, share) in self.curves.get(entry["arm"], {}).items():
            self.write_pixels(paths, kind, probability, share, common)

    def rows(self, entry, kind):
        """Rows of cases.parquet; a fold tests every ``folds``-th cluster."""
        rows, groups = [], {}
        for cluster in range(entry["fold"] or 0, self.clusters, self.folds):
            for image in range(self.images):
                name = f"image{cluster:02d}{'ab'[image]}"
                groups |= {name: f"patient{cluster:02d}"} if self.grouped else {}
                for index, label in enumerate(self.classes):
                    value = self.score(entry["arm"], entry["seed"], cluster, image, label)
                    value += 0.01 * (kind == "tuned")
                    rows.append(self.row(name, index, label, value, self.pixels and self.pixels(cluster)))
        return rows, groups

    def row(self, name, index, label, value, pixels):
        pixels = pixels or PIXELS
        tp = round(value * pixels)
        counts = {"tp": tp, "fp": pixels - tp, "fn": pixels - tp, "tn": 5}
        scores = {key: found.item() for key, found in all_scores(tp, pixels - tp, pixels - tp).items()}
        row = {"name": name, "class_index": index, "class_name": label, "threshold": 0.5}
        return row | counts | {"pixels": sum(counts.values())} | scores

    def write_pixels(self, paths, kind, probability, share, common):
        """One bin per image of 100 pixels with one probability, of which a share is positive."""
        names = [f"image{cluster:02d}a" for cluster in range(self.clusters)]
        size, low = len(names), np.floor(probability * 15) / 15
        base = {"name": names, "class_index": [0] * size, "class_name": [self.classes[0]] * size}
        base |= {"region": ["all"] * size, "pixels": [100] * size, "positives": [round(100 * share)] * size}
        bins = {"curve": ["reliability"] * size, "low": [low] * size, "high": [low + 1 / 15] * size}
        bins |= {"probability_sum": [100 * probability] * size}
        write_curves(paths, base | bins, kind=kind, **common)
        error = 100 * (share * (1 - probability) ** 2 + (1 - share) * probability**2)
        nll = -100 * (share * np.log(probability) + (1 - share) * np.log(1 - probability))
        sums = {"squared_error": [error] * size, "nll": [nll] * size, "nll_positive": [nll / 2] * size}
        write_calibration(paths, base | sums, kind=kind, temperature=None, **common)


def table(report, name, /, **where):
    """Return the rows of a table with these values."""
    rows = report["tables"][name]
    return [row for row in rows if all(row[key] == value for key, value in where.items())]


def only(report, name, /, **where):
    """Return the one row of a table with these values."""
    rows = table(report, name, **where)
    assert len(rows) == 1, rows
    return rows[0]


def edit_json(path, **changes):
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
