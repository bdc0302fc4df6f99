"""What every loss promises: copies, repr, YAML, dtypes, compilation, counts, errors."""

import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn
from torch.testing import assert_close

import segfocal
from segfocal.errors import SegfocalError
from segfocal.losses import (
    CompoundLoss,
    ConvexFocalLoss,
    CrossEntropyLoss,
    DeepSupervision,
    DiceLoss,
    FocalDiceLoss,
    FocalLoss,
    FocalTverskyLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    LogCoshDiceLoss,
    PixelSums,
    ReducedFocalLoss,
    SegmentationLoss,
    TverskyLoss,
    UnifiedFocalLoss,
    loss_and_counts,
)
from segfocal.losses.needs import compute

NAMES = vars()  # where eval(repr(loss)) finds the classes

EVERY = [
    FocalLoss("multiclass"),
    FocalLoss("multiclass", [0.3, 2.0, 1.0], [0.1, 1.0, 1.9], reduction="weighted_mean", ignore_index=255),
    FocalLoss("binary", 0.7, 0.25, label_smoothing=0.1, knee=0.8, validate=False),
    FocalLoss("multilabel", 0.3, [0.1, 0.2, 0.3], tail=0.2, reduction="class_sum"),
    FocalLoss("binary", poly=-0.3, reduction="modulation"),
    FocalLoss("multiclass", 2.0, reduction="none"),
    CrossEntropyLoss("multilabel", 0.3, reduction="positives"),
    ConvexFocalLoss("binary", 4.0, 0.0, tail=0.1, alpha=0.3),
    ReducedFocalLoss("multiclass", 2.0, threshold=0.4),
    DiceLoss("multiclass", per_image=True, squared=True, smooth=0.1, include_background=False, absent="skip"),
    JaccardLoss("binary", ignore_index=255),
    LogCoshDiceLoss("multilabel"),
    TverskyLoss("multiclass", 0.3, 0.7, per_image=True),
    FocalTverskyLoss("binary", 0.2, 0.8, 1.3),
    GeneralizedDiceLoss("multiclass", weighting="simple", smooth=0.5),
    UnifiedFocalLoss("multiclass", gamma=0.3, delta=0.7),
    UnifiedFocalLoss("binary", symmetric=True, pixel_weight=0.2),
    UnifiedFocalLoss("binary"),
    FocalDiceLoss("multiclass", 1.0, [0.1, 0.2, 0.3], dice_weight=0.5, tail=0.1, absent="skip"),
    FocalLoss("multiclass") + 0.5 * DiceLoss("multiclass"),
    FocalLoss("multiclass") + 0.5 * FocalLoss("multiclass", 1.0) + DiceLoss("multiclass"),
    DeepSupervision(FocalDiceLoss("binary"), [1.0, 0.25]),
    DeepSupervision(FocalLoss("binary") + DiceLoss("binary")),
]
IDS = [f"{i} {type(loss).__name__}" for i, loss in enumerate(EVERY)]
every_loss = pytest.mark.parametrize("loss", EVERY, ids=IDS)


def draw(loss, *, dtype=torch.float32, seed=0):
    """Logits and target of a loss, two outputs for deep supervision."""
    g = torch.Generator().manual_seed(seed)
    channels = 1 if loss.task == "binary" else 3
    shape = (2, channels, 8, 6)
    logits = (torch.randn(shape, generator=g) * 3).to(dtype)
    target = torch.randint(0, 3 if loss.task == "multiclass" else 2, (2, 8, 6), generator=g)
    if loss.task == "multilabel":
        target = torch.randint(0, 2, shape, generator=g)
    if isinstance(loss, DeepSupervision):
        return [logits, logits[..., ::2, ::2]], target
    return logits, target


def snapshot(loss):
    """Everything that a module holds, as bytes."""
    buffer = io.BytesIO()
    pickle.dump([(name, dict(vars(module))) for name, module in loss.named_modules()], buffer)
    return buffer.getvalue()


@every_loss
def test_copies_give_the_same_numbers(loss):
    logits, target = draw(loss)
    expected = loss(logits, target)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), eval(repr(loss), NAMES)):
        assert torch.equal(other(logits, target), expected)
        assert repr(other) == repr(loss)


