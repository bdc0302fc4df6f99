from __future__ import annotations

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import nn
from torch.testing import assert_close

from segfocal.errors import SegfocalError
from segfocal.models import SmallUNet, crop_to, pad_to_multiple
from segfocal.training.prediction.tiles import Tiling, axis_windows, predict_tiled


def narrow_network():
    """Receptive field of 11 px, a stride of 2 and a norm: what tiles must not disturb."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 2, 2, stride=2),
    )
    return network.eval()


@pytest.mark.parametrize("size", [(256, 256), (200, 331), (97, 640), (32, 300), (1, 300)])
@pytest.mark.parametrize(("tile", "overlap"), [(64, 0.5), (128, 0.5), (96, 0.7)])
@torch.no_grad()
def test_tiles_give_the_result_of_the_whole_image(size, tile, overlap):
    network = narrow_network()
    image = torch.randn(3, *size)
    whole = crop_to(network(pad_to_multiple(image[None], 32 if tile >= 128 else 2)), size)[0]
    tiled = predict_tiled(network, image, tiling=Tiling(tile, overlap, batch=3), divisor=2)
    assert_close(tiled, whole, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_network_that_pads_inside_sees_every_tile_in_the_same_phase():
    torch.manual_seed(0)
    network = BasicUNet(2, 1, 1, features=(4, 4, 4, 4, 4, 4), norm="batch").eval()
    image = torch.randn(1, 768, 40)
    whole = network(pad_to_multiple(image[None], 32))[0, :, :, :40]
    tiled = predict_tiled(network, image, tiling=Tiling(512, 0.75))
    # its receptive field of about 140 px exceeds the margin, so agreement is close, not exact
    assert (tiled - whole).abs().max() < 0.02 * whole.abs().max()


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (5, 3), (31, 33)])
@torch.no_grad()
def test_images_smaller_than_a_tile_are_one_tile(size):
    network = SmallUNet(3, 2, channels=(4, 8)).eval()
    image = torch.randn(3, *size)
    whole = crop_to(network(pad_to_multiple(image[None], 4)), size)[0]
    assert torch.equal(predict_tiled(network, image, tiling=Tiling(64), divisor=4), whole)


@torch.no_grad()
def test_volumes_are_tiled_on_three_axes():
    torch.manual_seed(0)
    network = nn.Conv3d(1, 2, 3, padding=1)
    volume = torch.randn(1, 40, 70, 33)
    whole = crop_to(network(pad_to_multiple(volume[None], 4)), (40, 70, 33))[0]
    assert_close(predict_tiled(network, volume, tiling=Tiling(32, 0.5), divisor=4), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("length", [64, 96, 128, 1024])
@pytest.mark.parametrize("tile", [32, 50, 64, 2000])
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.75])
def test_weights_sum_to_one_and_starts_keep_the_phase(length, tile, overlap):
    total = torch.zeros(length, dtype=torch.float64)
    windows = axis_windows(length, tile, overlap, 32)
    for window, weight in windows:
        total[window] += weight
        assert window.start % 32 == 0
        assert window.stop <= length
        assert bool((weight >= 0).all())
    assert_close(total, torch.ones(length, dtype=torch.float64))
    assert len({window.stop - window.start for window, _ in windows}) == 1


def test_the_device_never_holds_more_than_a_batch_of_tiles():
    seen = []

    def predict(tiles):
        seen.append(tuple(tiles.shape))
        return tiles

    predict_tiled(predict, torch.randn(1, 300, 300), tiling=Tiling(96, 0.25, batch=2))
    assert max(shape[0] for shape in seen) == 2
    assert {shape[1:] for shape in seen} == {(1, 96, 96)}


def test_tiles_too_small_to_overlap_are_an_error():
    with pytest.raises(SegfocalError, match="at least 64 px"):
        predict_tiled(lambda tiles: tiles, torch.randn(1, 80, 80), tiling=Tiling(48, 0.5), divisor=32)


def test_a_map_of_another_size_is_an_error():
    with pytest.raises(SegfocalError, match="its input's size"):
        predict_tiled(lambda tiles: tiles[..., ::2], torch.randn(1, 8, 8))


@pytest.mark.parametrize("settings", [{"size": 0}, {"overlap": 0.9}, {"batch": 0}])
def test_settings_out_of_range_are_errors(settings):
    with pytest.raises(SegfocalError, match="must lie in"):
        Tiling(**settings)
