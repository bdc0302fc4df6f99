"""What goes into an exported graph, and that it does what prediction does."""

import numpy as np
import pytest
import torch
from torch import nn

from segfocal.data.preprocess import Preprocess
from segfocal.data.volumes.preprocess import VolumePreprocess
from segfocal.data.volumes.reading import Volume
from segfocal.errors import SegfocalError
from segfocal.models import SmallUNet, SmpNetwork
from segfocal.training.export import onnx_file, torch_file
from segfocal.training.export.check import TOLERANCE, compare, other_shapes, traced_sizes
from segfocal.training.export.entry import graph_entry
from segfocal.training.export.graph import ExportGraph
from segfocal.training.export.program import trace
from segfocal.training.export.run import ExportOptions, encode_checked
from segfocal.training.prediction.predictor import Predictor

OPEN = {"onnx": onnx_file.open_content, "torch": torch_file.open_content}


def picture(channels, dtype=np.uint8, size=(23, 31)):
    rng = np.random.default_rng(channels)
    top = 1.0 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    image = rng.uniform(0, top, (*size, channels)).astype(dtype)
    image[:, :, -1] = 0.7 * top  # a constant channel becomes 0, not noise
    return image


def volume(channels=1, size=(9, 12, 7)):
    values = np.random.default_rng(0).normal(100, 60, (channels, *size)).astype(np.float32)
    values[:, :3] = 0.0
    return Volume(path="memory.nii", array=values, affine=np.eye(4))


def through(entry, array):
    return entry.module(torch.from_numpy(array.astype(np.float32))[None])[0].numpy()


@pytest.mark.parametrize(
    ("settings", "dtype", "full_scale"),
    [
        ({"normalize": "image"}, np.uint8, None),
        ({"normalize": "imagenet"}, np.uint8, None),
        ({"normalize": "fixed", "mean": (0.2, 0.5, 0.1), "std": (0.3, 0.1, 2.0)}, np.uint16, 65535),
        ({"normalize": "fixed", "mean": (0.2,), "std": (0.5,)}, np.float32, 1),
        ({"normalize": "none"}, np.uint8, None),
        ({"normalize": "image", "intensity_range": (2000, 50000)}, np.uint16, None),
        ({"normalize": "none", "intensity_range": (-3.0, 99.0)}, np.uint8, None),
    ],
)
def test_images_are_normalised_inside_as_in_prediction(settings, dtype, full_scale):
    preprocess = Preprocess(in_channels=3, **settings)
    image = picture(3, dtype)
    entry = graph_entry(preprocess, full_scale=full_scale)
    found = through(entry, image.transpose(2, 0, 1))
    np.testing.assert_allclose(found, preprocess(image), rtol=2e-6, atol=2e-6)
    assert entry.before == ()
    assert f"{full_scale or (preprocess.intensity_range or (0, 255))[1]:g}" in entry.values


@pytest.mark.parametrize(
    "settings",
    [
        {"intensity": "mr"},
        {"intensity": "mr", "nonzero": True},
        {"intensity": "ct", "intensity_range": (-50.0, 120.0)},
        {"intensity": "none", "spacing_mm": (1.0, 1.0, 1.0)},
    ],
)
def test_volumes_are_normalised_inside_as_in_prediction(settings):
    preprocess = VolumePreprocess(in_channels=2, **settings)
    case = volume(2)
    expected = preprocess.image(case).as_tensor().numpy()
    entry = graph_entry(preprocess)
    np.testing.assert_allclose(through(entry, case.array), expected, rtol=2e-6, atol=2e-6)
    assert "RAS" in entry.before[0]


def test_an_empty_volume_stays_zero():
    entry = graph_entry(VolumePreprocess(intensity="mr", nonzero=True))
    assert not through(entry, np.zeros((1, 4, 4, 4))).any()


def test_what_cannot_be_inside_is_named_in_its_order():
    image = graph_entry(Preprocess(scale=0.5, longest_side=100))
    assert [step.split()[0] for step in image.before] == ["resize", "reduce"]
    assert "resize the probabilities" in image.after[0]
    assert image.inside
    resampled = graph_entry(VolumePreprocess(intensity="mr", spacing_mm=(1.0, 1.0, 2.5)))
    assert [step.split()[0] for step in resampled.before] == ["subtract", "turn", "resample"]
    assert "1 x 1 x 2.5 mm" in resampled.before[2]
    cut = graph_entry(VolumePreprocess(intensity="ct", percentiles=(0.5, 99.5)))
    assert [step.split()[0] for step in cut.before] == ["cut", "map", "turn"]
    for entry in (resampled, cut, graph_entry(Preprocess(), network_only=True)):
        assert isinstance(entry.module, nn.Identity)
        assert entry.inside == ()


