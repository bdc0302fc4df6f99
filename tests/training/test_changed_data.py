"""Data that changed without a change of name, length or time are refused when a run or a study goes on."""

import json
import os

import numpy as np
import pytest
import yaml
from PIL import Image
from stop_at import StopAt
from volume_files import write_decathlon

from segfocal.__main__ import main
from segfocal.data import FolderData, NiftiData, Split
from segfocal.runs.info import read_info
from segfocal.runs.write import write_json

SIZE = (32, 32)
SHARES = {"train": 0.5, "val": 0.25, "test": 0.25}


def picture(path, seed, *, mask=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    plane = np.zeros(SIZE, np.uint8)
    top, left = rng.integers(2, 14, 2)
    plane[top : top + 10, left : left + 10] = 255
    noisy = plane // 2 + rng.integers(0, 100, SIZE).astype(np.uint8)
    Image.fromarray(plane if mask else noisy).save(path, compress_level=0)


def invert(path):
    """Invert a picture; the length and the time of the file stay as they were."""
    kept, before = path.stat(), path.read_bytes()
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path, compress_level=0)
    assert len(path.read_bytes()) == len(before)
    assert path.read_bytes() != before
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))


def folder(root):
    for number in range(8):
        picture(root / f"images/{number}.png", number)
        picture(root / f"masks/{number}.png", number, mask=True)
    return {"class_path": "segfocal.data.FolderData", "init_args": {"task": "binary", "split": SHARES}}


def table(root):
    folder(root)
    rows = [f"images/{n}.png,masks/{n}.png,{'train' if n < 6 else 'val'}" for n in range(8)]
    (root / "cases.csv").write_text("\n".join(["image,mask,split", *rows]) + "\n")
    return {"class_path": "segfocal.data.TableData", "init_args": {"task": "binary", "table": "cases.csv"}}


def coco(root):
    folder(root)
    box = {"iscrowd": 0, "category_id": 1, "segmentation": [[4, 4, 14, 4, 14, 14, 4, 14]], "area": 100}
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 32, "width": 32} for n in range(8)],
        "annotations": [{"id": n + 1, "image_id": n, "bbox": [4, 4, 10, 10], **box} for n in range(8)],
        "categories": [{"id": 1, "name": "box"}],
    }
    (root / "all.json").write_text(json.dumps(content))
    settings = {"annotations": "all.json", "task": "binary", "split": SHARES}
    return {"class_path": "segfocal.data.CocoData", "init_args": settings}


def lanes(root):
    lines = []
    for number in range(8):
        picture(root / f"images/{number}.png", number)
        lane = {"lanes": [[8, 12, 16]], "h_samples": [4, 14, 24], "raw_file": f"images/{number}.png"}
        lines.append(json.dumps(lane))
    (root / "labels.json").write_text("\n".join(lines) + "\n")
    settings = {"labels": ["labels.json"], "width_px": 3.0, "split": SHARES}
    return {"class_path": "segfocal.data.TuSimpleData", "init_args": settings}


KINDS = {"folder": folder, "table": table, "COCO": coco, "lanes": lanes}


def stopped(kind, tmp_path, config_text, monkeypatch, capsys):
    """Return a run on data of a kind, ended before its last step."""
    root = tmp_path / "set"
    root.mkdir()
    data = KINDS[kind](root)
    small = {
        "root": str(root),
        "batch_size": 2,
        "patch_size": 16,
        "patches_per_epoch": 12,
        "preprocess": {"in_channels": 1},
    }
    data["init_args"] |= small
    settings = yaml.safe_load(config_text) | {"data": data}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(settings))
    with monkeypatch.context() as patch:
        StopAt(patch, step=3)
        words = ["fit", "--config", str(tmp_path / "x.yaml"), "--run", str(tmp_path / "run")]
        assert main(words) == 130, capsys.readouterr().err
    capsys.readouterr()
    return tmp_path / "run"


@pytest.mark.parametrize("kind", KINDS)
def test_an_inverted_image_is_refused_and_named(kind, tmp_path, config_text, monkeypatch, capsys):
    run = stopped(kind, tmp_path, config_text, monkeypatch, capsys)
    invert(tmp_path / "set/images/5.png")
    assert main(["fit", "--resume", str(run)]) == 2
    error = capsys.readouterr().err
    assert "1 changed: " in error
    assert "5.png" in error
    assert error.count("\n") == 1
    invert(tmp_path / "set/images/5.png")
    assert main(["fit", "--resume", str(run)]) == 0


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_an_inverted_mask_is_refused_and_named(kind, tmp_path, config_text, monkeypatch, capsys):
    run = stopped(kind, tmp_path, config_text, monkeypatch, capsys)
    invert(tmp_path / "set/masks/2.png")
    assert main(["fit", "--resume", str(run)]) == 2
    assert "1 changed: masks/2.png" in capsys.readouterr().err
    assert main(["fit", "--resume", str(run), "--allow-changes"]) == 0
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "10"]) == 0


def test_a_run_of_an_earlier_version_goes_on_with_a_line(tmp_path, config_text, monkeypatch, capsys):
    """Its images are known by name and size, its masks by content."""
    run = stopped("folder", tmp_path, config_text, monkeypatch, capsys)
    info = read_info(run)
    del info["data"]["splits"]
    info["data"]["sha256"] = FolderData(
        str(tmp_path / "set"), task="binary", split=Split(**SHARES)
    ).former_sha256()
    write_json(run / "run.json", info)
    (run / "data_files.json").unlink()
    assert main(["fit", "--resume", str(run), "--trainer.max_steps", "5"]) == 0
    assert "begun by an earlier version: its images are compared by name and size" in capsys.readouterr().out
    invert(tmp_path / "set/masks/2.png")
    assert main(["fit", "--resume", str(run)]) == 2


@pytest.mark.parametrize("place", ["imagesTr", "labelsTr"])
def test_volumes_are_known_by_content(place, tmp_path):
    root = write_decathlon(tmp_path / "volumes")
    open_data = lambda: NiftiData(str(root), patch_size=[8, 10, 6])  # noqa: E731
    before, files = open_data().fingerprint(), open_data().file_hashes()
    path = sorted((root / place).iterdir())[0]
    kept, content = path.stat(), bytearray(path.read_bytes())
    content[9] ^= 1  # of the header of gzip, which says on what system it was packed
    path.write_bytes(content)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    after = open_data().file_hashes()
    assert open_data().fingerprint()["sha256"] != before["sha256"]
    assert [name for name in files if files[name] != after[name]] == [f"{place}/{path.name}"]


def test_splits_have_hashes_of_their_own(tmp_path):
    """Trainings on a part of the images are scored on the same ones."""
    folder(tmp_path)
    whole, half = (
        FolderData(
            str(tmp_path),
            task="binary",
            patch_size=16,
            split=Split(**SHARES, train_fraction=f),
        ).fingerprint()
        for f in (1.0, 0.5)
    )
    assert whole["sha256"] != half["sha256"]
    assert whole["splits"]["train"] != half["splits"]["train"]
    assert whole["splits"]["test"] == half["splits"]["test"]
    assert whole["splits"]["val"] == half["splits"]["val"]
