"""SegmentationScores against brute force, torchmetrics and MONAI; order, batches, labels, 2D and 3D."""

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric
from torch.testing import assert_close
from torchmetrics.functional.segmentation import mean_iou

from segfocal.errors import SegfocalError
from segfocal.metrics import PixelCurves, SegmentationScores
from segfocal.runs import RunPaths
from segfocal.runs.cases import write_cases

SPACES = [(17,), (12, 15), (6, 7, 8)]


def batch(task, classes, space, *, images=4, seed=0, ignore=None, ignored_part=0.1):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(images, classes, *space, generator=generator)
    probabilities = scores.softmax(1) if task == "multiclass" else scores.sigmoid()
    highest, shape = (classes, (images, *space)) if task == "multiclass" else (2, (images, classes, *space))
    target = torch.randint(0, highest, shape, generator=generator)
    if ignore is not None:
        target[torch.rand(shape, generator=generator) < ignored_part] = ignore
    return probabilities, target, [f"image{index}" for index in range(images)]


def brute_force(task, probabilities, target, *, thresholds, ignore):
    """Counts by looping over images and classes, with numpy."""
    p, t = probabilities.double().numpy(), target.numpy()
    counts = np.zeros((*p.shape[:2], 4), dtype=np.int64)
    for n in range(p.shape[0]):
        for c in range(p.shape[1]):
            if task == "multiclass":
                found, true, kept = p[n].argmax(0) == c, t[n] == c, t[n] != ignore
            else:
                found, true, kept = p[n, c] > thresholds[c], t[n, c] == 1, t[n, c] != ignore
            pairs = [(found, true), (found, ~true), (~found, true), (~found, ~true)]
            counts[n, c] = [(a & b & kept).sum() for a, b in pairs]
    return counts


def counted(metric):
    rows = metric.cases()
    values = [[row[key] for key in ("tp", "fp", "fn", "tn")] for row in rows]
    return np.array(values).reshape(-1, metric.num_classes, 4)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("ignore", [None, 255, -100, 0, 1])
@pytest.mark.parametrize(("task", "classes"), [("binary", 1), ("multiclass", 4), ("multilabel", 3)])
def test_counts_equal_brute_force(task, classes, space, ignore):
    probabilities, target, names = batch(task, classes, space, ignore=ignore)
    thresholds = [0.3, 0.5, 0.7][:classes]
    options = {} if task == "multiclass" else {"thresholds": thresholds}
    metric = SegmentationScores(task, classes, ignore_index=ignore, **options)
    metric.update(probabilities, target, names)
    expected = brute_force(task, probabilities, target, thresholds=thresholds, ignore=ignore)
    np.testing.assert_array_equal(counted(metric), expected)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.bool,
    ],
)
def test_every_label_type_gives_the_same_counts(dtype):
    probabilities, target, names = batch("binary", 1, (9, 9))
    metric = SegmentationScores("binary", 1, ignore_index=255)
    metric.update(probabilities, target.to(dtype), names)
    expected = brute_force("binary", probabilities, target, thresholds=[0.5], ignore=255)
    np.testing.assert_array_equal(counted(metric), expected)


def test_more_classes_than_a_byte_holds():
    target = torch.tensor([[0, 1, 250]], dtype=torch.uint8)
    probabilities = torch.zeros(1, 300, 3)
    probabilities[0, [0, 257, 250], [0, 1, 2]] = 1
    metric = SegmentationScores("multiclass", 300)
    metric.update(probabilities, target, ["a"])
    counts = counted(metric)[0]
    assert counts[0].tolist() == [1, 0, 0, 2]
    assert counts[1].tolist() == [0, 0, 1, 2]
    assert counts[257].tolist() == [0, 1, 0, 2]
    assert counts[250].tolist() == [1, 0, 0, 2]


def test_an_ignored_label_is_not_taken_modulo_256():
    target = torch.tensor([[1, 156]], dtype=torch.uint8)  # 156 is -100 in eight bits
    with pytest.raises(SegfocalError, match="156"):
        SegmentationScores("binary", 1, ignore_index=-100).update(torch.ones(1, 1, 2), target, ["a"])


