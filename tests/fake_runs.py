"""Run directories as training leaves them, written by the same writers, with made-up numbers."""

import io
import itertools

import numpy as np
from PIL import Image

from segfocal.runs import MetricsLog, RunPaths, create_info, update_info, write_text
from segfocal.runs.calibration import write_calibration
from segfocal.runs.cases import write_cases
from segfocal.runs.concentration import write_concentration
from segfocal.runs.curves import write_curves
from segfocal.runs.pictures import case_stem, class_part
from segfocal.runs.scores import all_scores
from segfocal.runs.write import write_bytes

CONFIG = """seed_everything: {seed}
model:
  loss:
    class_path: segfocal.losses.FocalLoss
    init_args:
      gamma: {gamma}
data:
  init_args:
    seed: {seed}
"""


def case_rows(names, class_names, *, seed, skill):
    """Counts whose Dice rises with ``skill``; every image has its own difficulty."""
    rows = []
    for place, name in enumerate(names):
        for index, class_name in enumerate(class_names):
            noise = np.random.default_rng([seed, place, index]).integers(0, 20)
            tp = 300 + 10 * place + int(100 * skill) + int(noise)
            counts = {"tp": tp, "fp": 120 - 10 * index, "fn": 150, "tn": 4096 - tp - 270 + 10 * index}
            scores = {key: float(value) for key, value in all_scores(*list(counts.values())[:3]).items()}
            facts = {"name": name, "class_index": index, "class_name": class_name, "threshold": 0.5}
            rows.append(facts | counts | {"pixels": 4096} | scores)
    return rows


def bins(names, class_names, *, curve):
    """Reliability (15 bins) or precision-recall (8 bins) of every image and class."""
    count = 15 if curve == "reliability" else 8
    edges = np.linspace(0, 1, count + 1)
    rows = {key: [] for key in ("name", "class_index", "class_name", "region", "curve", "low", "high")}
    rows |= {"pixels": [], "positives": [], "probability_sum": []}
    for name in names:
        for index, class_name in enumerate(class_names):
            for low, high in itertools.pairwise(edges):
                middle, pixels = (low + high) / 2, 100
                values = (name, index, class_name, "all", curve, low, high, pixels, int(pixels * middle**1.3))
                values += (pixels * middle if curve == "reliability" else float("nan"),)
                for key, value in zip(rows, values, strict=True):
                    rows[key].append(value)
    return rows


def sums(names, class_names):
    """Sums of every image and class over the pixels that ``bins`` has."""
    cells = [(name, index, label) for name in names for index, label in enumerate(class_names)]
    columns = dict(
        zip(("name", "class_index", "class_name"), map(list, zip(*cells, strict=True)), strict=True)
    )
    numbers = {"pixels": 1500, "positives": 600, "squared_error": 150.0, "nll": 300.0, "nll_positive": 90.0}
    return columns | {key: [value] * len(cells) for key, value in ({"region": "all"} | numbers).items()}


def spread(gamma):
    """Of 1000 negatives and 100 positives the hardest 1 % and 10 % carry half of the loss; gamma adds."""
    hard = 0.5 + gamma / 10
    return {
        "side": ["negative", "negative", "positive", "positive"],
        "low": [0.001, 1.0, 0.001, 1.0],
        "high": [1.0, 9.0, 1.0, 9.0],
        "elements": [990, 10, 90, 10],
        "loss": [10 * (1 - hard), 10 * hard, 30 * (1 - hard), 30 * hard],
    }


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def write_pictures(run, names, class_names, *, seed, stage="test"):
    """The pictures of a binary case: a disc, found a little beside its place."""
    y, x = np.mgrid[:48, :48]
    for place, name in enumerate(names):
        stem = case_stem(name)
        truth = ((x - 24) ** 2 + (y - 20) ** 2 < 90).astype(np.uint8)
        found = ((x - 24 - seed - 1) ** 2 + (y - 20) ** 2 < 90 + 9 * place).astype(np.uint8)
        image = np.repeat((40 + 3 * x + y)[:, :, None] % 200, 3, axis=2).astype(np.uint8)
        files = {"image": image, "reference": truth, "prediction": found}
        files[f"probability.{class_part(class_names[0])}"] = (found * 200 + 20).astype(np.uint8)
        for kind, array in files.items():
            write_bytes(run.case_pictures / stage / f"{stem}.{kind}.png", png(array))


def fake_run(
    folder,
    *,
    seed=0,
    gamma=2.0,
    skill=0.5,
    names=("a", "b", "c", "d"),
    class_names=("lesion",),
    stages=("val", "test"),
    pictures=False,
    curves=True,
    config=CONFIG,
    **info,
):
    """Write a finished run and return its paths."""
    run = RunPaths(folder)
    task = "binary" if len(class_names) == 1 else "multilabel"
    sha = f"{abs(hash((seed, gamma))):064x}"[:64]
    create_info(
        run,
        **{
            "task": task,
            "class_names": list(class_names),
            "seeds": {"process": seed},
            "class_counts": [[10_000 * (2 + i), 100 * (1 + i)] for i in range(len(class_names))],
            "data": {"sha256": "d" * 64},
            "parameters": {"trainable": 1234, "total": 1300},
            "command": ["segfocal", "fit"],
            **info,
        },
    )
    update_info(run, status="finished", checkpoints={"best": {"sha256": sha}}, timings={"fit_s": 12.5})
    write_text(run.config, config.format(seed=seed, gamma=gamma))
    log = MetricsLog(run.metrics)
    for step in (10, 20, 30):
        value = skill * step / 40 + seed / 100
        log.append({"train/loss": 1 - value, "val/dice": value, "learning_rate": 1e-3}, step=step, epoch=1)
    for stage in stages:
        rows = case_rows(names, class_names, seed=seed, skill=skill)
        write_cases(run, rows, stage=stage, checkpoint=sha, epoch=3, threshold_kind="fixed")
        for curve in ("reliability", "pr") if curves else ():
            columns = bins(names, class_names, curve=curve)
            if curve == "pr":  # one evaluation's bins are written together
                first = bins(names, class_names, curve="reliability")
                columns = {key: first[key] + columns[key] for key in columns}
            write_curves(run, columns, stage=stage, checkpoint=sha, kind="raw")
        if curves:
            common = {"stage": stage, "checkpoint": sha}
            write_calibration(run, sums(names, class_names), kind="raw", temperature=1.0, **common)
            write_concentration(run, spread(gamma), loss_name="FocalLoss", **common)
        log.append({f"{stage}/ece": 0.01 + seed / 1000, f"{stage}/aupr": 0.9}, step=30, epoch=1)
        if pictures:
            write_pictures(run, names, class_names, seed=seed, stage=stage)
    return run
