"""The recipes run against the real engines, not against stand-ins."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "experiments" / "recipes"


def test_own_loop_learns():
    history = runpy.run_path(str(RECIPES / "own_loop.py"))["train"]()
    assert history[-1] < 0.5 * history[0]


@pytest.mark.slow
def test_monai_trainer_learns():
    done = subprocess.run(
        [sys.executable, RECIPES / "monai_trainer.py"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    first, last = (float(number) for number in done.stdout.split("loss ")[-1].split(" -> "))
    assert last < 0.8 * first


NNUNET = """
import os, runpy, sys, numpy, torch
sys.path.insert(0, "{recipes}")
from nnunet_trainer import nnUNetTrainerFocalDice
conv, norm = "torch.nn.modules.conv.Conv2d", "torch.nn.modules.instancenorm.InstanceNorm2d"
network = dict(
    network_class_name="dynamic_network_architectures.architectures.unet.PlainConvUNet",
    arch_kwargs=dict(
        n_stages=3, features_per_stage=[8, 16, 32], conv_op=conv, kernel_sizes=[[3, 3]] * 3,
        strides=[[1, 1], [2, 2], [2, 2]], n_conv_per_stage=[1] * 3,
        n_conv_per_stage_decoder=[1, 1], conv_bias=True, norm_op=norm,
        norm_op_kwargs=dict(affine=True), dropout_op=None, dropout_op_kwargs=None,
        nonlin="torch.nn.LeakyReLU", nonlin_kwargs=dict(inplace=True),
    ),
    _kw_requires_import=["conv_op", "norm_op", "dropout_op", "nonlin"],
)
configuration = dict(
    data_identifier="plain", preprocessor_name="DefaultPreprocessor", batch_size=2, patch_size=[32, 32],
    median_image_size_in_voxels=[32, 32], spacing=[1, 1], normalization_schemes=["ZScoreNormalization"],
    use_mask_for_norm=[False], resampling_fn_data="resample_data_or_seg_to_shape", batch_dice=True,
    architecture=network,
)
plans = dict(
    continue_training=False, dataset_name="Dataset001_discs", plans_name="plans",
    configurations={{"2d": configuration}}, image_reader_writer="SimpleITKIO", label_manager="LabelManager",
)
dataset = dict(
    name="discs", channel_names={{"0": "CT"}}, numTraining=1, file_ending=".nii.gz",
    labels={{"background": 0, "organ": 1, "lesion": 2, "ignore": 3}},
)
folder = os.path.join(os.environ["nnUNet_preprocessed"], "Dataset001_discs", "plain")
os.makedirs(folder)
numpy.savez(os.path.join(folder, "case.npz"), data=1)
torch.manual_seed(0)
trainer = nnUNetTrainerFocalDice(plans, "2d", 0, dataset, device=torch.device("cpu"))
trainer.initialize()
labels = torch.zeros(2, 1, 32, 32)
labels[..., 8:24, 8:24], labels[..., 12:16, 12:16], labels[..., :3] = 1, 2, 3
targets = [labels, labels[..., ::2, ::2]]
images = labels.clamp(max=2) + 0.2 * torch.randn(labels.shape)
losses = [float(trainer.train_step(dict(data=images, target=targets))["loss"]) for _ in range(30)]
print("loss", losses[0], "->", losses[-1])
"""


@pytest.mark.slow
def test_nnunet_trainer_learns(tmp_path):
    folders = {f"nnUNet_{name}": str(tmp_path / name) for name in ("raw", "preprocessed", "results")}
    done = subprocess.run(
        [sys.executable, "-c", NNUNET.format(recipes=RECIPES)],
        capture_output=True,
        text=True,
        env={**os.environ, **folders, "nnUNet_compile": "f"},
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, last = (float(number) for number in done.stdout.split("loss ")[-1].split(" -> "))
    assert last < 0.8 * first
