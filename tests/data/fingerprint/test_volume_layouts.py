"""Every published layout of volumes: all cases, channels, splits, groups and unused files."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from layouts.layout import DRAWN
from layouts.volumes import VOLUMES, labels, volume
from volume_files import save

from segfocal.__main__ import main
from segfocal.data import NiftiData
from segfocal.data.fingerprint.volume_folders import find_volume_folder
from segfocal.data.fingerprint.voxels import measure_volume
from segfocal.data.volumes.arrange import arrange


def written(root, truth, out):
    """Run the command as a user would and return the data module of what it wrote."""
    if truth.choose:
        assert main(["fingerprint", str(root), "--out", str(out), "--processes", "1"]) == 2
        assert not out.exists()
    words = ["fingerprint", str(root), "--out", str(out), "--processes", "1", *truth.choose]
    assert main(words) == 0
    init = yaml.safe_load(out.read_text())["data"]["init_args"]
    return NiftiData(
        **{key: init[key] for key in ("root", "table", "labels", "channels", "task") if key in init}
    )


def below(root, path):
    return Path(path).relative_to(root).as_posix()


@pytest.mark.parametrize("layout", VOLUMES, ids=lambda layout: layout.name)
def test_the_truth_is_found(tmp_path, layout, capsys):
    root = tmp_path / "set"
    truth = layout.make(root)
    data = written(root, truth, tmp_path / "x.yaml")
    page = " ".join(capsys.readouterr().out.split())
    splits = data.set.splits
    found = {}
    for case in data.set.cases:
        images = tuple(below(root, path) for path in case.images)
        assert truth.channels.get(images[0], images[:1]) == images
        found.setdefault(splits.get(case.name, DRAWN), {})[images[0]] = (below(root, case.mask),)
    assert found == truth.pairs
    assert data.task == truth.task
    assert not truth.class_names or tuple(data.class_names) == truth.class_names
    first = {case.name: below(root, case.images[0]) for case in data.set.cases}
    groups = truth.groups or {image: image for image in first.values()}
    kin = {(a, b) for a in first for b in first if data.group_of(a) == data.group_of(b)}
    assert kin == {(a, b) for a in first for b in first if groups[first[a]] == groups[first[b]]}
    for reason in truth.unused.values():
        assert reason in page


@pytest.mark.parametrize("layout", VOLUMES, ids=lambda layout: layout.name)
def test_every_file_is_accounted_for(tmp_path, layout):
    root = tmp_path / "set"
    truth = layout.make(root)
    given = find_volume_folder(root, images=None, masks=dict([truth.choose or ("", None)]).get("--masks"))
    facts = [measure_volume(case, channels=given.channels, known=given.known) for case in given.cases]
    unused = dict(given.finish(facts).unused)
    assert set(unused) == set(truth.unused)
    for path, reason in truth.unused.items():
        assert reason in unused[path]


def test_names_keep_numbers_that_occur_twice(tmp_path):
    for grade, number in (("HGG", 0), ("HGG", 1), ("LGG", 2013)):
        name = f"BraTS19_2013_{number}_1"
        volume(tmp_path / grade / name / f"{name}_t1.nii.gz")
        labels(tmp_path / grade / name / f"{name}_seg.nii.gz")
    names = [case.name for case in arrange(tmp_path).cases]
    assert names == ["BraTS19_2013_0_1", "BraTS19_2013_1_1", "BraTS19_2013_2013_1"]


def test_the_pattern_that_is_proposed_for_rivals_chooses_one(tmp_path, capsys):
    for number in range(3):
        volume(tmp_path / f"p{number}/ct.nii.gz")
        for organ in ("liver", "tumour"):
            labels(tmp_path / f"p{number}/{organ}_mask.nii.gz")
    assert main(["fingerprint", str(tmp_path), "--processes", "1"]) == 2
    pattern = re.search(r"such as --masks '([^']+)'", capsys.readouterr().err).group(1)
    masks = {case.mask.name for case in arrange(tmp_path, masks=pattern).cases}
    assert masks == {f"{pattern.strip('*')}_mask.nii.gz"}


@pytest.mark.parametrize(("low", "kind"), [(-1000, "CT"), (0, "MR")])
def test_air_tells_a_ct_whose_name_does_not(tmp_path, low, kind, capsys):
    for number in range(3):
        image = np.random.default_rng(number).normal(40, 10, (12, 12, 8)).astype(np.float32)
        image[:4] = low
        mask = np.zeros(image.shape, np.uint8)
        mask[6:9, 6:9, 3:5] = 1
        save(image, tmp_path / f"volume-{number}.nii")
        save(mask, tmp_path / f"segmentation-{number}.nii")
    assert main(["fingerprint", str(tmp_path), "--processes", "1"]) == 0
    assert f"taken for {kind}" in capsys.readouterr().out