def test_binary_takes_a_channel_axis_or_none():
    probabilities, target, names = batch("binary", 1, (5, 6))
    with_axis, without = SegmentationScores("binary", 1), SegmentationScores("binary", 1)
    with_axis.update(probabilities, target, names)
    without.update(probabilities, target[:, 0], names)
    assert with_axis.cases() == without.cases()


def test_a_probability_at_the_threshold_is_background():
    metric = SegmentationScores("binary", 1)
    metric.update(torch.tensor([[[0.5, 0.5000001]]]), torch.tensor([[1, 1]]), ["a"])
    assert counted(metric)[0, 0].tolist() == [1, 0, 1, 0]


def test_of_equal_probabilities_the_first_class_is_taken():
    metric = SegmentationScores("multiclass", 3)
    metric.update(torch.full((1, 3, 1), 1 / 3), torch.tensor([[0]]), ["a"])
    assert counted(metric)[0, :, 0].tolist() == [1, 0, 0]


def test_dice_equals_monai_and_iou_equals_torchmetrics():
    probabilities, target, names = batch("multiclass", 4, (16, 16))
    metric = SegmentationScores("multiclass", 4)
    metric.update(probabilities, target, names)
    scores = metric.compute()
    found, true = (
        torch.nn.functional.one_hot(labels, 4).movedim(-1, 1) for labels in (probabilities.argmax(1), target)
    )
    monai = DiceMetric(reduction="none", ignore_empty=False)(found, true)
    assert_close(scores["dice"], monai.mean(0)[1:].mean())  # class 0 is the background
    assert_close(scores["dice/2"], monai[:, 2].mean())
    iou = mean_iou(found, true, num_classes=4, per_class=True, input_format="one-hot")
    assert_close(scores["iou"], iou.mean(0)[1:].mean())


def test_names_say_which_mean():
    metric = SegmentationScores("binary", 1, class_names=["vessel"], beta=2)
    probabilities = torch.tensor([[[1.0, 1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0, 0.0]]])
    metric.update(probabilities, torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]), ["a", "b"])
    scores = metric.compute()
    assert_close(scores["dice"].item(), (1 + 2 / 3) / 2)
    assert_close(scores["dataset_dice"].item(), 8 / 9)
    assert_close(scores["recall/vessel"].item(), 0.75)
    assert_close(scores["dataset_recall"].item(), 0.8)
    assert_close(scores["dataset_f2"].item(), 20 / 24)
    names = ["dice", "iou", "precision", "recall", "f2"]
    expected = {
        f"{prefix}{name}{label}" for prefix in ("", "dataset_") for name in names for label in ("", "/vessel")
    }
    assert set(scores) == expected


@pytest.mark.parametrize(
    ("empty", "dice"), [("one", [1, 0, 0]), ("nan", [None, 0, 0]), ("exclude", [None, None, 0])]
)
def test_the_policy_reaches_cases_and_means(empty, dice):
    metric = SegmentationScores("binary", 1, empty=empty)
    probabilities = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]]])
    metric.update(probabilities, torch.tensor([[0, 0], [0, 0], [1, 0]]), ["both", "reference", "prediction"])
    cases = {row["name"]: row["dice"] for row in metric.cases()}
    assert [cases[name] for name in ("both", "reference", "prediction")] == dice
    kept = [value for value in dice if value is not None]
    assert_close(metric.compute()["dice"].item(), sum(kept) / len(kept))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_order_and_batch_size_change_nothing(task):
    classes = 1 if task == "binary" else 3
    probabilities, target, names = batch(task, classes, (8, 9), images=7, ignore=255)
    whole, single = (SegmentationScores(task, classes, ignore_index=255) for _ in range(2))
    whole.update(probabilities, target, names)
    for index in (3, 0, 6, 1, 5, 2, 4):
        single.update(probabilities[index : index + 1], target[index : index + 1], names[index : index + 1])
    assert whole.cases() == single.cases()
    assert {k: v.item() for k, v in whole.compute().items()} == {
        k: v.item() for k, v in single.compute().items()
    }


