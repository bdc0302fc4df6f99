"""Lay out vessels, lesions and lanes as discs that cover about a wished area."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from segfocal.data.synthetic.discs import Array, Discs, join

Kind = Literal["vessels", "lesions", "lanes"]
Layout = Callable[[np.random.Generator, tuple[int, int], float, Discs], Discs]
KINDS = ("vessels", "lesions", "lanes")

_STEP_PX = 1.5


def _start(rng: np.random.Generator, shape: tuple[int, int], anchors: Discs) -> tuple[float, float]:
    """Return a random place, every second time on an anchor, so that later layers overlap earlier ones."""
    if len(anchors) and rng.random() < 0.5:
        chosen = rng.integers(len(anchors))
        return float(anchors.y[chosen]), float(anchors.x[chosen])
    return rng.uniform(0, shape[0]), rng.uniform(0, shape[1])


def vessels(rng: np.random.Generator, shape: tuple[int, int], area_px: float, anchors: Discs) -> Discs:
    """Lay out branching curves that taper and fade towards their tips.

    Args:
        rng: Source of randomness.
        shape: Height and width.
        area_px: Area to cover, about.
        anchors: Discs of earlier layers, on which half of the trees begin.

    Returns:
        The discs, darker than their surroundings.
    """
    parts: list[Discs] = []
    widest = float(np.clip(np.sqrt(area_px) / 10.0, 1.1, 2.6))
    covered = 0.0
    while covered < area_px:
        y, x = _start(rng, shape, anchors)
        # heads for a point inside, so that a tree that begins at the border does not leave at once
        angle = np.arctan2(rng.uniform(0, shape[0]) - y, rng.uniform(0, shape[1]) - x)
        branches = [(y, x, angle, widest * rng.uniform(0.75, 1.0), rng.uniform(0.4, 0.9) * max(shape), 0)]
        while branches and covered < area_px:
            y, x, angle, radius, length, depth = branches.pop(0)
            length = min(length, (area_px - covered) / (1.5 * radius) + _STEP_PX)
            branch, angles = _branch(rng, y, x, angle, radius, length)
            for at in rng.integers(0, len(branch), size=rng.integers(1, 4) if depth < 3 else 0):
                turn = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.1)
                thinner = max(float(branch.radius[at]) * 0.85, 0.9)
                branches.append(
                    (branch.y[at], branch.x[at], angles[at] + turn, thinner, 0.6 * length, depth + 1)
                )
            parts.append(branch.inside(shape))
            covered += 2.0 * _STEP_PX * float((parts[-1].radius * parts[-1].certainty).sum())
    return join(parts)


def _branch(
    rng: np.random.Generator, y: float, x: float, angle: float, radius: float, length: float
) -> tuple[Discs, Array]:
    count = max(int(length / _STEP_PX), 1)
    along = np.linspace(0.0, 1.0, count)
    angles = angle + 0.25 * np.cumsum(rng.standard_normal(count) * 0.5)
    branch = Discs(
        y + _STEP_PX * np.cumsum(np.sin(angles)),
        x + _STEP_PX * np.cumsum(np.cos(angles)),
        np.maximum(radius * (1.0 - 0.4 * along), 0.8),
        1.0 - 0.2 * along,
        np.full(count, -1.0),
    )
    return branch, angles


def lesions(rng: np.random.Generator, shape: tuple[int, int], area_px: float, anchors: Discs) -> Discs:
    """Lay out lumpy blobs of very different size, half of them in clusters, each brighter or darker.

    Args:
        rng: Source of randomness.
        shape: Height and width.
        area_px: Area to cover, about.
        anchors: Discs of earlier layers, on which half of the clusters begin.

    Returns:
        The discs.
    """
    parts: list[Discs] = []
    typical = float(np.clip(np.sqrt(area_px / 25.0), 1.0, 8.0))
    covered, spread = 0.0, 0.0
    y, x = _start(rng, shape, anchors)
    while covered < area_px:
        radius = typical * float(np.exp(rng.normal(0.0, 0.45)))
        radius = float(np.clip(radius, 0.9, np.sqrt((area_px - covered) / 3.5) + 0.6))
        if parts and rng.random() < 0.5:
            heading = rng.uniform(0.0, 2.0 * np.pi)
            y, x = y + np.sin(heading) * (spread + 2 * radius), x + np.cos(heading) * (spread + 2 * radius)
        else:
            y, x = _start(rng, shape, anchors)
        y, x, spread = float(np.clip(y, 0, shape[0] - 1)), float(np.clip(x, 0, shape[1] - 1)), radius
        parts.append(_blob(rng, y, x, radius).inside(shape))
        covered += 4.2 * radius**2 * float(parts[-1].certainty[0])
    return join(parts)


def _blob(rng: np.random.Generator, y: float, x: float, radius: float) -> Discs:
    lumps = int(rng.integers(3, 6))
    heading = rng.uniform(0.0, 2.0 * np.pi, lumps)
    distance = radius * rng.uniform(0.4, 0.9, lumps)
    sizes = np.append(radius, radius * rng.uniform(0.4, 0.75, lumps))
    certainty, polarity = rng.uniform(0.8, 1.0), rng.choice([-1.0, 1.0])
    centre_y, centre_x = (
        np.append(y, y + np.sin(heading) * distance),
        np.append(x, x + np.cos(heading) * distance),
    )
    return Discs(centre_y, centre_x, sizes, np.full(lumps + 1, certainty), np.full(lumps + 1, polarity))


def lanes(rng: np.random.Generator, shape: tuple[int, int], area_px: float, anchors: Discs) -> Discs:
    """Lay out lines that meet at a vanishing point, solid or dashed, worn in places.

    Args:
        rng: Source of randomness.
        shape: Height and width.
        area_px: Area to cover, about.
        anchors: Discs of earlier layers, through which half of the lines pass.

    Returns:
        The discs, brighter than their surroundings.
    """
    height, width = shape
    horizon, vanishing = rng.uniform(0.1, 0.3) * height, rng.uniform(0.3, 0.7) * width
    depth = height - horizon
    count = int(np.clip(np.ceil(area_px / (1.5 * depth)), 2, 6))
    widest = max(1.6 * area_px / (count * depth), 1.2)
    pieces: list[Discs] = []
    for _ in range(count):
        y, x = _start(rng, shape, anchors)
        near = np.clip((y - horizon) / depth, 0.3, 1.0)
        slope = (x - vanishing) / near
        pieces += _line(rng, horizon, vanishing, depth, slope, widest)
    chosen, covered = [], 0.0
    for at in rng.permutation(len(pieces)):
        piece = pieces[at].inside(shape)
        strip = 2.0 * piece.radius * piece.certainty * _spacing(piece.radius)
        kept = covered + np.cumsum(strip) < area_px + strip
        chosen.append(piece.take(kept))
        covered += float(strip[kept].sum())
    return join(chosen)


def _spacing(radius: Array) -> Array:
    return np.maximum(_STEP_PX * 0.8, 0.4 * radius)


def _line(
    rng: np.random.Generator, horizon: float, vanishing: float, depth: float, slope: float, widest: float
) -> list[Discs]:
    """Return the dashes of one line; a solid line is one of dashes without gaps."""
    near = [1.0]
    radius = widest * rng.uniform(0.7, 1.3)
    stretch = float(np.hypot(depth, slope))
    while near[-1] > 0.12:
        near.append(near[-1] - float(_spacing(np.array(max(radius * near[-1], 0.7)))) / stretch)
    p = np.array(near)
    bend = rng.uniform(-0.15, 0.15) * depth
    position = rng.uniform(0.8, 1.6) / p + rng.random()
    drawn = (position % 1.0 < 0.6) | (rng.random() < 0.4)
    dash = np.floor(position).astype(np.int64)
    certainty = rng.uniform(0.8, 1.0, int(dash.max()) + 1)[dash]
    x = vanishing + slope * p + bend * p * (1.0 - p)
    line = Discs(horizon + depth * p, x, np.maximum(radius * p, 0.7), certainty, np.ones(len(p)))
    return [line.take(drawn & (dash == d)) for d in np.unique(dash[drawn])]


LAYOUTS: dict[Kind, Layout] = {"vessels": vessels, "lesions": lesions, "lanes": lanes}
