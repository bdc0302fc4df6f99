"""The boundary band against max pooling and scipy's chessboard distance."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_cdt
from torch.nn import functional as F

from segfocal.metrics.band import boundary_band, dilate


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("space", [(40,), (23, 31), (3, 50), (9, 10, 11)])
def test_dilation_is_max_pooling(space, radius):
    mask = torch.rand(space, generator=torch.Generator().manual_seed(radius)) > 0.97
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(space)]
    expected = pool(mask.float()[None, None], 2 * radius + 1, stride=1, padding=radius)[0, 0].bool()
    assert torch.equal(dilate(mask, radius_px=radius), expected)


@pytest.mark.parametrize("space", [(23, 31), (9, 10, 11)])
def test_the_band_is_what_lies_near_the_other_label(space):
    generator = np.random.default_rng(0)
    positive = generator.random(space) > 0.98
    to_positive = distance_transform_cdt(~positive, metric="chessboard")
    to_negative = distance_transform_cdt(positive, metric="chessboard")
    expected = np.maximum(to_positive, to_negative) <= 5
    band = boundary_band(torch.from_numpy(positive), torch.from_numpy(~positive), radius_px=5)
    np.testing.assert_array_equal(band.numpy(), expected)


def test_a_straight_edge_has_five_pixels_on_each_side():
    positive = (torch.arange(40) >= 20).expand(3, 40)
    band = boundary_band(positive, ~positive)
    assert torch.equal(band[1].nonzero().flatten(), torch.arange(15, 25))


def test_the_border_of_the_image_is_no_boundary():
    everywhere = torch.ones(12, 12, dtype=torch.bool)
    assert not boundary_band(everywhere, ~everywhere).any()
    assert not boundary_band(~everywhere, everywhere).any()


def test_ignored_pixels_are_in_no_band_and_make_none():
    positive, negative = (torch.zeros(20, dtype=torch.bool) for _ in range(2))
    positive[:4], negative[16:] = True, True
    assert not boundary_band(positive, negative).any()
    negative[6:] = True
    band = boundary_band(positive, negative)
    assert torch.equal(band.nonzero().flatten(), torch.tensor([1, 2, 3, 6, 7, 8]))
