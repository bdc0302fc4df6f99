"""Every published layout: all files accounted for, and the complete list of pairs, splits and groups."""

import csv
from collections import Counter

import pytest
import yaml
from layouts.every import EVERY

from segfocal.__main__ import main
from segfocal.data.fingerprint.folders import read_folder

PICTURES = [layout for layout in EVERY if layout.kind == "pictures"]


def one(own):
    """A mask, a tuple of several, or None."""
    places = tuple(picture.place for picture in own)
    return places if len(places) > 1 else (places or (None,))[0]


def partition(groups):
    """Sets of what has one group, alone ones left out."""
    found = {}
    for name, group in groups.items():
        found.setdefault(group, set()).add(name)
    return sorted((sorted(names) for names in found.values() if len(names) > 1), key=str)


@pytest.mark.parametrize("layout", EVERY, ids=lambda layout: layout.name)
def test_the_truth_names_every_file(tmp_path, layout):
    truth = layout.make(tmp_path / "set")
    written = {path.relative_to(tmp_path / "set").as_posix() for path in (tmp_path / "set").rglob("*")}
    written = {path for path in written if (tmp_path / "set" / path).is_file()}
    written = {path for path in written if not path.rpartition("/")[2].startswith(".")}
    named = truth.files()  # a series of slices is named by its folder
    assert {path.rpartition("/")[0] if path.endswith(".dcm") else path for path in written} == named


@pytest.mark.parametrize("layout", PICTURES, ids=lambda layout: layout.name)
def test_pairs_splits_groups_and_every_other_file(tmp_path, layout):
    truth = layout.make(tmp_path / "set")
    look = read_folder(tmp_path / "set", processes=1)
    pairs = {}
    for case in look.cases:
        pairs.setdefault(case.split, {})[case.image.place] = tuple(map(one, case.masks))
    assert pairs == truth.pairs
    assert {c.image.place: c.region.place for c in look.cases if c.region} == truth.region
    if truth.class_names:
        assert look.match.classes == truth.class_names
    groups = look.groups() or []
    places = [case.image.place for case in look.cases]
    assert partition(dict(zip(places, groups, strict=False))) == partition(truth.groups or {})
    unused = {entry.place: entry.why for entry in look.accounts if entry.use in ("", "split list")}
    assert set(unused) == set(truth.unused)
    for place, word in truth.unused.items():
        assert word in unused[place], (place, unused[place], word)
    used = Counter(entry.use for entry in look.accounts)
    assert used["image"] == len(places)
    assert len(look.accounts) == len(truth.files())


@pytest.mark.parametrize("layout", PICTURES, ids=lambda layout: layout.name)
def test_what_is_written_gives_the_same_pairs(tmp_path, capsys, layout):
    """The configuration's data module finds the published pairs, whether it is a table or patterns."""
    from segfocal.training.cli import SegfocalCLI

    truth = layout.make(tmp_path / "set")
    out = tmp_path / "x.yaml"
    assert main(["fingerprint", str(tmp_path / "set"), "--out", str(out), "--processes", "1"]) == 0
    text = capsys.readouterr().out
    assert f"files: {len(truth.files())}, " in text
    assert len(out.with_suffix(".files.csv").read_text().splitlines()) == len(truth.files()) + 1
    settings = yaml.safe_load(out.read_text())["data"]
    assert settings["init_args"]["task"] == (truth.task or settings["init_args"]["task"])
    data = SegfocalCLI(["--config", str(out), "--trainer.accelerator", "cpu"]).datamodule
    found = {part: data.pairs().get(part, []) for part in ("train", "val", "test")}
    root = (tmp_path / "set").resolve()
    for part, pairs in found.items():
        for pair in pairs:
            image = pair.image.relative_to(root).as_posix()
            own = [
                tuple(p.relative_to(root).as_posix() for p in pair.mask_files(n))
                for n in range(len(pair.masks))
            ]
            home = next(split for split, cases in truth.pairs.items() if image in cases)
            assert home in (part, "") or (home, part) == ("train", "val")
            expected = truth.pairs[home][image]
            assert own == [m if isinstance(m, tuple) else (() if m is None else (m,)) for m in expected]
    assert sum(map(len, found.values())) == sum(map(len, truth.pairs.values()))
    assert found["train"]
    assert found["val"]


@pytest.mark.parametrize(
    "layout", [each for each in EVERY if each.kind == "pictures"], ids=lambda each: each.name
)
def test_images_that_are_drawn_to_validate_in_a_table_are_said(layout, tmp_path, capsys):
    truth = layout.make(tmp_path / "set")
    out = tmp_path / "x.yaml"
    assert main(["fingerprint", str(tmp_path / "set"), "--out", str(out), "--processes", "1"]) == 0
    if not (table := out.with_suffix(".csv")).is_file():
        return  # patterns say it all
    rows = list(csv.DictReader(table.read_text().splitlines()))
    drawn = {row["image"] for row in rows if row.get("split") == "val"} - set(truth.pairs.get("val", ()))
    said = " ".join(capsys.readouterr().out.split())
    assert (f"{len(drawn)} images of train validate" in said) == bool(drawn)
    assert (f"{len(drawn)} images of train validate" in out.read_text()) == bool(drawn)
