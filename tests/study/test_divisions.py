"""What a study is planned on is what training will find: cases, splits, groups; and leaks are met first."""

import json
import shutil

import numpy as np
import pytest
from dicom_files import write_series
from PIL import Image
from study_fakes import CONFIG, write_study
from volume_files import write_decathlon

import segfocal.data
from segfocal.data import Split
from segfocal.errors import SegfocalError
from segfocal.study import sources
from segfocal.study.divisions import divide
from segfocal.study.plan import plan_study
from segfocal.study.signatures import find_class

BY_FOLD = {"test_folds": 2, "test_fold": 1}


def save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    top = 2 if "masks" in path.parts else 256
    Image.fromarray(np.random.default_rng(seed).integers(0, top, (16, 16), dtype=np.uint8)).save(path)


def write_folder(root):
    for number in range(6):
        save(root / f"images/p{number // 2}_{number}.png", number)
        save(root / f"masks/p{number // 2}_{number}.png", 100 + number)
    return {"task": "binary", "split": {"group": "^(p.)", **BY_FOLD}}


def write_table(root):
    write_folder(root)
    names = sorted(path.name for path in (root / "images").iterdir())
    lines = [f"images/{name},masks/{name},{number % 3}" for number, name in enumerate(names)]
    (root / "t.csv").write_text("\n".join(["image,mask,group", *lines]))
    return {"table": "t.csv", "task": "binary", "split": {"train": 0.5, "test": 0.5}}


def write_table_with_splits(root):
    write_folder(root)
    names = sorted(path.name for path in (root / "images").iterdir())
    parts = ["train", "train", "train", "val", "test", "test"]
    lines = [f"images/{name},masks/{name},{part}" for name, part in zip(names, parts, strict=True)]
    (root / "t.csv").write_text("\n".join(["image,mask,split", *lines]))
    return {"table": "t.csv", "task": "binary"}


def write_volumes(root):
    write_decathlon(root, count=5)
    return {}


def write_dicom(root):
    write_decathlon(root, count=5)
    for path in (root / "imagesTr").iterdir():
        write_series(np.zeros((3, 3, 2)), path.with_name(path.name.removesuffix(".nii.gz")), np.eye(4))
        path.unlink()
    return {}


def write_coco(root):
    entries = [{"id": n, "file_name": f"p{n // 2}_{n}.png", "height": 16, "width": 16} for n in range(6)]
    for entry in entries:
        save(root / "images" / entry["file_name"], entry["id"])
    content = {"images": entries, "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    (root / "i.json").write_text(json.dumps(content))
    return {"annotations": "i.json", "task": "binary", "split": {"group": "^(p.)", **BY_FOLD}}


def write_tusimple(root):
    lines = []
    for number in range(6):
        raw = f"clips/drive{number % 3}/{number}/20.jpg"
        save(root / raw, number)
        lines.append(json.dumps({"raw_file": raw, "lanes": [[3, 4]], "h_samples": [2, 12]}))
    (root / "labels.json").write_text("\n".join(lines))
    return {"labels": ["labels.json"], "split": {"train": 4, "test": 2}}


def write_culane(root):
    for number in range(6):
        save(root / f"clip{number % 3}.MP4/{number}.jpg", number)
        (root / f"clip{number % 3}.MP4/{number}.lines.txt").write_text("1 2 3 12\n")
    (root / "train.txt").write_text("clip0.MP4/0.jpg\nclip0.MP4/3.jpg\n")
    (root / "test.txt").write_text("clip1.MP4/1.jpg\nclip1.MP4/4.jpg\nclip2.MP4/2.jpg\n")
    return {"lists": {"train": "train.txt", "test": "test.txt"}}


CASES = [
    ("FolderData", write_folder, 1),
    ("TableData", write_table, 2),
    ("TableData", write_table_with_splits, 2),
    ("NiftiData", write_volumes, 1),
    ("NiftiData", write_dicom, 1),
    ("CocoData", write_coco, 1),
    ("TuSimpleData", write_tusimple, 1),
    ("CULaneData", write_culane, 2),
]
NAMES = [f"{kind}-{write.__name__}" for kind, write, _ in CASES]


@pytest.mark.parametrize(("kind", "write", "groups"), CASES, ids=NAMES)
def test_a_plan_knows_the_cases_that_training_finds(tmp_path, kind, write, groups):
    arguments = {"root": str(tmp_path)} | write(tmp_path)
    section = {"class_path": f"segfocal.data.{kind}", "init_args": arguments}
    split = {"split": Split(**arguments["split"])} if "split" in arguments else {}
    data = getattr(segfocal.data, kind)(**arguments | split, patch_size=8)
    expected = {
        (part, name, group)
        for part in ("train", "val", "test")
        for source in [data.cases(part).source]
        for name, group in zip(source.names, source.groups, strict=True)
    }
    found = divide(find_class(section["class_path"]).path, arguments, folds=None, fold=0)
    assert {(case.member.split, case.member.name, case.member.group) for case in found} == expected
    assert all(path.is_file() for case in found for path in (*case.member.files, *case.labels))
    assert sources.test_groups(section, folds=None) == groups
    sources.check_leaking(section, folds=None, name="own")


def test_a_plan_on_leaking_data_is_refused(tmp_path):
    arguments = {"root": str(tmp_path / "set")} | write_folder(tmp_path / "set")
    shutil.copy(tmp_path / "set/images/p0_0.png", tmp_path / "set/images/p2_5.png")
    start, end = CONFIG.index("data:"), CONFIG.index("trainer:")
    section = {"class_path": "segfocal.data.FolderData", "init_args": arguments}
    config = CONFIG[:start] + f"data: {json.dumps(section)}\n" + CONFIG[end:]
    with pytest.raises(SegfocalError, match=r"data set .*: 1 image.*p0_0.*p2_5"):
        plan_study(write_study(tmp_path, config=config), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    arguments["allow_leaks"] = ["p0_0"]
    config = CONFIG[:start] + f"data: {json.dumps(section)}\n" + CONFIG[end:]
    plan = plan_study(write_study(tmp_path, config=config), out=tmp_path / "out").plan
    assert [entry["clusters"] for entry in plan["datasets"].values()] == [1]
