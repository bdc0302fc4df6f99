from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

from segfocal.data.preprocess import Preprocess
from segfocal.errors import SegfocalError
from segfocal.losses import FocalLoss
from segfocal.models import SmallUNet
from segfocal.runs.info import create_info
from segfocal.runs.layout import RunPaths
from segfocal.training.prediction.predictor import Predictor, load
from segfocal.training.rebuild import build_task, rebuild_task
from segfocal.training.task import SegmentationTask

MODEL = {
    "network": {
        "class_path": "segfocal.models.SmallUNet",
        "init_args": {"in_channels": 1, "num_classes": 1, "channels": [4, 8]},
    },
    "loss": {
        "class_path": "segfocal.losses.FocalLoss",
        "init_args": {"task": "binary", "alpha": "balanced"},
    },
    "compile": True,
}


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    network = SmallUNet(1, 1, channels=(4, 8))
    task = SegmentationTask(network, FocalLoss("binary"))
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    paths = RunPaths(tmp_path / "run")
    paths.checkpoints.mkdir(parents=True)
    for name, threshold in (("best", 0.25), ("last", 0.75)):
        stored = {"state_dict": state, "thresholds": [threshold], "class_counts": [[90, 10]]}
        torch.save(stored, paths.checkpoints / f"{name}.ckpt")
    create_info(
        paths,
        task="binary",
        num_classes=1,
        class_names=["lesion"],
        in_channels=1,
        preprocess=Preprocess(in_channels=1, normalize="none").to_dict(),
    )
    paths.config.write_text(yaml.safe_dump({"model": MODEL, "data": None}))
    return paths, task


def test_a_run_directory_is_enough_to_predict(run):
    paths, task = run
    image = np.random.default_rng(0).integers(0, 255, (21, 30), dtype=np.uint8)
    direct = Predictor(
        task.network,
        task="binary",
        preprocess=Preprocess(in_channels=1, normalize="none"),
        class_names=["lesion"],
        thresholds=[0.25],
        device="cpu",
    )(image)
    loaded = load(paths.root, device="cpu")
    found = loaded(image)
    assert np.array_equal(found.probabilities, direct.probabilities)
    assert np.array_equal(found.mask, direct.mask)
    assert found.class_names == ("lesion",)


def test_thresholds_belong_to_the_checkpoint(run):
    paths, _ = run
    assert load(paths.root).thresholds == (0.25,)
    assert load(paths.root, checkpoint="last").thresholds == (0.75,)


def test_a_balanced_loss_is_resolved_for_the_posterior(run):
    paths, _ = run
    rebuilt = rebuild_task(paths.root)
    assert not rebuilt.task.loss.wants_counts()
    assert not rebuilt.task.training
    assert rebuilt.checkpoint == paths.checkpoints / "best.ckpt"
    image = np.zeros((8, 8), np.uint8)
    assert np.isfinite(load(paths.root)(image, posterior=True).probabilities).all()


def test_pretrained_weights_are_not_fetched_again(monkeypatch):
    def offline(*_args, **_kwargs):
        raise AssertionError("tried to download")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", offline)
    for class_path, arguments in (
        ("segmentation_models_pytorch.Unet", {"encoder_name": "resnet18", "classes": 1}),
        ("segfocal.models.SmpNetwork", {"in_channels": 3, "num_classes": 1}),
    ):
        network = {"class_path": class_path, "init_args": {**arguments, "encoder_weights": "imagenet"}}
        assert build_task({**MODEL, "network": network}).network is not None


def test_damage_is_named(run):
    paths, _ = run
    with pytest.raises(SegfocalError, match="no such folder"):
        load(paths.root / "nowhere")
    with pytest.raises(SegfocalError, match=r"holds best\.ckpt, last\.ckpt"):
        load(paths.root, checkpoint="frist.ckpt")
    paths.config.write_text("model: [")
    with pytest.raises(SegfocalError, match=r"config\.yaml is no valid YAML"):
        load(paths.root)
    paths.config.write_text("data: 1")
    with pytest.raises(SegfocalError, match="a model section with a network"):
        load(paths.root)
    paths.config.unlink()
    with pytest.raises(SegfocalError, match="no such file"):
        load(paths.root)


def test_weights_of_another_network_are_refused(run):
    paths, _ = run
    wider = {**MODEL["network"], "init_args": {**MODEL["network"]["init_args"], "channels": [4, 8, 8]}}
    paths.config.write_text(yaml.safe_dump({"model": {**MODEL, "network": wider}}))
    with pytest.raises(SegfocalError, match=r"best\.ckpt do not fit SmallUNet: missing"):
        load(paths.root)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"class_path": "segfocal.models.SmallUnet", "init_args": {}}, "SmallUnet"),
        ({"class_path": "segfocal.models.SmallUNet", "init_args": {"num_clases": 1}}, "num_clases"),
    ],
)
def test_a_class_that_cannot_be_built_is_named(part, message):
    with pytest.raises(SegfocalError, match=message):
        build_task({**MODEL, "network": part}, origin="config.yaml")
