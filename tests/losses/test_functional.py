"""Every function is its module."""

import subprocess
import sys

import pytest
import torch

from segfocal.losses import functional

SETTINGS = {
    "focal_loss": ("FocalLoss", {"task": "multiclass", "gamma": 1.5, "alpha": [1.0, 2.0, 3.0], "knee": 0.8}),
    "cross_entropy_loss": ("CrossEntropyLoss", {"task": "multiclass", "reduction": "class_mean"}),
    "convex_focal_loss": ("ConvexFocalLoss", {"gamma": 4.0, "shift": 0.5, "tail": 0.1}),
    "reduced_focal_loss": ("ReducedFocalLoss", {"task": "multiclass", "gamma": 1.0}),
    "dice_loss": ("DiceLoss", {"task": "multiclass", "squared": True}),
    "jaccard_loss": ("JaccardLoss", {"task": "multiclass", "per_image": True}),
    "log_cosh_dice_loss": ("LogCoshDiceLoss", {"task": "multiclass"}),
    "tversky_loss": ("TverskyLoss", {"task": "multiclass", "fp_weight": 0.2, "fn_weight": 0.9}),
    "focal_tversky_loss": ("FocalTverskyLoss", {"task": "multiclass", "exponent": 1.3}),
    "generalized_dice_loss": ("GeneralizedDiceLoss", {"task": "multiclass", "weighting": "simple"}),
    "unified_focal_loss": ("UnifiedFocalLoss", {"task": "multiclass", "delta": 0.7}),
    "focal_dice_loss": ("FocalDiceLoss", {"task": "multiclass", "dice_weight": 0.3, "ignore_index": 2}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_function_gives_what_the_module_gives(name):
    module, settings = SETTINGS[name]
    g = torch.Generator().manual_seed(0)
    binary = name == "convex_focal_loss"
    logits = torch.randn(2, 1 if binary else 3, 5, 4, generator=g)
    target = torch.randint(0, 2 if binary else 3, (2, 5, 4), generator=g)
    weight = torch.rand(2, 5, 4, generator=g)
    expected = vars(functional)[module](**settings)(logits, target, weight)
    assert torch.equal(vars(functional)[name](logits, target, weight=weight, **settings), expected)


@pytest.mark.parametrize(
    "words",
    [
        "import segfocal.functional; found = segfocal.functional",
        "from segfocal import functional as found",
        "import segfocal as sf; found = sf.functional",
        "import importlib; found = importlib.import_module('segfocal.functional')",
    ],
)
def test_the_short_name_is_a_module_with_the_same_functions(words):
    check = "import segfocal.losses.functional as own; assert found.focal_loss is own.focal_loss"
    check += "; assert found.__all__ == own.__all__; from segfocal.functional import focal_loss"
    subprocess.run([sys.executable, "-W", "ignore", "-c", f"{words}; {check}"], check=True, timeout=120)


def test_every_module_has_its_function():
    functions = {name for name in functional.__all__ if name.endswith("_loss")}
    assert functions == set(SETTINGS)


def test_functions_compile_without_a_graph_break():
    torch._dynamo.reset()
    compiled = torch.compile(functional.focal_loss, fullgraph=True, backend="aot_eager")
    logits, target = torch.zeros(2, 1, 5), torch.zeros(2, 5, dtype=torch.uint8)
    assert compiled(logits, target, task="binary", gamma=1.0).item() == pytest.approx(0.34657, abs=1e-5)
