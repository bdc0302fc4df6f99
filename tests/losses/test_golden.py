"""Numbers from the test suites of other libraries, met by our losses behind adapters that name the scalings.

The cases are a JSON file beside the real images; without it these tests are skipped.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from segfocal.losses import (
    CrossEntropyLoss,
    DeepSupervision,
    DiceLoss,
    FocalLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    TverskyLoss,
)
from segfocal.losses.needs import compute
from segfocal.losses.overlap import Overlap, dice, overlap, tversky

DATA = Path(os.environ.get("SEGFOCAL_DATA", Path(__file__).parents[3] / "shared" / "data"))
FILE = DATA.parent / "golden" / "peer_cases.json"
CASES = json.loads(FILE.read_text())["cases"] if FILE.is_file() else []

pytestmark = pytest.mark.data


class OtherFormulaError(Exception):
    """The case computes something that this library does not have, for the reason given."""


def decode(value):
    """Rebuild a tensor, or a list of them, from JSON."""
    if isinstance(value, list):
        return [decode(each) for each in value]
    return torch.tensor(value["data"], dtype=getattr(torch, value["dtype"])).reshape(value["shape"])


def listed(value):
    """The numbers of a JSON tensor, or the value itself."""
    return value["$tensor"] if isinstance(value, dict) and "$tensor" in value else value


def onehot(target, channels):
    """Masks (N, C, *S) of a label map (N, 1, *S) or (N, *S)."""
    target = target.squeeze(1) if target.shape[1] == 1 else target
    return torch.stack([target == c for c in range(channels)], 1).to(torch.uint8)


def label_map(target):
    """Label map (N, *S) of one stored as floats or with a channel axis."""
    return target.squeeze(1).long() if target.ndim > 2 and target.shape[1] == 1 else target.long()


def terms(loss, logits, target):
    """The loss of every region and class before the mean."""
    sums = compute(loss.needs(), logits.double(), target, None)
    settings = {"squared": loss.squared, "include_background": loss.include_background}
    return loss.term(overlap(sums, per_image=loss.per_image, **settings))


def region(sums_of, logits, target, *, squared=False):
    """Sums per image over all classes together, which some libraries call micro."""
    sums = compute(sums_of.needs(), logits.double(), target, None)
    per_class = overlap(sums, per_image=True, squared=squared, include_background=True)
    return Overlap(*(each.sum(1, keepdim=True) for each in per_class))


def combine(values, reduction):
    """The reductions of a list of terms."""
    return {"mean": values.mean, "sum": values.sum, "none": lambda: values}[reduction]()


def activated(inputs, target, k):
    """Task, logits and target behind the activation switches of monai."""
    if k.get("other_act"):
        raise OtherFormulaError("an activation that gives no probabilities")
    channels = inputs.shape[1]
    if k.get("softmax"):
        return "multiclass", inputs, label_map(target)
    masks = onehot(label_map(target), channels) if k.get("to_onehot_y") else target
    if not k.get("sigmoid"):
        if inputs.min() < 0 or inputs.max() > 1:
            raise OtherFormulaError("scores outside [0, 1] taken as probabilities")
        inputs = torch.logit(inputs)
    if k.get("include_background") is False:
        inputs, masks = inputs[:, 1:], masks[:, 1:]
    return "multilabel", inputs, masks


def monai_region(build, k, inputs, target):
    """Mean over images and classes unless batch; both smoothings equal."""
    top, bottom = k.get("smooth_nr", 1e-5), k.get("smooth_dr", 1e-5)
    if top != bottom:
        raise OtherFormulaError("numerator and denominator smoothed apart")
    if k.get("soft_label"):
        raise OtherFormulaError("intersection by the L1 norm")
    task, logits, labels = activated(inputs, target, k)
    loss = build(task, per_image=not k.get("batch", False), smooth=top)
    return combine(terms(loss, logits, labels), k.get("reduction", "mean"))


def monai_dice(k, inputs, target):
    build = JaccardLoss if k.get("jaccard") else DiceLoss
    squared = {"squared": True} if k.get("squared_pred") else {}
    return monai_region(lambda task, **s: build(task, **s, **squared), k, inputs, target)


def monai_tversky(k, inputs, target):
    weights = (k.get("alpha", 0.5), k.get("beta", 0.5))
    return monai_region(lambda task, **s: TverskyLoss(task, *weights, **s), k, inputs, target)


def monai_generalised(k, inputs, target):
    weighting = k.get("w_type", "square")
    return monai_region(
        lambda task, **s: GeneralizedDiceLoss(task, weighting=weighting, **s), k, inputs, target
    )


def monai_focal(k, inputs, target):
    """Softmax: C times smaller than the mean over pixels; scalar alpha gives class 0 its complement."""
    channels, gamma, alpha = inputs.shape[1], k.get("gamma", 2.0), k.get("alpha")
    if k.get("use_softmax"):
        if k.get("include_background") is False:
            raise OtherFormulaError("background dropped before the softmax")
        weights = None if alpha is None else [1 - alpha] + [alpha] * (channels - 1)
        target = label_map(target) if k.get("to_onehot_y") else target
        return FocalLoss("multiclass", gamma, weights)(inputs.double(), target) / channels
    masks = onehot(label_map(target), channels) if k.get("to_onehot_y") else target
    if k.get("include_background") is False:
        inputs, masks = inputs[:, 1:], masks[:, 1:]
    reduction = k.get("reduction", "mean")
    return FocalLoss("multilabel", gamma, alpha, reduction=reduction)(inputs.double(), masks)


def monai_dice_ce(k, inputs, target):
    """Dice of the raw scores plus cross-entropy of the same numbers as logits."""
    if k.get("sigmoid"):
        raise OtherFormulaError("a class weight on one channel")
    channels = inputs.shape[1]
    scores = inputs
    masks = onehot(label_map(target), channels)
    if k.get("include_background") is False:
        scores, masks = scores[:, 1:], masks[:, 1:]
    if scores.max() > 1:
        raise OtherFormulaError("scores outside [0, 1] taken as probabilities")
    weights = listed(k.get("weight"))
    ce = CrossEntropyLoss("multiclass", weights, reduction="weighted_mean")(
        inputs.double(), label_map(target)
    )
    overlapping = DiceLoss("multilabel", per_image=True, smooth=1e-5)(torch.logit(scores).double(), masks)
    return k.get("lambda_dice", 1.0) * overlapping + k.get("lambda_ce", 1.0) * ce


def monai_deep(k, inputs, target):
    """Weights 1, 1/2, 1/4 not divided by their sum."""
    outputs = inputs if isinstance(inputs, list) else [inputs]
    halves = [1.0, 0.5, 0.5] if k.get("weight_mode") == "two" else [1.0, 0.5, 0.25]
    weights = (listed(k.get("weights")) or halves)[: len(outputs)]
    inner = monai_dice_ce if "DiceCE" in k["loss"]["$module"] else monai_dice
    resized = [
        torch.nn.functional.interpolate(target, each.shape[2:], mode="nearest-exact") for each in outputs
    ]
    settings = k["loss"]["kwargs"]
    parts = [inner(settings, each, labels) for each, labels in zip(outputs, resized, strict=True)]
    assert DeepSupervision(DiceLoss("multilabel"), weights).weights == weights
    return sum(weight * part for weight, part in zip(weights, parts, strict=True))


def one_vs_rest(k, inputs, target, *, alpha):
    """Sigmoid focal loss of every class against the rest, as a map."""
    loss = FocalLoss("multilabel", k.get("gamma", 2.0), alpha, reduction="none")
    return loss(inputs.double(), target)


def mmcv_sigmoid(k, inputs, target):
    """The mean divides by rows, not by elements."""
    return one_vs_rest(k, inputs, target, alpha=k["alpha"]).sum() / inputs.shape[0]


def mmcv_softmax(k, inputs, target):
    """Alpha is one factor for all classes."""
    return (
        k["alpha"]
        * FocalLoss("multiclass", k["gamma"], reduction="sum")(inputs.double(), target)
        / inputs.shape[0]
    )


def mmseg_focal(k, inputs, target, weight=None):
    """Class weights and pixel weights multiply the map; the mean divides by all elements."""
    values = one_vs_rest(k, inputs, target, alpha=k["alpha"])
    classes = values.shape[1]
    if k.get("class_weight") is not None:
        values = values * torch.tensor(k["class_weight"]).view(1, -1, 1, 1)
    if weight is not None:
        rows = values.movedim(1, -1).reshape(-1, classes) * (
            weight if weight.ndim == 2 else weight.unsqueeze(1)
        )
        values = rows.reshape(*values.movedim(1, -1).shape).movedim(-1, 1)
    return combine(values, k["reduction"])


def mmseg_dice(k, inputs, target):
    """Squared, per image over all classes together, 1e-3 added to both halves of the denominator only."""
    task = "multilabel" if k.get("use_sigmoid") else "multiclass"
    sums = region(DiceLoss(task, squared=True), inputs, target, squared=True)
    return dice(sums._replace(prediction=sums.prediction + 2 * k.get("eps", 1e-3)), smooth=0).mean()


def mmseg_tversky(k, inputs, target):
    """Alpha weighs false positives, beta false negatives."""
    weights = (k.get("alpha", 0.3), k.get("beta", 0.7))
    loss = TverskyLoss("multiclass", *weights, per_image=True, smooth=k.get("smooth", 1))
    return terms(loss, inputs, target).mean()


def kornia_dice(k, pred, target):
    """Micro: per image over all classes, weighted; macro: mean over present classes."""
    if k.get("ignore_index") is not None:
        loss = DiceLoss("multiclass", ignore_index=k["ignore_index"], smooth=0)
        return dice(region(loss, pred, target), smooth=0).mean()
    loss, weight = DiceLoss("multiclass", per_image=True, smooth=0), listed(k.get("weight"))
    weights = torch.ones(pred.shape[1]) if weight is None else torch.tensor(weight)
    if k.get("average", "micro") == "macro":
        values = terms(loss, pred, target)
        return (weights * values).sum(1).mean() / weights.sum()
    sums = compute(loss.needs(), pred.double(), target, None)
    per_class = overlap(sums, per_image=True, squared=False, include_background=True)
    return dice(Overlap(*((weights * each).sum(1, keepdim=True) for each in per_class)), smooth=0).mean()


def kornia_tversky(k, pred, target):
    sums = region(TverskyLoss("multiclass", k["alpha"], k["beta"]), pred, target)
    return tversky(sums, fp_weight=k["alpha"], fn_weight=k["beta"], smooth=0).mean()


def kornia_binary(k, pred, target):
    """pos_weight w is (1 + w) times alpha = w / (1 + w); a mean over all elements."""
    reduction = k.get("reduction", "none")
    if k.get("pos_weight") is None:
        return FocalLoss("multilabel", k["gamma"], k["alpha"], reduction=reduction)(pred.double(), target)
    assert k["alpha"] is None
    w = torch.tensor(listed(k["pos_weight"]), dtype=torch.float64).flatten()
    values = FocalLoss("multilabel", k["gamma"], w / (1 + w), reduction="none")(pred.double(), target)
    values = values * (1 + w).view(1, -1, 1)
    if k.get("weight") is not None:
        values = values * torch.tensor(listed(k["weight"])).view(-1, *(1,) * 1)
    return combine(values, reduction)


def torchvision_focal(k, inputs, targets):
    """alpha below 0 switches the weight off."""
    alpha = None if k["alpha"] < 0 else k["alpha"]
    return FocalLoss("multilabel", k["gamma"], alpha, reduction=k["reduction"])(inputs.double(), targets)


def softmax_mean(k, logits, labels):
    return FocalLoss("multiclass", k["gamma"])(logits.double(), labels)


def nnunet_dice(k, x, y):
    """Minus Dice: our loss less 1."""
    settings = {"per_image": not k["batch_dice"], "include_background": k["do_bg"], "smooth": k["smooth"]}
    return DiceLoss("multiclass", **settings)(x.double(), label_map(y)) - 1


def nnunet_dice_ce(k, x, y):
    ignore = k.get("ignore_label")
    s = k["soft_dice_kwargs"]
    overlapping = DiceLoss(
        "multiclass",
        per_image=not s["batch_dice"],
        include_background=s["do_bg"],
        smooth=s["smooth"],
        ignore_index=ignore,
    )
    loss = CrossEntropyLoss("multiclass", ignore_index=ignore) + overlapping
    return loss(x.double(), label_map(y)) - 1


def nnunet_dice_bce(k, x, y):
    s = k["soft_dice_kwargs"]
    overlapping = DiceLoss("multilabel", per_image=not s["batch_dice"], smooth=s["smooth"])
    return (CrossEntropyLoss("multilabel") + overlapping)(x.double(), y) - 1


def poly_focal(k, logits, labels):
    """alpha weighs the focal part only."""
    arguments = (logits.double(), onehot(labels, k["num_classes"]))
    weighted = FocalLoss("multilabel", k["gamma"], k["alpha"])(*arguments)
    plain = FocalLoss("multilabel", k["gamma"])(*arguments)
    return weighted + FocalLoss("multilabel", k["gamma"], poly=k["epsilon"])(*arguments) - plain


def toolbelt_binary(k, inputs, targets):
    return FocalLoss("multilabel", k["gamma"], k["alpha"])(inputs.double(), targets)


def overlap_by_mode(build):
    """The batch is one region; a class that is absent counts as 0 in the mean over all classes."""

    def adapter(k, predicted, true):
        assert k["from_logits"] is False
        if k["mode"] == "binary":
            logits, target, task = torch.logit(predicted).flatten(2), true.flatten(2), "multilabel"
        elif k["mode"] == "multiclass":
            logits, target, task = predicted.log(), true, "multiclass"
        else:
            logits, target, task = torch.logit(predicted), true, "multilabel"
        loss = build(k)(task)
        masks = onehot(target, logits.shape[1]) if task == "multiclass" else target
        present = (masks > 0).transpose(0, 1).flatten(1).any(1)
        return torch.where(present, terms(loss, logits, target)[0], 0.0).mean()

    return adapter


def score_of(build):
    """1 less our loss, for vectors of probabilities, or per row where dims say so."""

    def adapter(k, output, target):
        rows = output.reshape(-1, 1, output.shape[-1]) if k.get("dims") else output.reshape(1, 1, -1)
        loss = build(k)("binary", per_image=True, smooth=0)
        return (1 - terms(loss, torch.logit(rows), target.reshape(rows.shape))).mean()

    return adapter


def soft_bce(k, predicted, true):
    """A smoothing of 0.1 towards the other side is ours of 0.2; ignored elements stay in the mean."""
    settings = {"label_smoothing": 2 * k["smooth_factor"], "ignore_index": k["ignore_index"]}
    loss = CrossEntropyLoss("binary", reduction="sum", **settings)
    return loss(predicted.double().view(1, 1, -1), true.view(1, -1)) / true.numel()


def soft_ce(k, predicted, true):
    """Ignored pixels stay in the mean."""
    settings = {"label_smoothing": k["smooth_factor"], "ignore_index": k["ignore_index"]}
    return (
        CrossEntropyLoss("multiclass", reduction="sum", **settings)(predicted.double(), true) / true.numel()
    )


def sam_dice(k, inputs, targets):
    """One mask per row, smoothed by 1, divided by the number of objects."""
    loss = DiceLoss("binary", per_image=True)
    return terms(loss, inputs.unsqueeze(1), targets.unsqueeze(1)).sum() / k["num_objects"]


def sam_focal(k, inputs, targets):
    """Mean per mask, summed, divided by the number of objects."""
    loss = FocalLoss("binary", k["gamma"], k["alpha"], reduction="none")
    return (
        loss(inputs.double().unsqueeze(1), targets.unsqueeze(1)).flatten(1).mean(1).sum() / k["num_objects"]
    )


ADAPTERS = {
    "Losses.focal_loss.FocalLoss": softmax_mean,
    "utils.loss.SoftmaxFocalLoss": softmax_mean,
    "kornia.losses.DiceLoss": kornia_dice,
    "kornia.losses.TverskyLoss": kornia_tversky,
    "kornia.losses.binary_focal_loss_with_logits": kornia_binary,
    "mmcv.ops.sigmoid_focal_loss": mmcv_sigmoid,
    "mmcv.ops.softmax_focal_loss": mmcv_softmax,
    "mmseg.models.losses.DiceLoss": mmseg_dice,
    "mmseg.models.losses.FocalLoss": mmseg_focal,
    "mmseg.models.losses.TverskyLoss": mmseg_tversky,
    "monai.losses.DeepSupervisionLoss": monai_deep,
    "monai.losses.DiceCELoss": monai_dice_ce,
    "monai.losses.DiceLoss": monai_dice,
    "monai.losses.FocalLoss": monai_focal,
    "monai.losses.GeneralizedDiceLoss": monai_generalised,
    "monai.losses.TverskyLoss": monai_tversky,
    "nnunetv2.training.loss.compound_losses.DC_and_BCE_loss": nnunet_dice_bce,
    "nnunetv2.training.loss.compound_losses.DC_and_CE_loss": nnunet_dice_ce,
    "nnunetv2.training.loss.dice.MemoryEfficientSoftDiceLoss": nnunet_dice,
    "nnunetv2.training.loss.dice.SoftDiceLoss": nnunet_dice,
    "polyloss.Poly1FocalLoss": poly_focal,
    "pytorch_toolbelt.losses.BinaryFocalLoss": toolbelt_binary,
    "pytorch_toolbelt.losses.DiceLoss": overlap_by_mode(lambda k: lambda task: DiceLoss(task, smooth=0)),
    "pytorch_toolbelt.losses.JaccardLoss": overlap_by_mode(
        lambda k: lambda task: JaccardLoss(task, smooth=0)
    ),
    "pytorch_toolbelt.losses.SoftBCEWithLogitsLoss": soft_bce,
    "pytorch_toolbelt.losses.functional.soft_dice_score": score_of(lambda k: DiceLoss),
    "pytorch_toolbelt.losses.functional.soft_jaccard_score": score_of(lambda k: JaccardLoss),
    "training.loss_fns.dice_loss": sam_dice,
    "training.loss_fns.sigmoid_focal_loss": sam_focal,
    "segmentation_models_pytorch.losses.DiceLoss": overlap_by_mode(lambda k: lambda t: DiceLoss(t, smooth=0)),
    "segmentation_models_pytorch.losses.JaccardLoss": overlap_by_mode(
        lambda k: lambda t: JaccardLoss(t, smooth=0)
    ),
    "segmentation_models_pytorch.losses.TverskyLoss": overlap_by_mode(
        lambda k: lambda task: TverskyLoss(task, k["alpha"], k["beta"], smooth=0)
    ),
    "segmentation_models_pytorch.losses.SoftBCEWithLogitsLoss": soft_bce,
    "segmentation_models_pytorch.losses.SoftCrossEntropyLoss": soft_ce,
    "segmentation_models_pytorch.losses._functional.soft_dice_score": score_of(lambda k: DiceLoss),
    "segmentation_models_pytorch.losses._functional.soft_jaccard_score": score_of(lambda k: JaccardLoss),
    "segmentation_models_pytorch.losses._functional.soft_tversky_score": score_of(
        lambda k: lambda task, **s: TverskyLoss(task, k["alpha"], k["beta"], **s)
    ),
    "torchvision.ops.sigmoid_focal_loss": torchvision_focal,
}

OTHER = {
    "Losses.focal_loss_adaptive_gamma.FocalLossAdaptive": "gamma jumps with p",
    "monai.losses.MaskedLoss": "masks multiply logits",
    "nnunetv2.training.loss.robust_ce_loss.TopKLoss": "a mean over the hardest pixels",
    "pytorch_toolbelt.losses.CrossEntropyFocalLoss": "BCE times a softmax factor",
    "pytorch_toolbelt.losses.QualityFocalLoss": "another soft-target definition",
    "loss_functions.focal_loss.FocalLoss": "a floor of 1e-5 under the probabilities",
}

# empty masks have loss 0 and gradient 0 there, however much is predicted
BUGS = {"monai/GeneralizedDiceLoss/TEST_CASES[9]/0"}


def ours(case):
    """Our number for a case, and the gradient of its sum by the first input."""
    if case["callable"] in OTHER:
        raise OtherFormulaError(OTHER[case["callable"]])
    inputs = {name: decode(value) for name, value in case["inputs"].items()}
    first, *rest = inputs.values()
    leaf = first.clone().requires_grad_() if isinstance(first, torch.Tensor) else first
    value = ADAPTERS[case["callable"]](case["kwargs"], leaf, *rest)
    gradient = None
    if "expected_grad" in case and isinstance(leaf, torch.Tensor):
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


def skip_without_cases():
    if not CASES:
        pytest.skip(f"no peer cases at {FILE}: set SEGFOCAL_DATA to the folder of images beside them")


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_peer_number_is_met(case):
    try:
        value, gradient = ours(case)
    except OtherFormulaError as reason:
        pytest.skip(f"another formula: {reason}")
    expected = torch.tensor(case["expected"], dtype=torch.float64)
    tolerance = {"rtol": max(case["rtol"], 1e-5), "atol": max(case["atol"], 1e-6)}
    if "peer_bug" in case.get("tags", []) or case["id"] in BUGS:
        with pytest.raises(AssertionError):
            assert_close(value.double().reshape(expected.shape), expected, **tolerance)
        return
    assert_close(value.double().reshape(expected.shape), expected, **tolerance)
    if gradient is not None:
        theirs = torch.tensor(case["expected_grad"], dtype=torch.float64).reshape(gradient.shape)
        assert_close(gradient.double(), theirs, rtol=1e-4, atol=1e-6)


def test_most_cases_are_met():
    skip_without_cases()
    met = 0
    for case in CASES:
        try:
            ours(case)
        except OtherFormulaError:
            continue
        met += 1
    assert met >= 195
    assert {case["callable"] for case in CASES} == set(ADAPTERS) | set(OTHER)