def test_images_of_different_sizes_and_memory_formats_mix():
    metric = SegmentationScores("multiclass", 3)
    for size in (8, 13):
        probabilities, target, names = batch("multiclass", 3, (size, size + 2), seed=size)
        permuted = probabilities.to(memory_format=torch.channels_last)
        metric.update(permuted, target, [f"{name}-{size}" for name in names])
    assert sorted({row["pixels"] for row in metric.cases()}) == [8 * 10, 13 * 15]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_probabilities_of_any_precision(dtype):
    metric = SegmentationScores("binary", 1)
    metric.update(torch.tensor([[[0.25, 0.75]]], dtype=dtype), torch.tensor([[0, 1]]), ["a"])
    assert metric.compute()["dice"] == 1


def test_reset_forgets_and_nothing_gives_nan():
    metric = SegmentationScores("binary", 1)
    metric.update(torch.ones(1, 1, 4), torch.ones(1, 4).long(), ["a"])
    metric.reset()
    assert metric.cases() == []
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert metric.compute()["dice"].isnan()


def test_names_of_any_language_and_length_survive():
    names = ["ü/ö.png", "", "x" * 1000]
    metric = SegmentationScores("binary", 1)
    metric.update(torch.ones(3, 1, 4), torch.ones(3, 4).long(), names)
    assert [row["name"] for row in metric.cases()] == sorted(names)


def test_cases_go_straight_into_a_run(tmp_path):
    metric = SegmentationScores("multiclass", 3, beta=2)
    metric.update(*batch("multiclass", 3, (8, 8)))
    paths = RunPaths(tmp_path)
    write_cases(paths, metric.cases(), stage="val", checkpoint="", epoch=1, threshold_kind="argmax")
    assert paths.cases.is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.zeros(2, 5)}, "integer or bool"),
        ({"target": torch.zeros(2, 4).long()}, r"target must have shape \(2, 1, 5\).*got \(2, 4\)"),
        ({"target": torch.full((2, 5), 3)}, r"0\.\.1 or be 255 \(ignored\), got 3 \(10 px\) in a, b"),
        ({"target": torch.full((2, 5), -1)}, r"got -1 \(10 px\)"),
        ({"probabilities": torch.full((2, 1, 5), 7.0)}, "sigmoid or softmax"),
        ({"probabilities": torch.full((2, 1, 5), float("nan"))}, "NaN"),
        ({"probabilities": torch.zeros(2, 2, 5)}, r"shape \(N, 1, \*S\)"),
        ({"probabilities": torch.zeros(2, 1, 5).long()}, "floating"),
        ({"names": ["a"]}, "one name per image"),
        ({"names": "ab"}, "one name per image"),
        ({"names": [1, 2]}, "one name per image"),
        ({"names": None}, "one name per image"),
        ({"probabilities": np.zeros((2, 1, 5))}, "torch.Tensor, got ndarray"),
        ({"target": np.zeros((2, 5), int)}, "torch.Tensor, got ndarray"),
        ({"target": None}, "torch.Tensor, got NoneType"),
    ],
)
def test_wrong_input_is_named_and_counts_nothing(change, message):
    good = {"probabilities": torch.zeros(2, 1, 5), "target": torch.zeros(2, 5).long(), "names": ["a", "b"]}
    metric = SegmentationScores("binary", 1, ignore_index=255)
    with pytest.raises(SegfocalError, match=message):
        metric.update(**(good | change))
    assert metric.cases() == []


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -3.0])
@pytest.mark.parametrize(("task", "classes"), [("binary", 1), ("multiclass", 4), ("multilabel", 3)])
def test_a_probability_at_an_ignored_pixel_matters_nowhere(task, classes, wrong):
    probabilities, target, names = batch(task, classes, (12, 15), ignore=255)
    ignored = target == 255 if task != "multiclass" else (target == 255).unsqueeze(1).expand_as(probabilities)
    found = []
    for scores in (probabilities, probabilities.masked_fill(ignored, wrong)):
        metrics = [kind(task, classes, ignore_index=255) for kind in (SegmentationScores, PixelCurves)]
        for metric in metrics:
            metric.update(scores, target, names)
        found.append([metric.compute() for metric in metrics])
    assert_close(found[1], found[0], rtol=0, atol=0)
    with pytest.raises(SegfocalError, match="NaN"):  # and one that is labelled is still refused
        metrics[0].update(probabilities.masked_fill(~ignored, float("nan")), target, names)