@every_loss
def test_forward_writes_nothing_to_the_module(loss):
    before = snapshot(loss)
    logits, target = draw(loss)
    loss(logits, target)
    loss_and_counts(loss, logits, target)
    assert snapshot(loss) == before


@every_loss
def test_nothing_is_saved_in_checkpoints(loss):
    assert not loss.state_dict()
    assert not list(loss.parameters())


@every_loss
def test_casting_a_network_does_not_change_its_loss(loss):
    logits, target = draw(loss)
    expected = loss(logits, target)
    for cast in (
        nn.Module.half,
        nn.Module.double,
        lambda m: m.to(torch.bfloat16),
        lambda m: m.to("cpu", torch.float16),
    ):
        network = nn.Sequential(nn.Linear(2, 2), copy.deepcopy(loss))
        cast(network)
        assert all(buffer.dtype == torch.float64 for buffer in network[1].buffers())
        assert torch.equal(network[1](logits, target), expected)


def test_a_foreign_term_is_cast_like_any_module():
    loss = FocalLoss("binary", 0.3) + nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
    loss.to(torch.bfloat16)
    assert loss.terms[1].pos_weight.dtype == torch.bfloat16
    assert loss.terms[0].gamma.item() == 0.3


def test_casting_leaves_the_device_alone():
    loss = FocalLoss("multiclass", 0.3, [1.0, 2.0]).to("meta").half()
    assert {buffer.device.type for buffer in loss.buffers()} == {"meta"}


def test_meta_device_does_not_lose_the_numbers():
    with torch.device("meta"):
        loss = FocalLoss("multiclass", 0.3, [1.0, 2.0])
    assert (loss.gamma.item(), loss.alpha.tolist()) == (0.3, [1.0, 2.0])


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_of_the_loss_and_of_its_gradient(loss, dtype):
    logits, target = draw(loss, dtype=dtype)
    first = (logits[0] if isinstance(logits, list) else logits).requires_grad_()
    value = loss(logits, target)
    value.sum().backward()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert first.grad.dtype == dtype
    assert first.grad.isfinite().all()


@every_loss
def test_autocast_does_not_change_the_loss(loss):
    logits, target = draw(loss)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(logits, target)
    assert torch.equal(inside, loss(logits, target))


@pytest.mark.slow
@every_loss
def test_compiles_without_a_graph_break(loss):
    torch._dynamo.reset()
    logits, target = draw(loss)
    outputs = logits if isinstance(logits, list) else [logits]
    compiled = torch.compile(copy.deepcopy(loss), fullgraph=True, backend="aot_eager")
    both = []
    for call in (loss, compiled):
        leaves = [each.clone().requires_grad_() for each in outputs]
        value = call(leaves if isinstance(logits, list) else leaves[0], target)
        both.append((value.detach(), *torch.autograd.grad(value.sum(), leaves)))
    assert_close(both[1], both[0])


@pytest.mark.parametrize("loss", [EVERY[0], EVERY[9]], ids=["focal", "dice"])
def test_exports(loss):
    logits, target = draw(loss)
    program = torch.export.export(loss, (logits, target))
    assert_close(program.module()(logits, target), loss(logits, target))


def test_the_common_one_compiles_without_a_graph_break():
    torch._dynamo.reset()
    loss = FocalLoss("multiclass") + 0.5 * DiceLoss("multiclass")
    logits, target = draw(loss)
    compiled = torch.compile(copy.deepcopy(loss), fullgraph=True, backend="aot_eager")
    both = []
    for call in (loss, compiled):
        x = logits.clone().requires_grad_()
        value = call(x, target)
        both.append((value.detach(), *torch.autograd.grad(value, x)))
    assert_close(both[1], both[0])


@every_loss
def test_counts_come_with_the_same_value(loss):
    logits, target = draw(loss)
    value, counts = loss_and_counts(loss, logits, target)
    assert torch.equal(value, loss(logits, target))
    first = logits[0] if isinstance(logits, list) else logits
    assert counts.tp.shape == first.shape[:2]
    assert {each.dtype for each in (counts.tp, counts.fp, counts.fn)} == {torch.int64}


