"""Scores are those of what ``predict`` writes, at the size of the files, whatever size the network sees."""

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from segfocal.__main__ import main
from segfocal.runs.info import read_info

pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = ((41, 52), (64, 33), (37, 37), (50, 60))  # height, width
NAMES = {"binary": ["disc"], "multiclass": ["background", "a", "b"], "multilabel": ["a", "b"]}
STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
CHANGES = {"scale": 0.4, "longest_side": 30, "larger": 1.5}


def write_images(folder, task):
    """Write bright discs with masks (multiclass and binary with 255 in them) and, for binary, regions."""
    rng = np.random.default_rng(3)
    for kind in ("images", "masks/a", "masks/b", "fov"):
        (folder / kind).mkdir(parents=True)
    for number in range(8):
        size = SIZES[number % len(SIZES)]
        rows, columns = np.indices(size)
        discs = [
            (rows - rng.integers(6, size[0] - 6)) ** 2 + (columns - rng.integers(6, size[1] - 6)) ** 2 < 60
            for _ in range(2)
        ]
        noise = rng.normal(60, 12, size) + 60 * discs[0] + 120 * discs[1]
        name = f"p{number}.png"
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
        if task == "multilabel":
            for label, disc in zip("ab", discs, strict=True):
                Image.fromarray(disc).save(folder / "masks" / label / name)
        else:
            mask = discs[1] * np.uint8(2) if task == "multiclass" else discs[1].astype(np.uint8)
            mask[discs[0] & (mask == 0)] = 1
            mask[:3] = 255
            Image.fromarray(mask).save(folder / "masks" / name)
        inside = (rows - size[0] / 2) ** 2 + (columns - size[1] / 2) ** 2 < 500
        Image.fromarray(inside).save(folder / "fov" / name)


def config(folder, task, change):
    preprocess = {"in_channels": 1} | ({"scale": 1.5} if change == "larger" else {change: CHANGES[change]})
    data = {"root": str(folder), "task": task, "class_names": NAMES[task], "preprocess": preprocess}
    data |= {"split": {"train": 3, "val": 2, "test": 3}, "patch_size": 16, "batch_size": 3}
    if task == "binary":
        data |= {"region": "fov", "values": {0: 0, 1: 1}, "ignore_values": [255]}
    unet = {"in_channels": 1, "num_classes": len(NAMES[task]), "channels": [4, 8]}
    return {
        "model": {
            "network": {"class_path": "segfocal.models.SmallUNet", "init_args": unet},
            "loss": {
                "class_path": "segfocal.losses.FocalDiceLoss",
                "init_args": {"task": task, "ignore_index": 255},
            },
            "learning_rate": 0.02,
        },
        "data": {"class_path": "segfocal.data.FolderData", "init_args": data},
        "trainer": {"max_steps": 12, "accelerator": "cpu"},
    }


def stored_masks(folder, name, task):
    """One mask per class, and where pixels count, from the files alone."""
    if task == "multilabel":
        masks = [np.asarray(Image.open(folder / "masks" / label / f"{name}.png")) for label in "ab"]
        return masks, np.ones(masks[0].shape, bool)
    mask = np.asarray(Image.open(folder / "masks" / f"{name}.png"))
    kept = mask != 255
    if task == "binary":
        return [mask == 1], kept & np.asarray(Image.open(folder / "fov" / f"{name}.png"))
    return [mask == label for label in range(3)], kept


def written_masks(folder, name, task):
    if task == "multilabel":
        return [np.asarray(Image.open(folder / "masks" / label / f"{name}.png")) > 0 for label in "ab"]
    mask = np.asarray(Image.open(folder / "masks" / f"{name}.png"))
    return [mask > 0] if task == "binary" else [mask == label for label in range(3)]


def counts(run, stage, kind):
    rows = pl.read_parquet(run / "cases.parquet").filter(pl.col("stage") == stage, threshold_kind=kind)
    return {
        (row["name"], row["class_index"]): tuple(row[key] for key in ("tp", "fp", "fn", "tn", "pixels"))
        for row in rows.iter_rows(named=True)
    }


