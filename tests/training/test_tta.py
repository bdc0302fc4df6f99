from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.training.prediction.tta import average_views

VIEWS = {"none": 1, "mirror": 2, "flips": 4, "turns": 8}


@pytest.mark.parametrize("symmetry", VIEWS)
def test_pixelwise_networks_do_not_change(symmetry):
    images = torch.randn(2, 3, 5, 7)
    assert_close(average_views(torch.sigmoid, images, symmetry=symmetry), images.sigmoid())


@pytest.mark.parametrize(("symmetry", "count"), VIEWS.items())
def test_all_views_differ_and_are_counted(symmetry, count):
    seen = []

    def predict(images):
        seen.append(images)
        return images

    average_views(predict, torch.randn(1, 1, 4, 4), symmetry=symmetry)
    assert len({tuple(view.flatten().tolist()) for view in seen}) == count


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_average_over_turns_is_equivariant(turns, mirrored):
    torch.manual_seed(0)
    network = nn.Conv2d(1, 2, 3, padding=1)
    images = torch.randn(1, 1, 6, 6)

    def move(maps):
        return torch.rot90(maps.flip(-1) if mirrored else maps, turns, (-2, -1))

    expected = move(average_views(network, images, symmetry="turns"))
    assert_close(average_views(network, move(images), symmetry="turns"), expected)


def test_mirror_keeps_up_and_down_apart():
    above = torch.tensor([[0.0], [1.0]])[None, None]
    summed = average_views(lambda maps: maps.cumsum(-2), above, symmetry="mirror")
    assert summed.flatten().tolist() == [0.0, 1.0]


def test_an_unknown_symmetry_is_named():
    with pytest.raises(SegfocalError, match="Did you mean 'flips'"):
        average_views(torch.sigmoid, torch.zeros(1, 1, 2, 2), symmetry="flip")
