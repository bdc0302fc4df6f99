"""Which steps of preprocessing go into an exported graph, and which its user has to do before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from segfocal.data.preprocess import Preprocess
from segfocal.errors import SegfocalError, check_range
from segfocal.training.export.intensity import Scale, Standardize, Window

if TYPE_CHECKING:
    from segfocal.data.volumes.preprocess import VolumePreprocess

EIGHT_BIT = 255.0


@dataclass(frozen=True, eq=False)
class Entry:
    """Where the graph begins.

    Args:
        module: The steps inside, images ``(N, C, *S)`` to the network's input.
        values: What the graph's input holds, in words.
        sample: Lowest and highest value with which the file is tried out.
        inside: The steps of ``module`` in words, in their order.
        before: The steps left to the user, in their order.
        after: Likewise, on the probabilities.
    """

    module: nn.Module
    values: str
    sample: tuple[float, float]
    inside: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Intensity:
    build: Callable[[], nn.Module]
    values: str
    sample: tuple[float, float]
    steps: tuple[str, ...]


def graph_entry(
    preprocess: Preprocess | VolumePreprocess,
    *,
    full_scale: float | None = None,
    network_only: bool = False,
) -> Entry:
    """Divide the steps of validation between the graph and its user.

    Resampling stays outside, and with it everything that comes before it: volumes are normalised at the
    resolution of their file. Percentiles stay outside too.

    Args:
        preprocess: The run's.
        full_scale: Value of a full-scale pixel as decoded, which becomes 1; None: 255, of 8-bit images. Not
            for volumes, nor where ``preprocess`` has an intensity range in the file's own units.
        network_only: Leave all steps outside.

    Returns:
        The division.

    Raises:
        SegfocalError: For a ``full_scale`` that would not be used or is not positive.
    """
    if full_scale is not None:
        check_range("--full-scale", full_scale, low=0.0, open_low=True)
        _check_used(preprocess, network_only=network_only)
    if isinstance(preprocess, Preprocess):
        intensity = _of_images(preprocess, full_scale or EIGHT_BIT)
        before, after, fits = *_resizing(preprocess), True
    else:
        intensity = _of_volumes(preprocess)
        before, after = _placing(preprocess)
        resampled = preprocess.spacing_mm is not None and preprocess.intensity != "none"
        fits = not resampled and preprocess.percentiles is None
    if fits and not network_only:
        return Entry(intensity.build(), intensity.values, intensity.sample, intensity.steps, before, after)
    # of volumes the intensities come first: their moments are those of the file's own voxels
    flat = isinstance(preprocess, Preprocess)
    steps = (*before, *intensity.steps) if flat else (*intensity.steps, *before)
    return Entry(nn.Identity(), "after all steps of preprocessing", (-2.0, 2.0), (), steps, after)


def _check_used(preprocess: Preprocess | VolumePreprocess, *, network_only: bool) -> None:
    reason = ""
    if network_only:
        reason = "--network-only leaves the scaling outside"
    elif not isinstance(preprocess, Preprocess):
        reason = "volumes are normalised in the units of their file"
    elif preprocess.intensity_range is not None:
        reason = f"preprocess.intensity_range {list(preprocess.intensity_range)} scales these images"
    if reason:
        raise SegfocalError(f"--full-scale must be left out here: {reason}.")


def _of_images(preprocess: Preprocess, full_scale: float) -> _Intensity:
    low, high = preprocess.intensity_range or (0.0, full_scale)
    parts: list[Callable[[], nn.Module]] = []
    if preprocess.intensity_range is None:
        unit, steps = 1.0 / full_scale, [f"divide by {full_scale:g}"]
    else:
        unit, steps = 1.0, [f"map {low:g} to {high:g} linearly to 0 to 1 and cut what lies outside"]
        parts.append(lambda: Window(low, high, bottom=0.0, top=1.0))
    if preprocess.normalize == "image":
        parts += [lambda: Scale([unit], [0.0], axes=2), lambda: Standardize(floor=1e-7)]
        steps.append("subtract each channel's mean over the image, divide by its standard deviation")
    else:
        mean, std = (moments.astype(float).tolist() for moments in preprocess.moments(np.empty((0, 0, 0))))
        factor, offset = [unit / s for s in std], [m / s for m, s in zip(mean, std, strict=True)]
        parts.append(lambda: Scale(factor, offset, axes=2))
        if preprocess.normalize != "none":
            steps.append(f"subtract {_shown(mean)}, divide by {_shown(std)}")
    return _Intensity(
        lambda: nn.Sequential(*(part() for part in parts)),
        f"{'RGB ' if preprocess.in_channels == 3 else ''}as stored, {low:g} to {high:g}",
        (low, high),
        tuple(steps),
    )


def _shown(numbers: list[float]) -> str:
    return ", ".join(f"{number:g}" for number in (numbers[:1] if len({*numbers}) == 1 else numbers))


def _of_volumes(preprocess: VolumePreprocess) -> _Intensity:
    parts: list[Callable[[], nn.Module]] = []
    steps, sample = [], (-100.0, 400.0)
    if preprocess.percentiles is not None:
        low, high = preprocess.percentiles
        steps.append(f"cut each channel at its percentiles {low:g} and {high:g} of the volume")
    if preprocess.intensity == "ct":
        if preprocess.intensity_range is not None:
            low, high = sample = preprocess.intensity_range
            parts.append(lambda: Window(low, high, bottom=-1.0, top=1.0))
            steps.append(f"cut at {low:g} and {high:g}")
        steps.append("map the two limits linearly to -1 and 1")
    elif preprocess.intensity == "mr":
        parts.append(lambda: Standardize(nonzero=preprocess.nonzero))
        of = "its voxels that are not 0, which alone change" if preprocess.nonzero else "the volume"
        steps.append(f"subtract each channel's mean over {of}, divide by the standard deviation")
    return _Intensity(lambda: nn.Sequential(*(part() for part in parts)), "as stored", sample, tuple(steps))


def _resizing(preprocess: Preprocess) -> tuple[tuple[str, ...], tuple[str, ...]]:
    steps = []
    if preprocess.scale != 1.0:
        steps.append(f"resize the image by {preprocess.scale:g}, averaging")
    if preprocess.longest_side is not None:
        steps.append(f"reduce images with a side over {preprocess.longest_side} px to that, averaging")
    return tuple(steps), ("resize the probabilities to the image, linearly",) if steps else ()


def _placing(preprocess: VolumePreprocess) -> tuple[tuple[str, ...], tuple[str, ...]]:
    before = ["turn and flip the axes to right, anterior, superior (RAS)"]
    after = ["turn and flip the axes back"]
    if preprocess.spacing_mm is not None:
        edges = " x ".join(f"{edge:g}" for edge in preprocess.spacing_mm)
        before.append(f"resample to voxels of {edges} mm, linearly")
        after.insert(0, "resample the probabilities to the volume's voxels, linearly")
    return tuple(before), tuple(after)