@pytest.mark.parametrize(
    "loss", [loss for loss in EVERY if not isinstance(loss, (DeepSupervision, CompoundLoss))]
)
def test_forward_is_needs_and_from_sums(loss):
    logits, target = draw(loss)
    if isinstance(loss, FocalLoss) and loss.reduction == "none":
        with pytest.raises(SegfocalError, match="gives a map"):
            loss.from_sums(PixelSums())
        return
    sums = tuple(compute(needs, logits, target, None) for needs in loss.passes(logits.shape[1]))
    assert_close(loss.from_passes(sums).float(), loss(logits, target))


YAML = """
loss:
  class_path: segfocal.losses.CompoundLoss
  init_args:
    terms:
      - class_path: segfocal.losses.FocalLoss
        init_args: {task: multiclass, gamma: [0.5, 2, 2], alpha: balanced, knee: 0.75}
      - class_path: segfocal.losses.DiceLoss
        init_args: {task: multiclass, include_background: false, absent: skip}
      - class_path: torch.nn.CrossEntropyLoss
    weights: [1.0, 0.5, 0.1]
"""


def parse(text, annotation=SegmentationLoss):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--loss", type=annotation)
    return parser.instantiate(parser.parse_object(yaml.safe_load(text))).loss


def test_yaml_builds_a_sum_of_losses():
    loss = parse(YAML)
    assert [type(term).__name__ for term in loss.terms] == ["FocalLoss", "DiceLoss", "CrossEntropyLoss"]
    assert loss.weights.tolist() == [1.0, 0.5, 0.1]
    assert loss.terms[0].gamma.tolist() == [0.5, 2.0, 2.0]
    assert loss.wants_counts()


@pytest.mark.parametrize(
    "loss", [loss for loss in EVERY if not isinstance(loss, (CompoundLoss, DeepSupervision))]
)
@pytest.mark.parametrize("annotation", [SegmentationLoss, nn.Module])
def test_yaml_builds_every_loss_from_its_settings(loss, annotation):
    settings = {"class_path": f"segfocal.losses.{type(loss).__name__}", "init_args": loss.settings()}
    assert repr(parse(yaml.safe_dump({"loss": settings}), annotation)) == repr(loss)


def test_yaml_builds_deep_supervision_around_a_short_name():
    text = (
        "loss: {class_path: segfocal.DeepSupervision, init_args: {loss: {class_path: segfocal.FocalDiceLoss, "
    )
    text += "init_args: {task: binary}}, weights: [1, 0.5]}}"
    assert repr(parse(text)) == "DeepSupervision(loss=FocalDiceLoss(task='binary'), weights=[1.0, 0.5])"


def test_repr_shows_what_is_not_default():
    assert repr(FocalLoss("binary", knee=0.75)) == "FocalLoss(task='binary', knee=0.75)"
    loss = FocalLoss("binary")
    loss.set_gamma(1.5)
    assert repr(loss) == "FocalLoss(task='binary', gamma=1.5)"


def test_balanced_alpha_becomes_numbers():
    loss = FocalLoss("multilabel", alpha="balanced")
    assert repr(loss) == "FocalLoss(task='multilabel', alpha='balanced')"
    resolved = loss.with_alpha(torch.tensor([[90, 10], [50, 50]]))
    assert resolved.alpha.tolist() == pytest.approx([0.9, 0.5])
    assert FocalLoss("binary", alpha="balanced").with_alpha([[98, 2]]).alpha.item() == pytest.approx(0.98)
    absent = FocalLoss("multiclass", alpha="balanced").with_alpha([90, 10, 0])
    assert absent.alpha.tolist() == pytest.approx([0.2, 1.8, 1.0])
    assert loss.wants_counts()  # the original still waits
    logits, target = draw(loss)
    with pytest.raises(SegfocalError, match="with_alpha"):
        loss(logits, target)
    assert resolved.with_alpha([1, 2, 3]).alpha.tolist() == resolved.alpha.tolist()


