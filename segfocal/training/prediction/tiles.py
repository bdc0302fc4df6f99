"""Run a network over an image of any size in overlapping tiles that blend without seams."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from segfocal.errors import SegfocalError, check_range
from segfocal.models.stride import crop_to, pad_to_multiple

# networks that resize or pad inside take any size, but their strides still see each pixel in a phase, which
# must be the same in every tile; smaller tiles could not overlap then
PHASE, PHASE_FROM = 32, 128

# per axis: the window and its weights
Tile = tuple[tuple[slice, Tensor], ...]


@dataclass(frozen=True)
class Tiling:
    """How to cut images into tiles.

    Args:
        size: Edge of a tile in pixels, one number or one per axis; rounded up to a multiple of the network's
            stride, from 128 px on also of 32. An axis that is no longer than this is not cut.
        overlap: Share of a tile that it has in common with its neighbour, 0 to 0.75. The outer quarter of
            the overlap is context only: what a network makes up beyond the edge of a tile never reaches the
            result if its receptive field is smaller than that.
        batch: Tiles in one forward pass.
        pad: Whether images smaller than a tile are padded to it with zeros, as small patches were in
            training; the scores of the padding are cut off.
    """

    size: int | tuple[int, ...] = 1024
    overlap: float = 0.25
    batch: int = 1
    pad: bool = False

    def __post_init__(self) -> None:
        check_range("tile size", min(self.edges(1)), low=1)
        check_range("overlap", self.overlap, low=0.0, high=0.75)
        check_range("batch", self.batch, low=1)

    def edges(self, axes: int) -> tuple[int, ...]:
        """Return the size along each axis.

        Args:
            axes: How many.

        Raises:
            SegfocalError: Where there are other sizes than axes.
        """
        if isinstance(self.size, int):
            return (self.size,) * axes
        if axes not in (1, len(self.size)):
            raise SegfocalError(f"tile size must be one number or {axes}, one per axis, got {self.size}.")
        return self.size

    def covers(self, sizes: Sequence[int]) -> bool:
        """Return whether an image of these sizes is one tile, without padding."""
        edges = self.edges(len(sizes))
        fits = all(size <= edge for size, edge in zip(sizes, edges, strict=True))
        return fits and (not self.pad or tuple(sizes) == edges)


def scoring_tiling(tile: tuple[int, ...] | None) -> Tiling:
    """Return how cases are cut, in validation, test and prediction alike, unless told otherwise.

    Args:
        tile: Of volumes the voxels along the axes, half overlapping and padded as patches were; None, as of
            images: the defaults of ``Tiling``.
    """
    return Tiling() if tile is None else Tiling(size=tile, overlap=0.5, pad=True)


def predict_tiled(
    predict: Callable[[Tensor], Tensor],
    image: Tensor,
    *,
    tiling: Tiling | None = None,
    divisor: int = 1,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Predict an image tile by tile; only ``tiling.batch`` tiles at a time are on the device.

    Tiles start at multiples of ``divisor``, large ones also of 32, so that a network with strides sees each
    pixel in the same phase as in one pass over the whole image. Their weights are products of one Gaussian
    per axis, normalised per axis beforehand: they sum to one everywhere, and one tile alone gives exactly
    its own result.

    Args:
        predict: Maps tiles ``(B, C, *S)`` to scores ``(B, K, *S)``.
        image: ``(C, *S)`` on the CPU, any size from 1 px; padded by its last row and column to a multiple.
        tiling: How to cut; ``None``: the defaults of ``Tiling``.
        divisor: Multiple that sizes must have (``segfocal.models.size_divisor``).
        device: Where ``predict`` runs.

    Returns:
        ``(K, *S)`` on the CPU, the size of the image, float32 (float64 where ``predict`` gives that).

    Raises:
        SegfocalError: If ``predict`` changes the size of a tile, or tiles are too small for strides and
            overlap.

    Example:
        >>> predict_tiled(lambda tiles: 2 * tiles, torch.ones(1, 5, 70), tiling=Tiling(size=32)).sum()
        tensor(700.)
    """
    tiling = tiling or Tiling()
    edges = tiling.edges(image.ndim - 1)
    whole = all(length <= edge for length, edge in zip(image.shape[1:], edges, strict=True))
    multiple = divisor if whole else check_tiling(tiling, divisor)
    padded = pad_to_multiple(_grown(image, edges)[None] if tiling.pad else image[None], multiple)[0]
    axes = [
        axis_windows(length, edge, tiling.overlap, multiple)
        for length, edge in zip(padded.shape[1:], edges, strict=True)
    ]
    result: Tensor | None = None
    for chosen in _batches(itertools.product(*axes), tiling.batch):
        windows = [tuple(window for window, _ in tile) for tile in chosen]
        tiles = torch.stack([padded[(slice(None), *window)] for window in windows])
        scores = _checked(predict(tiles.to(device)), tiles.shape[2:])
        if result is None:
            result = scores.new_zeros(scores.shape[1], *padded.shape[1:])
        for tile, window, score in zip(chosen, windows, scores, strict=True):
            result[(slice(None), *window)] += score * _weight(tile).to(score.dtype)
    assert result is not None
    return crop_to(result[None], image.shape[1:])[0]


