"""Data sets of other layouts from the command line: a YAML is enough to train, test and predict."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from foreign_files import write_pets, write_voc
from PIL import Image
from volume_files import change_json, write_decathlon

from segfocal.__main__ import main
from segfocal.runs import RunPaths, read_info

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore")  # the command line hides Lightning's advice from users


def config_for(data, *, task, classes, axes=2):
    init = {"in_channels": 3, "num_classes": classes}
    network = {"class_path": "segfocal.models.SmallUNet", "init_args": init}
    if axes == 3:
        init = {
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": classes,
            "channels": [4, 8],
            "strides": [2],
        }
        network = {"class_path": "monai.networks.nets.UNet", "init_args": init}
    loss = {"task": task, "gamma": 2.0, "ignore_index": 255}
    small = {"batch_size": 2, "patches_per_epoch": 4, "patch_size": 16}
    return {
        "model": {
            "network": network,
            "loss": {"class_path": "segfocal.losses.FocalLoss", "init_args": loss},
        },
        "data": data | {"init_args": data["init_args"] | small},
        "trainer": {"max_steps": 2, "accelerator": "cpu"},
    }


def coco_section(root):
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    images, shapes = [], []
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(root / f"images/{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 40, "width": 48})
        polygon = [4, 4, 20 + number, 6, 15, 30]
        shapes.append(
            {"id": number, "image_id": number, "category_id": 1 + number % 2, "segmentation": [polygon]}
        )
    categories = [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}]
    content = {"images": images, "annotations": shapes, "categories": categories}
    (root / "instances.json").write_text(json.dumps(content))
    return {
        "class_path": "segfocal.data.CocoData",
        "init_args": {
            "root": str(root),
            "annotations": "instances.json",
            "task": "multiclass",
            "classes": {"vehicle": ["car"], "coach": ["bus"]},
            "split": {"train": 4, "val": 1, "test": 1},
        },
    }


def voc_section(root):
    write_voc(root)
    voc = "torchvision.datasets.VOCSegmentation"
    return {
        "class_path": "segfocal.data.ForeignData",
        "init_args": {
            "datasets": {
                part: {"class_path": voc, "init_args": {"root": str(root), "image_set": name}}
                for part, name in (("train", "train"), ("test", "val"))
            },
            "task": "multiclass",
            "class_names": [f"class {number}" for number in range(21)],
            "split": {"train": 1, "val": 1},
            "image_files": "images",
        },
    }


def task_section(root):
    folder = write_decathlon(root / "Task04_Hippocampus", count=5)
    keys = {"name": "h", "description": "", "reference": "", "licence": "", "tensorImageSize": "3D"}
    change_json(folder, **keys, numTraining=5, numTest=0, test=[])
    monai = {"root_dir": str(root), "task": "Task04_Hippocampus", "section": "training", "val_frac": 0.0}
    return {
        "class_path": "segfocal.data.NiftiData",
        "init_args": {
            "datasets": {"train": {"class_path": "monai.apps.DecathlonDataset", "init_args": monai}},
            "split": {"train": 3, "val": 1, "test": 1},
        },
    }


@pytest.mark.parametrize(
    ("write", "classes", "axes"), [(coco_section, 3, 2), (voc_section, 21, 2), (task_section, 3, 3)]
)
def test_a_config_trains_and_tests_on_it(write, classes, axes, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGFOCAL_BACKEND", "eager")  # two steps are over before a compiler is
    config = config_for(write(tmp_path / "data"), task="multiclass", classes=classes, axes=axes)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    run = tmp_path / "run"
    assert main(["fit", "--config", str(tmp_path / "c.yaml"), "--run", str(run)]) == 0
    assert main(["test", "--run", str(run)]) == 0
    info = read_info(RunPaths(run))
    assert info["status"] == "finished"
    assert set(info["data"]["images"]) == {"train", "val", "test"}
    stored = yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]
    given = config["data"]["init_args"]
    assert {key: stored[key] for key in ("datasets", "annotations") if key in given} == {
        key: given[key] for key in ("datasets", "annotations") if key in given
    }


def has_a_stand_in(command):
    """Real sets are left to test_configs.py, which has them where SEGFOCAL_DATA is set."""
    config = (ROOT / re.search(r"--config (\S+)", command).group(1)).read_text()
    return "SEGFOCAL_DATA" not in config or "root null" in command


def own_files(root):
    """Masks and a table beside the images that are there."""
    (root / "masks").mkdir()
    names = [path.name for path in sorted((root / "images").iterdir())]
    mask = np.zeros((40, 48), dtype=np.uint8)
    mask[:20] = 1
    for name in names:
        Image.fromarray(mask).save(root / "masks" / name)
    lines = ["image,mask", *(f"images/{name},masks/{name}" for name in names)]
    (root / "table.csv").write_text("\n".join(lines))


SHOWN = [
    words
    for words in re.findall(r"`(segfocal fit [^`]+)`", (ROOT / "README.md").read_text())
    if "--run" in words and has_a_stand_in(words)
]


def test_the_readme_shows_commands_with_stand_ins():
    assert len(SHOWN) >= 5


@pytest.mark.parametrize("command", SHOWN, ids=range(len(SHOWN)))
def test_the_commands_in_the_table_of_the_readme_run(command, tmp_path, monkeypatch):
    monkeypatch.setenv("SEGFOCAL_BACKEND", "eager")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    coco_section(tmp_path / "data")
    own_files(tmp_path / "data")
    write_pets(tmp_path / "data")
    task_section(tmp_path)
    words = shlex.split(command.replace("download: true", "download: false"))[1:]
    small = ["--data.init_args.patch_size", "16", "--data.init_args.patches_per_epoch", "8"]
    assert main([*words, *small, "--trainer.max_steps", "1", "--trainer.precision", "32-true"]) == 0