def test_arrays_and_tensors_are_numbers_too():
    given = [0.2, 1.8]
    for alpha in (
        given,
        tuple(given),
        np.array(given),
        np.array(given, dtype=np.float32),
        torch.tensor(given),
    ):
        loss = FocalLoss("multiclass", np.float32(2.0), alpha)
        assert loss.alpha.tolist() == pytest.approx(given)
    assert FocalLoss("multiclass", alpha="balanced").with_alpha(
        np.array([90, 10])
    ).alpha.tolist() == pytest.approx(given)


@pytest.mark.parametrize(
    ("task", "counts", "message"),
    [
        ("multiclass", [[1, 2]], r"counts must be \(C,\)"),
        ("multiclass", [0, 0], "must not be all 0"),
        ("multiclass", [-1, 2], "counts must be"),
        ("binary", [1, 2], r"counts must be \(1, 2\)"),
        ("binary", [[1, 2], [3, 4]], r"counts must be \(1, 2\)"),
        ("multilabel", [[5, 0]], "negatives and positives in every channel"),
        ("multiclass", [1, float("nan")], "counts must be finite"),
        ("multiclass", "counted", "counts must be a list"),
    ],
)
def test_counts_that_do_not_fit_are_refused(task, counts, message):
    with pytest.raises(SegfocalError, match=message):
        FocalLoss(task, alpha="balanced").with_alpha(counts)


def test_logits_that_contradict_the_task_are_refused():
    target = torch.zeros(2, 4, 4, dtype=torch.uint8)
    for loss in (FocalLoss, DiceLoss):
        with pytest.raises(SegfocalError, match="takes one logit per pixel"):
            loss("binary")(torch.zeros(2, 2, 4, 4), target)
        with pytest.raises(SegfocalError, match="at least two logits"):
            loss("multiclass")(torch.zeros(2, 1, 4, 4), target)
        with pytest.raises(SegfocalError, match=r"\(N, C, \*S\)"):
            loss("binary")(torch.zeros(4), target)
        with pytest.raises(SegfocalError, match="target"):
            loss("multiclass")(torch.zeros(2, 3, 4, 4), target.unsqueeze(1))


def test_validation_is_an_option():
    logits, target = torch.zeros(1, 3, 4), torch.tensor([[0, 1, 2, 7]])
    for build in (FocalLoss, DiceLoss, UnifiedFocalLoss, FocalDiceLoss):
        with pytest.raises(SegfocalError, match="7"):
            build("multiclass")(logits, target)
        assert build("multiclass", validate=False)(logits, target).isnan()
    checked = FocalLoss("multiclass", validate=False) + DiceLoss("multiclass", validate=True)
    with pytest.raises(SegfocalError, match="7"):
        checked(logits, target)


def test_counts_of_a_module_from_elsewhere():
    logits, target = torch.tensor([[[2.0, -1.0, 3.0]]]), torch.tensor([[1, 1, 0]])
    theirs = nn.BCEWithLogitsLoss()
    value, counts = loss_and_counts(theirs, logits, target.unsqueeze(1).float(), task="binary")
    assert torch.equal(value, theirs(logits, target.unsqueeze(1).float()))
    assert [each.item() for each in (counts.tp, counts.fp, counts.fn)] == [1, 1, 1]
    with pytest.raises(SegfocalError, match="Give task="):
        loss_and_counts(theirs, logits, target)


def test_importing_segfocal_takes_no_time_and_needs_torch_only():
    code = (
        "import sys, segfocal; assert 'torch' not in sys.modules; segfocal.FocalLoss('binary'); "
        "heavy = {'monai', 'pytorch_lightning', 'polars', 'scipy', 'numpy.testing', 'torchmetrics'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_listed_and_found():
    names = set(dir(segfocal))
    assert {"FocalLoss", "functional", "pixel_sums", "load", "SegfocalError", "__version__"} <= names
    for name in names - {"load"}:
        getattr(segfocal, name)
    with pytest.raises(AttributeError, match="no attribute 'FocaLoss'"):
        segfocal.FocaLoss  # noqa: B018