@pytest.mark.parametrize(
    ("preprocess", "settings", "message"),
    [
        (Preprocess(), {"full_scale": 0}, "--full-scale must lie in (0, inf]"),
        (Preprocess(), {"full_scale": 1, "network_only": True}, "leaves the scaling outside"),
        (Preprocess(intensity_range=(0, 9)), {"full_scale": 1}, "intensity_range [0, 9] scales"),
        (VolumePreprocess(), {"full_scale": 1}, "in the units of their file"),
    ],
)
def test_a_full_scale_that_would_not_be_used_is_refused(preprocess, settings, message):
    with pytest.raises(SegfocalError) as caught:
        graph_entry(preprocess, **settings)
    assert message in str(caught.value)


def predictor_of(network, task, *, preprocess, classes, **settings):
    """A Predictor with statistics in its batch norms that are not those of a new network."""
    torch.manual_seed(1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
    names = [f"class_{number}" for number in range(classes)]
    return Predictor(network, task=task, preprocess=preprocess, class_names=names, device="cpu", **settings)


def graph_of(predictor, axes=2):
    return ExportGraph(
        predictor.network,
        entry=graph_entry(predictor.preprocess).module,
        task=predictor.task,
        divisor=predictor.divisor,
        tile=predictor.tiling.edges(axes) if predictor.tiling.pad else None,
    )


@pytest.mark.parametrize("size", [(16, 24), (19, 30), (1, 5)])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_graph_gives_what_prediction_gives(size, task):
    classes = 1 if task == "binary" else 3
    predictor = predictor_of(
        SmallUNet(2, classes, channels=(4, 8, 8)), task, preprocess=Preprocess(in_channels=2), classes=classes
    )
    image = picture(2, size=size)
    with torch.no_grad():
        found = graph_of(predictor)(torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None])
    np.testing.assert_allclose(found[0].numpy(), predictor(image).probabilities, atol=1e-5)


def test_volumes_below_the_window_are_padded_as_in_prediction():
    preprocess = VolumePreprocess(in_channels=1, tile=(12, 16, 12))
    network = SmallUNet(1, 2, channels=(4, 8), spatial_dims=3)
    predictor = predictor_of(network, "multilabel", preprocess=preprocess, classes=2)
    case = volume()
    with torch.no_grad():
        found = graph_of(predictor, axes=3)(torch.from_numpy(case.array)[None])
    np.testing.assert_allclose(found[0].numpy(), predictor(case).probabilities, atol=1e-5)


def test_files_are_tried_with_other_shapes_than_the_traced_one():
    for divisor in (1, 4, 32):
        for axes, tile in ((2, None), (3, None), (3, (32, 40, 24))):
            sizes = traced_sizes(divisor, axes=axes)
            shapes = other_shapes(divisor, channels=1, axes=axes, tile=tile)
            assert len({*sizes}) == axes
            assert (2, 1, *sizes) not in shapes
            assert len({shape[0] for shape in shapes}) > 1
            if tile is not None:
                assert any(all(a < b for a, b in zip(shape[2:], tile, strict=True)) for shape in shapes)
                assert any(shape[2] > tile[0] for shape in shapes)


def raises(images):
    raise RuntimeError("bad node\nmore")


@pytest.mark.parametrize(
    ("exported", "message"),
    [
        (lambda images: images + 2 * TOLERANCE, "differs from the network by up to 0.0002"),
        (lambda images: images * float("nan"), "by up to nan"),
        (lambda images: images[:, :, 1:], "gives the shape (1, 1, 3, 5) instead of (1, 1, 4, 5)"),
        (raises, "cannot be run (RuntimeError: bad node)"),
    ],
)
def test_a_file_that_does_something_else_is_refused(exported, message):
    with pytest.raises(SegfocalError) as caught:
        compare(exported, lambda images: images, shapes=[(1, 1, 4, 5)], sample=(0.0, 1.0))
    assert message in str(caught.value)
    assert "for an input of shape (1, 1, 4, 5); nothing was written" in str(caught.value)


class Undecided(nn.Module):
    """Its path depends on its input, which no graph can hold."""

    def forward(self, images):
        return images if images.sum() > 0 else -images


def test_a_network_that_cannot_be_traced_is_refused_in_a_line():
    with pytest.raises(SegfocalError, match="cannot export this network") as caught:
        trace(Undecided(), channels=1, sizes=(5, 6), divisor=1, fixed=False)
    assert "\n" not in str(caught.value)
    assert "--size" in str(caught.value)


class Pyramid(nn.Module):
    """Deep supervision: the full resolution first."""

    def __init__(self):
        super().__init__()
        self.line = nn.Conv2d(1, 2, 3, padding=1)
        self.drop = nn.Dropout(0.9)

    def forward(self, images):
        fine = self.drop(self.line(images))
        return [fine, nn.functional.max_pool2d(fine, 2)]


def checked(predictor, **settings):
    """Contents of both formats, read back."""
    preprocess = predictor.preprocess
    for name, opened in OPEN.items():
        options = ExportOptions(format=name, **settings)
        content, agreement = encode_checked(predictor, graph_entry(preprocess), options=options)
        assert agreement.difference <= TOLERANCE
        assert len(agreement.shapes) >= 2
        yield opened(content)


