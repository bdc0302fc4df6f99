"""What a study is planned on is what training will find: cases, splits, groups; and leaks are met first."""

import json
import shutil

import numpy as np
import pytest
from dicom_files import write_series
from PIL import Image
from study_fakes import CONFIG, write_study
from volume_files import save as write_volume
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


def rare_masks(seed, count=12):
    """Return masks with class 1 in each and class 2 in three of them."""
    rng = np.random.default_rng(seed)
    holders = set(rng.permutation(count)[:3].tolist())
    masks = np.zeros((count, 16, 16), dtype=np.uint8)
    masks[:, 2:6, 2:6] = 1
    for number in holders:
        masks[number, 8:12, 8:12] = 2
    return masks, holders


def rare_folder(root, masks):
    for number, mask in enumerate(masks):
        save(root / f"images/{number:02d}.png", number)
        (root / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(root / f"masks/{number:02d}.png")
    return {"task": "multiclass", "class_names": ["background", "common", "rare"]}


def rare_table(root, masks):
    settings = rare_folder(root, masks)
    lines = [f"images/{number:02d}.png,masks/{number:02d}.png" for number in range(len(masks))]
    (root / "t.csv").write_text("\n".join(["image,mask", *lines]))
    return settings | {"table": "t.csv"}


def rare_coco(root, masks):
    entries, shapes = [], []
    for number, mask in enumerate(masks):
        save(root / f"images/{number:02d}.png", number)
        entries.append({"id": number, "file_name": f"{number:02d}.png", "height": 16, "width": 16})
        for label, corner in ((1, 2), (2, 8)):
            if (mask == label).any():
                x, y = corner, corner + 4
                shape = {"id": len(shapes), "image_id": number, "category_id": label, "iscrowd": 0}
                shapes.append(shape | {"segmentation": [[x, x, y, x, y, y, x, y]]})
    categories = [{"id": 1, "name": "common"}, {"id": 2, "name": "rare"}]
    content = {"images": entries, "annotations": shapes, "categories": categories}
    (root / "i.json").write_text(json.dumps(content))
    return {"annotations": "i.json", "task": "multiclass", "classes": ["common", "rare"]}


def rare_volumes(root, masks):
    write_decathlon(root, count=len(masks))
    for number, mask in enumerate(masks):
        volume = np.stack([mask] * 4, axis=-1)
        write_volume(volume.astype(np.float32), root / f"imagesTr/case_{number:03d}.nii.gz")
        write_volume(volume, root / f"labelsTr/case_{number:03d}.nii.gz")
    return {}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("FolderData", rare_folder),
        ("TableData", rare_table),
        ("CocoData", rare_coco),
        ("NiftiData", rare_volumes),
    ],
)
def test_training_and_plan_spread_a_rare_class_alike(tmp_path, kind, write, seed):
    masks, holders = rare_masks(seed)
    split = {"train": 0.5, "val": 0.25, "test": 0.25}
    arguments = {"root": str(tmp_path), **write(tmp_path, masks), "split": split}
    data = getattr(segfocal.data, kind)(**arguments | {"split": Split(**split)}, patch_size=8)
    drawn = {part: set(data.cases(part).source.names) for part in split}
    names = sorted(set.union(*drawn.values()))
    homes = {part for part in split for number in holders if names[number] in drawn[part]}
    assert homes == set(split)
    path = find_class(f"segfocal.data.{kind}").path
    planned = divide(path, arguments, folds=None, fold=0)
    assert {part: {c.member.name for c in planned if c.member.split == part} for part in split} == drawn


def test_volumes_without_a_split_say_that_the_draw_follows_the_seed_alone(tmp_path):
    data = segfocal.data.NiftiData(root=str(write_decathlon(tmp_path)), patch_size=8)
    data.cases("train")
    assert [note for note in data.notes if "by the seed alone" in note and "data.init_args.split" in note]


@pytest.mark.parametrize("seed", range(4))
def test_frames_without_lanes_and_with_lanes_are_in_each_split(tmp_path, seed):
    holders = set(np.random.default_rng(seed).permutation(10)[:2].tolist())
    lines = []
    for number in range(10):
        raw = f"clips/drive{number}/1/20.jpg"
        save(tmp_path / raw, number)
        lanes = [[3, 4]] if number in holders else []
        lines.append(json.dumps({"raw_file": raw, "lanes": lanes, "h_samples": [2, 12]}))
    (tmp_path / "labels.json").write_text("\n".join(lines))
    arguments = {"root": str(tmp_path), "labels": ["labels.json"], "split": {"train": 0.7, "val": 0.3}}
    data = segfocal.data.TuSimpleData(**arguments | {"split": Split(train=0.7, val=0.3)}, patch_size=8)
    sources = [data.cases(part).source for part in ("train", "val")]
    assert [sum(bool(frame.lanes) for frame in source.frames) for source in sources] == [1, 1]
    path = find_class("segfocal.data.TuSimpleData").path
    planned = [case.member for case in divide(path, arguments, folds=None, fold=0)]
    assert [m.name for m in planned] == [name for source in sources for name in source.names]


@pytest.mark.parametrize("fraction", [0.01, 0.5, 1.0])
@pytest.mark.parametrize(("kind", "write", "groups"), CASES[:2], ids=NAMES[:2])
def test_a_plan_tells_how_many_images_a_fraction_leaves(tmp_path, kind, write, groups, fraction):
    arguments = {"root": str(tmp_path)} | write(tmp_path)
    section = {"class_path": f"segfocal.data.{kind}", "init_args": arguments}
    split = Split(**{**arguments.get("split", {}), "train_fraction": fraction})
    data = getattr(segfocal.data, kind)(**arguments | {"split": split}, patch_size=8)
    source = data.cases("train").source
    found = sources.training_images(section, folds=None, fraction=fraction)
    assert found == [(len(source.names), len(set(source.groups)))]
    plan = {"fractions": [fraction], "datasets": {"own": {}}}
    plan["data"] = [{"name": "own", "section": section, "folds": None}]
    lines = sources.fraction_lines(plan)
    assert len(lines) == (fraction < 1)
    if lines:
        start = f"own, fraction {fraction:g}: trains on {len(source.names)} image"
        assert lines[0].startswith(start)
