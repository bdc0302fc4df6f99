"""A generated scene, its exact class posterior, and labels drawn from it.

What the posterior conditions on: the scene, that is the geometry of all structures and how certain each is.
Given the scene, labels are drawn with exactly these probabilities, and the picture is made of the scene plus
noise that is independent of the labels. So for whatever score s a network computes from a picture,
P(label | s) = E[posterior | s]: calibration can be measured against the posterior without the labels' own
noise. The picture shows the posterior as contrast against its surroundings, under illumination, texture and
noise; a network can recover it nearly but not fully, so a Dice computed from the posterior bounds from above
what any reader of the pictures reaches on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from segfocal.data.synthetic.discs import REACH_PX, Array, Discs, distance_field, join
from segfocal.data.synthetic.noise import smooth_noise
from segfocal.data.synthetic.shapes import LAYOUTS, Kind
from segfocal.imbalance.counts import Task

# of the foreground, for up to three classes: the later, the rarer
SHARES = {1: (1.0,), 2: (0.75, 0.25), 3: (0.6, 0.3, 0.1)}
# what looks like foreground by intensity but is not
DECOYS: dict[Kind, Kind] = {"vessels": "lesions", "lesions": "vessels", "lanes": "lesions"}
_DECOY_AREA = 0.3

_SOFT_PX = 0.75  # the probability falls from 1 to 0 over twice this distance
_WIDEST_PX = REACH_PX - _SOFT_PX
_TREMBLE_PX = 0.7
_STYLE = 0.7  # share of an annotator's variance that is one draw per picture
_USUAL_PX = 0.5
_ROUNDS = 6

Layer = tuple[Discs, Array, npt.NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Scene:
    """What is in a picture.

    Args:
        probability: Probability of each foreground layer, ``(K, H, W)``; the layers are independent.
        polarity: +1 or -1 where a layer is visible, ``(K, H, W)``.
        decoy: Signed strength in [-1, 1] of structures that belong to no class, ``(H, W)``.
    """

    probability: Array
    polarity: Array
    decoy: Array


def make_scene(
    rng: np.random.Generator, *, kind: Kind, layers: int, shape: tuple[int, int], foreground: float
) -> Scene:
    """Lay out a scene whose expected foreground fraction is exactly the wished one.

    Args:
        rng: Source of randomness.
        kind: Shape of the structures.
        layers: Number of foreground classes, 1 to 3.
        shape: Height and width, px.
        foreground: Expected fraction of pixels with at least one foreground label.

    Returns:
        The scene.

    Example:
        >>> scene = make_scene(
        ...     np.random.default_rng(0), kind="lesions", layers=1, shape=(64, 64), foreground=0.1
        ... )
        >>> round(float(scene.probability.mean()), 4)
        0.1
    """
    pixels = shape[0] * shape[1] * foreground
    layouts: list[Layer] = []
    for share in SHARES[layers]:
        anchors = join([discs for discs, _, _ in layouts])
        layouts.append(_fill(rng, kind, shape, share * pixels, anchors))
    distance = np.stack([field for _, field, _ in layouts])
    certainty = np.stack([discs.certainty[index] for discs, _, index in layouts])
    polarity = np.stack([discs.polarity[index] for discs, _, index in layouts])
    probability = _meet(distance, certainty, pixels)
    return Scene(probability, polarity, _decoy(rng, kind, shape, pixels, distance.min(axis=0)))


def posterior(probability: Array, *, task: Task) -> npt.NDArray[np.float32]:
    """Compute P(label | scene) from the layers' probabilities.

    Args:
        probability: ``(K, H, W)``, as in `Scene`.
        task: For multiclass the last layer lies on top and hides the others.

    Returns:
        float32: ``(1, H, W)`` binary, ``(K, H, W)`` multilabel, ``(K + 1, H, W)`` multiclass with the
        background first and sum 1.

    Example:
        >>> posterior(np.array([[[0.5]], [[0.2]]]), task="multiclass").ravel().round(3).tolist()
        [0.4000000059604645, 0.4000000059604645, 0.20000000298023224]
    """
    if task != "multiclass":
        return probability.astype(np.float32)
    visible = np.ones(probability.shape[1:])
    classes = []
    for layer in probability[::-1]:
        classes.append(layer * visible)
        visible = visible * (1.0 - layer)
    return np.stack([visible, *classes[::-1]]).astype(np.float32)


def draw_labels(
    rng: np.random.Generator, probability: Array, *, task: Task, style: Array | None = None
) -> npt.NDArray[np.uint8]:
    """Draw a mask whose every pixel has exactly the posterior's probabilities.

    An annotator is generous or strict over a whole picture, and the hand trembles: a pixel is marked where a
    random field, partly one draw per picture and partly smooth noise, uniform at every pixel, lies below the
    probability.

    Args:
        rng: Source of randomness.
        probability: ``(K, H, W)``, as in `Scene`.
        task: Decides the form of the mask.
        style: ``(K,)`` uniform numbers in (0, 1), the annotator's strictness per layer; None draws them.

    Returns:
        uint8 ``(H, W)`` for binary and multiclass, ``(K, H, W)`` for multilabel.

    Example:
        >>> draw_labels(np.random.default_rng(0), np.ones((2, 1, 4)), task="multiclass").tolist()
        [[2, 2, 2, 2]]
    """
    noise = smooth_noise(rng, probability.shape, sigma_px=_TREMBLE_PX)
    strictness = ndtri(rng.random(len(probability)) if style is None else style)[:, None, None]
    uniform = ndtr(np.sqrt(_STYLE) * strictness + np.sqrt(1.0 - _STYLE) * noise)
    marked = uniform < probability
    if task == "multilabel":
        return np.asarray(marked, dtype=np.uint8)
    mask = np.zeros(probability.shape[1:], dtype=np.uint8)
    for number, layer in enumerate(marked, start=1):
        mask[layer] = number
    return mask


def _fill(
    rng: np.random.Generator, kind: Kind, shape: tuple[int, int], area_px: float, anchors: Discs
) -> Layer:
    """Add structures until they cover the area when widened a little."""
    discs = LAYOUTS[kind](rng, shape, area_px, anchors)
    for _ in range(_ROUNDS):
        distance, index = distance_field(discs, shape)
        near = np.isfinite(distance)
        missing = area_px - float((discs.certainty[index[near]] * _profile(distance[near], _USUAL_PX)).sum())
        if missing <= 0.0:
            return discs, distance, index
        discs = join([discs, LAYOUTS[kind](rng, shape, missing, anchors)])
    return discs, *distance_field(discs, shape)


def _profile(distance: Array, widening: float) -> Array:
    """Return 1 inside, 0 outside and a smooth step between, so that far pixels are exactly 0."""
    t = np.clip(0.5 + (widening - distance) / (2.0 * _SOFT_PX), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _meet(distance: Array, certainty: Array, pixels: float) -> Array:
    """Widen or thin all structures alike until the expected foreground is met, by bisection."""
    near = np.isfinite(distance).any(axis=0)
    field, sure = distance[:, near], certainty[:, near]
    low, high = float(field.min()) - _SOFT_PX, _WIDEST_PX
    for _ in range(20):
        middle = 0.5 * (low + high)
        free = np.prod(1.0 - sure * _profile(field, middle), axis=0)
        if free.size - free.sum() < pixels:
            low = middle
        else:
            high = middle
    probability = np.zeros_like(distance)
    probability[:, near] = sure * _profile(field, high)
    return probability


def _decoy(
    rng: np.random.Generator, kind: Kind, shape: tuple[int, int], pixels: float, distance: Array
) -> Array:
    """Lay out decoys clear of the structures, so that they hide none of them."""
    discs = LAYOUTS[DECOYS[kind]](rng, shape, _DECOY_AREA * pixels, join([])).inside(shape)
    clear = distance[discs.y.astype(np.int64), discs.x.astype(np.int64)] > discs.radius + _SOFT_PX
    discs = discs.take(clear)
    if not len(discs):
        return np.zeros(shape)
    field, index = distance_field(discs, shape)
    apart = np.clip(distance - _SOFT_PX, 0.0, 1.0)
    return discs.polarity[index] * _profile(field, 0.0) * apart
