"""Stand-ins of volumes from the folder as it unpacks: fingerprint, fit, test and predict, as a user would."""

import nibabel
import numpy as np
import pytest
import yaml
from layouts.volumes import VOLUMES
from PIL import Image

from segfocal.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore")  # the command line hides Lightning's advice from users

QUICK = ("brats_2021",)


def marked(layout):
    return layout if layout.name in QUICK else pytest.param(layout, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "layout", [marked(layout) for layout in VOLUMES], ids=[each.name for each in VOLUMES]
)
def test_it_trains_tests_and_predicts(tmp_path, layout, monkeypatch, capsys):
    monkeypatch.setenv("SEGFOCAL_BACKEND", "eager")  # two steps are over before a compiler is
    root, out, run = tmp_path / "set", tmp_path / "x.yaml", tmp_path / "run"
    truth = layout.make(root)
    words = ["fingerprint", str(root), "--out", str(out), "--processes", "1", *truth.choose]
    assert main(words) == 0
    small = ["--trainer.max_steps", "2", "--data.init_args.patches_per_epoch", "4"]
    size = ["--data.init_args.patch_size", "16", "--trainer.accelerator", "cpu"]
    assert main(["fit", "--config", str(out), "--run", str(run), *small, *size]) == 0
    if {"", "test"} & set(truth.pairs):
        assert main(["test", "--run", str(run)]) == 0
    if not truth.predict:
        return
    images = root / truth.predict
    given = ["--images", str(images), "--out", str(tmp_path / "p"), "--overlay", "--device", "cpu"]
    assert main(["predict", "--run", str(run), *given]) == 0, capsys.readouterr().err
    masks = list((tmp_path / "p/masks").rglob("*.nii*"))
    assert len(masks) == {"nnunet_v1": 2}.get(layout.name, 1)
    mask = np.asarray(nibabel.load(masks[0]).dataobj)
    assert mask.shape == (16, 18, 12)
    labels = yaml.safe_load(out.read_text())["data"]["init_args"].get("labels", {})
    assert not labels or set(np.unique(mask)) <= set(labels.values()) | {0, 1}
    pictures = list((tmp_path / "p/overlays").iterdir())
    assert pictures
    assert {Image.open(picture).size for picture in pictures} == {(16, 18)}  # right to left, front to back
