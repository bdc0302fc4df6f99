"""Every published layout of volumes: all cases, channels, splits, groups and unused files."""

from pathlib import Path

import pytest
import yaml
from layouts.layout import DRAWN
from layouts.volumes import VOLUMES

from segfocal.__main__ import main
from segfocal.data import NiftiData
from segfocal.data.fingerprint.volume_folders import find_volume_folder
from segfocal.data.fingerprint.voxels import measure_volume


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