@pytest.mark.slow
def test_deep_supervision_and_dropout_stay_behind():
    predictor = predictor_of(Pyramid(), "multilabel", preprocess=Preprocess(in_channels=1), classes=2)
    image = picture(1, size=(7, 40))
    for exported in checked(predictor):
        found = exported(torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None])
        np.testing.assert_allclose(found[0].numpy(), predictor(image).probabilities, atol=1e-5)


@pytest.mark.slow
def test_smp_multiclass_at_sizes_that_are_no_multiples_of_its_stride():
    preprocess = Preprocess(in_channels=3, normalize="imagenet")
    predictor = predictor_of(SmpNetwork(3, 4), "multiclass", preprocess=preprocess, classes=4)
    assert predictor.divisor == 32
    for exported in checked(predictor):
        for size in ((33, 70), (64, 32)):
            image = picture(3, size=size)
            found = exported(torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))[None])
            np.testing.assert_allclose(found[0].numpy(), predictor(image).probabilities, atol=1e-4)


class Squeezed(nn.Module):
    """Like the context branch of DeepLab: what it computes differs where pooling leaves a single pixel."""

    def __init__(self):
        super().__init__()
        self.down, self.line = nn.MaxPool2d(8), nn.Conv2d(1, 1, 1)

    def forward(self, images):
        small = self.down(images)
        if small.shape[2] * small.shape[3] > small.shape[2]:
            small = small - small.mean((2, 3), keepdim=True)
        return nn.functional.interpolate(self.line(small), size=images.shape[2:])


def test_a_network_that_cannot_take_one_multiple_is_exported_for_more():
    predictor = predictor_of(Squeezed(), "binary", preprocess=Preprocess(in_channels=1), classes=1, divisor=8)
    graph = graph_of(predictor).eval().requires_grad_(False)
    traced = trace(graph, channels=1, sizes=(31, 39), divisor=8, fixed=False)
    assert traced.least == 9
    images = 255 * torch.rand(1, 1, 9, 12)
    torch.testing.assert_close(traced.program.module()(images), graph(images))


@pytest.mark.slow
def test_monai_volumes_with_windows():
    from monai.networks.nets import UNet

    network = UNet(
        spatial_dims=3, in_channels=1, out_channels=3, channels=[4, 8], strides=[2], num_res_units=2
    )
    preprocess = VolumePreprocess(in_channels=1, tile=(16, 16, 12))
    predictor = predictor_of(network, "multiclass", preprocess=preprocess, classes=3)
    for exported in checked(predictor):
        for size in ((9, 12, 7), (16, 16, 12), (15, 3, 12)):
            case = volume(size=size)
            found = exported(torch.from_numpy(case.array)[None])
            np.testing.assert_allclose(found[0].numpy(), predictor(case).probabilities, atol=1e-4)


class OneSize(nn.Module):
    """Holds a map of one size, as position embeddings do."""

    def __init__(self):
        super().__init__()
        self.line = nn.Conv2d(1, 1, 3, padding=1)
        self.place = nn.Parameter(torch.randn(1, 1, 12, 20))

    def forward(self, images):
        return self.line(images) + self.place


def test_a_network_of_one_size_is_exported_for_it():
    predictor = predictor_of(OneSize(), "binary", preprocess=Preprocess(in_channels=1), classes=1, divisor=1)
    entry = graph_entry(predictor.preprocess)
    with pytest.raises(SegfocalError, match="exported for it by --size"):
        encode_checked(predictor, entry, options=ExportOptions(format="torch"))
    options = ExportOptions(format="torch", size=(12, 20))
    content, agreement = encode_checked(predictor, entry, options=options)
    assert agreement.shapes == ((1, 1, 12, 20), (3, 1, 12, 20))
    assert agreement.difference <= TOLERANCE
    assert torch_file.open_content(content)(torch.zeros(5, 1, 12, 20)).shape == (5, 1, 12, 20)


# averages the whole image: PSPNet, UPerNet and PAN do, whose files know one size; DeepLabV3 exports with any
@pytest.mark.parametrize("fault", ["raises", "differs", "shape"])
def test_a_file_of_one_size_names_the_size_and_the_networks_that_need_it(fault):
    def exported(images):
        if fault == "raises":
            raise RuntimeError("Got invalid dimensions")
        return torch.ones(1, 1, 4, 4) if fault == "shape" else torch.ones(len(images), 1, *images.shape[2:])

    with pytest.raises(SegfocalError, match=r"PSPNet, UPerNet, PAN\).* --size") as raised:
        compare(exported, lambda images: images[:, :1] * 0, shapes=[(1, 3, 8, 8)], sample=(0.0, 1.0))
    assert "DeepLab" not in str(raised.value)
    assert "\n" not in str(raised.value)