def test_a_name_twice_is_an_error_that_names_the_sampler():
    metric = SegmentationScores("binary", 1)
    for _ in range(2):
        metric.update(torch.ones(1, 1, 4), torch.ones(1, 4).long(), ["a"])
    with pytest.raises(SegfocalError, match=r"got a more than once.*sampler that repeats no image"):
        metric.compute()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("binry", 1), {}, "Did you mean 'binary'"),
        (("binary", 2), {}, "1 for binary"),
        (("multiclass", 1), {}, "at least 2"),
        (("multiclass", 3), {"thresholds": 0.4}, "argmax"),
        (("multilabel", 3), {"thresholds": [0.5]}, "one per class"),
        (("binary", 1), {"thresholds": 1.5}, "thresholds"),
        (("binary", 1), {"empty": "zero"}, "empty must be one of"),
        (("binary", 1), {"beta": -1}, "beta"),
        (("multilabel", 2), {"class_names": ["a", "a"]}, "different names"),
        (("binary", 1), {"class_names": "a"}, "list of names"),
        (("binary", 1), {"thresholds": None}, "thresholds must be a number"),
        (("binary", None), {}, "num_classes must be a whole number"),
    ],
)
def test_contradicting_settings_are_refused(arguments, options, message):
    with pytest.raises(SegfocalError, match=message):
        SegmentationScores(*arguments, **options)


def pictures(labels, found, classes):
    """Probabilities of 1 for the classes found, and the labels."""
    found = torch.tensor(found)
    return torch.nn.functional.one_hot(found, classes).movedim(-1, 1).float(), torch.tensor(labels)


def test_background_everywhere_scores_nothing():
    metric = SegmentationScores("multiclass", 4, class_names=["background", "MA", "HE", "EX"])
    metric.update(*pictures([[0, 0, 1, 0], [0, 0, 0, 2]], [[0] * 4] * 2, 4), ["a", "b"])
    scores = metric.compute()
    assert scores["dice"] == 0.0  # MA 0, HE 0; EX occurs nowhere
    assert scores["dice/background"] > 0.8
    assert scores["dice/EX"].isnan()
    assert scores["dataset_dice/EX"].isnan()


@pytest.mark.parametrize(("background", "dice"), [(None, 0.5), (0, 0.0), (1, 1.0)])
def test_the_mean_leaves_out_the_class_that_is_named(background, dice):
    metric = SegmentationScores("multiclass", 2, class_names=["road", "sky"], background=background)
    metric.update(*pictures([[0, 0], [1, 1]], [[0, 0], [0, 0]], 2), ["a", "b"])
    scores = metric.compute()
    parts = [scores["dice/road"].item(), scores["dice/sky"].item()]
    kept = [value for index, value in enumerate(parts) if index != background]
    assert_close(scores["dice"].item(), sum(kept) / len(kept))
    assert [row["background"] for row in metric.cases()][:2] == [background == 0, background == 1]


@pytest.mark.parametrize("empty", ["one", "nan", "exclude"])
def test_a_class_in_no_image_has_no_mean_of_its_own(empty):
    metric = SegmentationScores("binary", 1, class_names=["lesion"], empty=empty)
    metric.update(
        torch.tensor([[[0.9, 0.1]], [[0.1, 0.1]]]), torch.zeros(2, 2, dtype=torch.int64), ["a", "b"]
    )
    scores = metric.compute()
    assert scores["dice"].item() == 0.5 if empty == "one" else scores["dice"].isnan()
    expected = {"one": (0.0, 1.0), "nan": (0.0, None), "exclude": (None, None)}[empty]
    assert tuple(row["dice"] for row in metric.cases()) == expected
    assert scores["dataset_dice"].item() == 0.0 if empty != "exclude" else scores["dataset_dice"].isnan()