def counts_of_files(folder, predictions, names, task):
    found = {}
    for name in names:
        truth, kept = stored_masks(folder, name, task)
        for index, (reference, mask) in enumerate(
            zip(truth, written_masks(predictions, name, task), strict=True)
        ):
            pairs = ((1, 1), (0, 1), (1, 0), (0, 0))
            four = [int((kept & (reference == known) & (mask == said)).sum()) for known, said in pairs]
            found[name, index] = (*four, int(kept.sum()))
    return found


def check_distances(run, folder, predictions, *, kind):
    """HD95 of the written files, where the edge of the region is no edge (that of ignored labels is)."""
    rows = pl.read_parquet(run / "cases.parquet").filter(pl.col("stage") == "test", threshold_kind=kind)
    assert rows.height == 3
    for row in rows.iter_rows(named=True):
        (truth,), kept = stored_masks(folder, row["name"], "binary")
        (mask,) = written_masks(predictions, row["name"], "binary")
        region = np.asarray(Image.open(folder / "fov" / f"{row['name']}.png"))
        edges = []
        for known in (truth & kept, mask & kept):
            around = np.pad(known | ~region, 1)
            inner = np.logical_and.reduce(
                [around[1 + y : -1 + y or None, 1 + x : -1 + x or None] for y, x in STEPS]
            )
            edges.append(np.argwhere(known & ~inner))
        assert all(len(edge) for edge in edges)
        away = np.linalg.norm(edges[0][:, None] - edges[1], axis=-1)
        expected = max(np.percentile(away.min(axis=axis), 95) for axis in (0, 1))
        assert row["hd95"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("task", "change"), list(zip(NAMES, CHANGES, strict=True)))
def test_counts_are_those_of_the_files_that_predict_writes(task, change, tmp_path, capsys):
    folder, run = tmp_path / "set", tmp_path / "run"
    write_images(folder, task)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config(folder, task, change)))
    assert main(["fit", "--config", str(tmp_path / "c.yaml"), "--run", str(run)]) == 0
    assert main(["test", "--run", str(run)]) == 0
    assert "at the size of their files" in capsys.readouterr().out
    kinds = {"argmax": []} if task == "multiclass" else {"tuned": [], "fixed": ["--threshold", "0.5"]}
    for kind, words in kinds.items():
        out = tmp_path / kind
        predict = ["predict", "--run", str(run), "--images", str(folder / "images"), "--out", str(out)]
        assert main([*predict, *words]) == 0
        expected = counts_of_files(folder, out, ["p5", "p6", "p7"], task)
        assert counts(run, "test", kind) == expected
        if task == "binary":
            check_distances(run, folder, out, kind=kind)
        assert sum(tp + fn for tp, _, fn, _, _ in expected.values()) > 0
    # validation during training scored the same, with the weights that were best
    assert counts(run, "val", kind) == counts_of_files(folder, out, ["p3", "p4"], task)
    assert read_info(run)["status"] == "finished"


def test_batches_of_images_stored_in_different_sizes(tmp_path):
    """Reduced to one size, they are scored at their own."""
    folder, run = tmp_path / "set", tmp_path / "run"
    write_images(folder, "multiclass")
    for number, size in enumerate([(24, 24), (60, 60), (24, 24), (48, 48), (36, 36)], start=3):
        for kind in ("images", "masks"):
            path = folder / kind / f"p{number}.png"
            Image.open(path).resize(size, Image.Resampling.NEAREST).save(path)
    settings = config(folder, "multiclass", "longest_side")
    settings["data"]["init_args"]["preprocess"]["longest_side"] = 24
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", str(tmp_path / "c.yaml"), "--run", str(run)]) == 0
    assert main(["test", "--run", str(run), "--data.init_args.val_batch_size", "3"]) == 0
    predict = ["predict", "--run", str(run), "--images", str(folder / "images"), "--out", str(tmp_path / "o")]
    assert main(predict) == 0
    names = ["p5", "p6", "p7"]
    assert counts(run, "test", "argmax") == counts_of_files(folder, tmp_path / "o", names, "multiclass")