def axis_windows(length: int, size: int, overlap: float, divisor: int) -> list[tuple[slice, Tensor]]:
    """Cut one axis into windows of equal length, with weights that sum to one at every pixel.

    Args:
        length: Of the axis, a multiple of ``divisor``.
        size: Of a tile, rounded up to a multiple of ``divisor``.
        overlap: Share of a tile in common with its neighbour.
        divisor: Starts are multiples of it.

    Returns:
        Windows and their weights ``(tile,)``, float64.

    Example:
        >>> [(w.start, w.stop) for w, _ in axis_windows(16, 8, 0.5, 4)]
        [(0, 8), (4, 12), (8, 16)]
    """
    tile = min(length, -(-size // divisor) * divisor)
    step = max(divisor, int(tile * (1 - overlap)) // divisor * divisor)
    starts = [*range(0, length - tile, step), length - tile]
    margin = (tile - step) // 4
    weights = [
        _profile(tile, first=start == 0, last=start == length - tile, margin=margin) for start in starts
    ]
    total = torch.zeros(length, dtype=torch.float64)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + tile] += weight
    return [
        (slice(start, start + tile), weight / total[start : start + tile])
        for start, weight in zip(starts, weights, strict=True)
    ]


def _profile(tile: int, *, first: bool, last: bool, margin: int) -> Tensor:
    # sigma = tile / 8 as in nnU-Net; the margin is zero where another tile covers it
    distance = (torch.arange(tile, dtype=torch.float64) - (tile - 1) / 2) / (tile / 8)
    weight = torch.exp(-0.5 * distance**2)
    if margin and not first:
        weight[:margin] = 0.0
    if margin and not last:
        weight[-margin:] = 0.0
    return weight


def check_tiling(tiling: Tiling, divisor: int) -> int:
    """Return the multiple of pixels at which tiles start.

    Args:
        tiling: How images are cut.
        divisor: Multiple of the sizes that the network takes.

    Raises:
        SegfocalError: If tiles are too small for that and their overlap.

    Example:
        >>> check_tiling(Tiling(size=64), 16), check_tiling(Tiling(size=256), 16)
        (16, 32)
    """
    smallest = min(tiling.edges(1))
    multiple = math.lcm(divisor, PHASE) if smallest >= PHASE_FROM else divisor
    least = math.ceil(multiple / (1 - tiling.overlap))
    if tiling.overlap and smallest < least:
        raise SegfocalError(
            f"tile size must be at least {least} px for an overlap of {tiling.overlap} and a network whose "
            f"input sizes are multiples of {divisor}, got {tiling.size}. Take larger tiles or overlap=0."
        )
    return multiple


def _grown(image: Tensor, edges: Sequence[int]) -> Tensor:
    missing = [max(0, edge - length) for edge, length in zip(edges, image.shape[1:], strict=True)]
    return F.pad(image, [amount for size in reversed(missing) for amount in (0, size)])


def _checked(scores: Tensor, size: torch.Size) -> Tensor:
    if scores.shape[2:] != size:
        raise SegfocalError(
            f"The network must return maps of its input's size {tuple(size)}, got {tuple(scores.shape[2:])}. "
            f"Wrap it so that it resizes its logits to its input."
        )
    return scores.to("cpu", torch.float64 if scores.dtype == torch.float64 else torch.float32)


def _weight(tile: Tile) -> Tensor:
    weight = torch.ones((), dtype=torch.float64)
    for _, along in tile:
        weight = weight[..., None] * along
    return weight


def _batches(tiles: Iterator[Tile], size: int) -> Iterator[list[Tile]]:
    while chosen := list(itertools.islice(tiles, size)):
        yield chosen
