"""Surface distances: MONAI's numbers, millimetres, and what empty masks score."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from segfocal.errors import SegfocalError
from segfocal.metrics.masks import with_columns
from segfocal.metrics.surface import SurfaceScores, surface_scores


def balls(seed, shape=(14, 12, 10)):
    rng = np.random.default_rng(seed)
    centre = rng.integers(4, np.array(shape) - 4)
    away = np.indices(shape) - centre[:, None, None, None]
    return torch.from_numpy((away**2).sum(axis=0) < rng.uniform(4, 16))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of MONAI about its own default
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 1.1, 2.5)])
def test_surface_scores_are_those_of_monai(seed, spacing):
    predicted, reference = balls(seed), balls(seed + 10)
    hd95, nsd = surface_scores(predicted, reference, spacing=spacing, tolerance=1.5)
    masks = [mask[None, None].float() for mask in (predicted, reference)]
    common = {"include_background": True, "spacing": spacing}
    expected = compute_hausdorff_distance(*masks, percentile=95, **common).item()
    assert hd95 == pytest.approx(expected, abs=1e-4)
    expected = compute_surface_dice(*masks, class_thresholds=[1.5], **common).item()
    assert nsd == pytest.approx(expected, abs=1e-6)


def test_a_shift_by_one_slice_is_the_spacing_along_it():
    cube = torch.zeros(12, 12, 12, dtype=torch.bool)
    cube[3:8, 3:8, 3:8] = True
    hd95, nsd = surface_scores(cube.roll(1, 2), cube, spacing=(1.0, 1.0, 3.0), tolerance=2.9)
    assert hd95 == pytest.approx(3.0)
    assert nsd < 1
    assert surface_scores(cube.roll(1, 2), cube, spacing=(1.0, 1.0, 3.0), tolerance=3.0)[1] == 1


def edges_in_words(mask, inside):
    """Pixels of a mask that touch, by an edge, the border of the image or a known pixel of no mask."""
    found = []
    for place in np.argwhere(mask):
        for axis, step in [(axis, step) for axis in range(mask.ndim) for step in (-1, 1)]:
            beside = place.copy()
            beside[axis] += step
            there = tuple(beside)
            out = min(there) < 0 or any(a >= b for a, b in zip(there, mask.shape, strict=True))
            if out or (inside[there] and not mask[there]):
                found.append(place)
                break
    return np.array(found, dtype=float)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(30, 26), (12, 11, 9)])
def test_the_edge_of_a_region_is_no_edge_of_masks(seed, shape):
    rng = np.random.default_rng(seed)
    grid = np.moveaxis(np.indices(shape), 0, -1)

    def ball(radius):
        return (((grid - rng.uniform(2, np.array(shape) - 2)) / np.array(shape)) ** 2).sum(-1) < radius**2

    inside = ball(0.5)
    masks = [ball(0.4) & inside for _ in range(2)]
    spacing = (0.7, 1.3, 2.0)[: len(shape)]
    edges = [edges_in_words(mask, inside) * spacing for mask in masks]
    assert all(len(edge) for edge in edges)
    away = np.linalg.norm(edges[0][:, None] - edges[1], axis=-1)
    ways = away.min(axis=1), away.min(axis=0)
    predicted, reference = (torch.from_numpy(mask) for mask in masks)
    found = surface_scores(
        predicted, reference, spacing=spacing, tolerance=1.5, region=torch.from_numpy(inside)
    )
    near = np.concatenate(ways) <= 1.5
    np.testing.assert_allclose(found, (max(np.percentile(w, 95) for w in ways), near.mean()), rtol=1e-5)


def test_a_band_that_crosses_the_region_is_as_far_off_as_without_it():
    """Three rows too low: the cut pixels, which lie on one another, must not make that closer."""
    reference, inside = torch.zeros(20, 40, dtype=torch.bool), torch.zeros(20, 40, dtype=torch.bool)
    reference[2:12], inside[:, 5:9] = True, True
    band = reference & inside, reference.roll(3, 0) & inside
    common = {"spacing": (1.0, 1.0), "tolerance": 1.0}
    assert surface_scores(*band[::-1], **common, region=inside) == (3.0, 0.0)
    assert surface_scores(*band[::-1], **common)[1] > 0


def test_masks_that_fill_the_region_agree_and_one_that_does_is_measured_at_its_edge():
    inside = torch.zeros(20, 20, dtype=torch.bool)
    inside[4:16, 4:16] = True
    smaller = torch.zeros_like(inside)
    smaller[6:14, 6:14] = True
    common = {"spacing": (1.0, 1.0), "tolerance": 1.0}
    assert surface_scores(inside, inside, **common, region=inside) == (0.0, 1.0)
    assert surface_scores(smaller, inside, **common, region=inside) == surface_scores(
        smaller, inside, **common
    )
    assert surface_scores(smaller, inside, **common, region=inside)[1] == 0


@pytest.mark.parametrize(
    ("empty", "both", "reference", "prediction"),
    [("one", (0, 1), (13, 0), (13, 0)), ("nan", None, (13, 0), (13, 0)), ("exclude", None, None, (13, 0))],
)
def test_empty_masks_score_as_the_policy_says(empty, both, reference, prediction):
    """An image of 6 x 13 pixels has a diagonal of 13."""
    none, some = torch.zeros(6, 13, dtype=torch.bool), torch.zeros(6, 13, dtype=torch.bool)
    some[2:4, 2:4] = True
    common = {"spacing": (1.0, 1.0), "tolerance": 1.0, "empty": empty}
    cases = {"both": (none, none), "reference": (some, none), "prediction": (none, some)}
    wanted = {"both": both, "reference": reference, "prediction": prediction}
    for name, (predicted, known) in cases.items():
        found = surface_scores(predicted, known, **common)
        expected = (np.nan, np.nan) if wanted[name] is None else wanted[name]
        np.testing.assert_allclose(found, expected)


def test_rows_name_unit_and_leave_the_background_out():
    labels = torch.zeros(2, 8, 8, 8, dtype=torch.long)
    labels[:, 2:5, 2:5, 2:5] = 1
    scores = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    for spacing, unit in ((torch.full((2, 3), 2.0), "mm"), (None, "px")):
        metric = SurfaceScores("multiclass", 2, class_names=["background", "cube"])
        metric.update(scores, labels, ["b", "a"], spacing)
        rows = metric.rows()
        assert rows["a", 1] == {"hd95": 0.0, "nsd": 1.0, "distance_unit": unit}
        assert ("a", 0) not in rows
        assert metric.compute()["nsd/cube"] == 1
        assert "nsd/background" not in metric.compute()
        assert metric.compute()["hd95"] == 0


def test_ignored_pixels_belong_to_neither_mask():
    labels = torch.zeros(1, 10, 10, dtype=torch.uint8)
    labels[0, 2:5, 2:5] = 1
    scores = (labels == 1).float()[:, None]
    scores[0, 0, 8:] = 1  # wrong, but nobody knows there
    labels[0, 8:] = 255
    metric = SurfaceScores("binary", 1, ignore_index=255)
    metric.update(scores, labels, ["a"])
    assert metric.compute()["hd95"] == 0


def test_thresholds_decide_the_mask():
    labels = torch.zeros(1, 9, 9, dtype=torch.uint8)
    labels[0, 2:6, 2:6] = 1
    metric = SurfaceScores("binary", 1, thresholds=[0.2])
    metric.update(0.3 * labels[:, None].float(), labels, ["a"])
    assert metric.compute()["nsd"] == 1


def test_wrong_spacing_is_refused():
    with pytest.raises(SegfocalError, match=r"spacing must have shape \(1, 2\), got \(1, 3\)"):
        SurfaceScores("binary", 1).update(
            torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8), ["a"], torch.ones(1, 3)
        )


def test_columns_join_the_rows_of_their_image_and_class():
    labels = torch.zeros(1, 2, 9, 9, dtype=torch.uint8)
    labels[0, :, 2:6, 2:6] = 1
    metric = SurfaceScores("multilabel", 2, class_names=["a", "b"], classes=["b"])
    metric.update(labels.float(), labels, ["eye"])
    rows = with_columns([{"name": "eye", "class_index": index} for index in (0, 1)], [metric])
    assert rows == [
        {"name": "eye", "class_index": 0},
        {"name": "eye", "class_index": 1, "hd95": 0.0, "nsd": 1.0, "distance_unit": "px"},
    ]


def test_an_unknown_class_is_named():
    with pytest.raises(SegfocalError, match=r"must be one of 'vessel', got 'vesel'\. Did you mean 'vessel'"):
        SurfaceScores("multiclass", 2, class_names=["background", "vessel"], classes=["vesel"])
