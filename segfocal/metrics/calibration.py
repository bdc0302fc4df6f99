"""Calibration from sums over groups of pixels: reliability bins, Brier score, likelihood, by region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segfocal.metrics.batch import Channel
from segfocal.metrics.bins import RELIABILITY_BINS, reliability_bin

REGIONS = ("all", "foreground", "band")

# a group is 2 * (inside the band) + (labelled with the class)
GROUPS = 4
_CHOSEN = {"all": [0, 1, 2, 3], "foreground": [1, 3], "band": [2, 3]}
_POSITIVE = {"all": [1, 3], "foreground": [1, 3], "band": [3]}

# pixels, probability, squared error, -log likelihood
SUMS = 4

Array = NDArray[np.float64]


def group_sums(channel: Channel, band: Tensor) -> Tensor:
    """Sum one class of one image by group and reliability bin.

    Args:
        channel: The class's probabilities and labels, (pixels,).
        band: bool, (pixels,): within the band around the reference boundary.

    Returns:
        (groups, bins, sums), float64: pixels, and over them the sums of p, of its squared error and of -log
        of the probability of what the label says, in nats.
    """
    p, size = channel.probability, GROUPS * RELIABILITY_BINS
    # arithmetic on 0 and 1: torch.where takes ten times as long on a CPU
    label, inside = _as_number(channel.positive, p), _as_number(band, p)
    cells = (reliability_bin(p) + RELIABILITY_BINS * (label + 2 * inside)).int()
    cells.masked_fill_(~(channel.positive | channel.negative), size)
    right, wrong = (p - (1 - label)).abs_(), p - label
    columns = [torch.bincount(cells, minlength=size + 1).double()]
    # sigmoid saturates in float32: a wrong pixel may cost much, but not infinity
    for values in (p, wrong.square(), -right.clamp(min=2.0**-23).log()):
        columns.append(_sum_by_cell(cells, values.double(), size + 1))
    return torch.stack(columns, dim=1)[:size].view(GROUPS, RELIABILITY_BINS, SUMS)


def region_bins(groups: Array, region: str) -> Array:
    """Return the reliability bins of one region.

    Args:
        groups: (..., groups, bins, sums), as ``group_sums`` makes them.
        region: all, foreground or band.

    Returns:
        (..., bins, 3): pixels, positives and sum of p.
    """
    pixels, probability = groups[..., 0], groups[..., 1]
    chosen, positive = _CHOSEN[region], _POSITIVE[region]
    columns = [pixels[..., chosen, :], pixels[..., positive, :], probability[..., chosen, :]]
    return np.stack([column.sum(axis=-2) for column in columns], axis=-1)


def calibration(groups: Array, region: str) -> dict[str, Array]:
    """Return ece, brier and nll of each class over one region.

    Args:
        groups: (classes, groups, bins, sums), summed over images.
        region: all, foreground or band.

    Returns:
        Name to (classes,), NaN for a class without pixels in the region; each divided by the region's pixels.
    """
    bins = region_bins(groups, region)
    inside = groups[:, _CHOSEN[region]].sum(axis=(1, 2))
    pixels = np.where(inside[:, 0] == 0, np.nan, inside[:, 0])
    gap = np.abs(bins[..., 2] - bins[..., 1]).sum(axis=-1)
    return {"ece": gap / pixels, "brier": inside[:, 2] / pixels, "nll": inside[:, 3] / pixels}


def image_columns(sums: Array, *, names: Sequence[str], class_names: Sequence[str]) -> dict[str, Any]:
    """Return the sums of each image, class and region as columns for ``segfocal.runs.calibration``.

    Args:
        sums: (images, classes, groups, bins, sums), as ``group_sums`` makes them.
        names: Of the images.
        class_names: Of the classes.

    Returns:
        Columns name, class_index, class_name, region, pixels, positives, squared_error, nll and nll_positive;
        a class without pixels in a region has no row there.
    """
    parts = []
    for region in REGIONS:
        inside = sums[:, :, _CHOSEN[region]].sum(axis=(2, 3))
        positive = sums[:, :, _POSITIVE[region]].sum(axis=(2, 3))
        image, index = np.nonzero(inside[..., 0])
        chosen, own = inside[image, index], positive[image, index]
        part = {
            "name": np.array(names, dtype=object)[image],
            "class_index": index,
            "class_name": np.array(class_names, dtype=object)[index],
            "region": np.full(len(image), region, dtype=object),
        }
        part |= {"pixels": chosen[:, 0].astype(np.int64), "positives": own[:, 0].astype(np.int64)}
        parts.append(part | {"squared_error": chosen[:, 2], "nll": chosen[:, 3], "nll_positive": own[:, 3]})
    return {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}


def true_class_nll(groups: Array, region: str) -> float:
    """Return the mean of -log of the true class's probability, each pixel once.

    Args:
        groups: As in ``calibration``, of a multiclass task.
        region: all, foreground or band.

    Returns:
        Nats per labelled pixel, NaN where there is none.
    """
    own = groups[:, _POSITIVE[region]].sum(axis=(0, 1, 2))
    return float(own[3] / own[0]) if own[0] else float("nan")


def _as_number(mask: Tensor, like: Tensor) -> Tensor:
    return mask.view(torch.uint8).to(like.dtype)


def _sum_by_cell(cells: Tensor, values: Tensor, size: int) -> Tensor:
    if cells.is_cuda:  # bincount refuses weights where deterministic algorithms are asked for
        return torch.zeros(size, dtype=values.dtype, device=values.device).index_add_(0, cells, values)
    return torch.bincount(cells, weights=values, minlength=size)
