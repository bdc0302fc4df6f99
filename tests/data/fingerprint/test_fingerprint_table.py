"""A table of pictures and masks: what is found, and a configuration that trains as it is written."""

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

from segfocal.__main__ import main

MASK = np.zeros((48, 48), dtype=np.uint8)
MASK[:12, :12] = 1  # 6.25 %


def rows(root, masks=("mask",), **columns):
    """Twelve pictures and masks in one folder, which no look at folders can pair; columns by number."""
    root.mkdir()
    listed = []
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, MASK.shape).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"p{number}.png")
        Image.fromarray(MASK).save(root / f"q{number}.png")
        files = {"image": f"p{number}.png", **dict.fromkeys(masks, f"q{number}.png")}
        listed.append(files | {name: of(number) for name, of in columns.items()})
    return listed


def look(table, tmp_path, capsys):
    out = tmp_path / "x.yaml"
    assert main(["fingerprint", str(table), "--out", str(out), "--processes", "1"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    words = ["fit", "--config", str(out), "--run", str(tmp_path / "run"), "--trainer.max_steps", "2"]
    small = ["--trainer.accelerator", "cpu", "--data.init_args.patches_per_epoch", "32"]
    assert main([*words, *small]) == 0
    return text, yaml.safe_load(out.read_text())["data"]["init_args"]


def test_a_table_without_splits_is_divided(tmp_path, capsys):
    listed = rows(tmp_path / "set")
    pl.DataFrame(listed).write_csv(tmp_path / "set/all.csv")
    text, settings = look(tmp_path / "set/all.csv", tmp_path, capsys)
    assert "images 12 " in text
    assert "foreground │ 6.25 % │ 12" in text
    assert settings["task"] == "binary"
    assert settings["split"] == {"train": 0.7, "val": 0.15, "test": 0.15}


def test_splits_and_classes_of_a_parquet_table(tmp_path, capsys):
    def split(number):
        return "train" if number < 8 else "val" if number < 10 else "test"

    listed = rows(tmp_path / "set", masks=["mask_a", "mask_b"], split=split, group=lambda n: f"g{n}")
    pl.DataFrame(listed).write_parquet(tmp_path / "set/all.parquet")
    text, settings = look(tmp_path / "set/all.parquet", tmp_path, capsys)
    assert "12 (train 8, val 2, test 2)" in text
    assert settings["class_names"] == ["a", "b"]
    assert "split" not in settings


def test_equal_pictures_of_two_splits_are_allowed_by_the_names_of_the_table(tmp_path, capsys):
    columns = {
        "split": lambda number: "train" if number < 8 else "test",
        "name": lambda number: f"eye {number}",
    }
    listed = rows(tmp_path / "set", **columns)
    (tmp_path / "set/p11.png").write_bytes((tmp_path / "set/p0.png").read_bytes())
    pl.DataFrame([row | {"name": f"eye {n}"} for n, row in enumerate(listed)]).write_csv(
        tmp_path / "set/t.csv"
    )
    _, settings = look(tmp_path / "set/t.csv", tmp_path, capsys)
    assert settings["allow_leaks"] == ["eye 0", "eye 11"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("picture,mask\na,b\n", "must have the columns image, mask"), ("image,mask\na.png,b.png\n", "no file")],
)
def test_a_wrong_table_is_named(tmp_path, capsys, text, message):
    (tmp_path / "t.csv").write_text(text)
    assert main(["fingerprint", str(tmp_path / "t.csv")]) == 2
    assert message in capsys.readouterr().err
