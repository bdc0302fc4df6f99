"""Who carries loss and gradient: shares of background and foreground, easy and hard, under each loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from segfocal.losses.primitive.curve import curve
from segfocal.losses.primitive.pixel import pixel_loss, split
from segfocal.losses.reduction import Task
from segfocal.metrics.diagnosis import Array, Histograms, bin_at

EASY = 0.9  # a pixel is easy where its label is given more than this
EDGES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999)
EASIEST = (0.5, 0.9, 0.99)


class PixelCurve(NamedTuple):
    """Loss in nats and slope, the derivative by the margin, at each bin's mean margin."""

    loss: Array
    slope: Array


@dataclass(frozen=True, eq=False)
class Population:
    """The elements of all images, sorted into background and foreground, by how far they are from the label.

    Args:
        names: Of the rows of foreground.
        histograms: Of every group.
        background: Rows of the histograms that are background.
        foreground: For each name its rows.
        missed: ``(groups, bins)`` bool: foreground given to the background with more than .9.
    """

    names: tuple[str, ...]
    histograms: Histograms
    background: tuple[int, ...]
    foreground: tuple[tuple[int, ...], ...]
    missed: np.ndarray[Any, np.dtype[np.bool_]]

    @property
    def all_foreground(self) -> list[int]:
        """The rows of any foreground."""
        return [row for rows in self.foreground for row in rows]


def population(histograms: Histograms, *, task: Task, class_names: Sequence[str]) -> Population:
    """Sort the groups of a `Gathering`.

    Args:
        histograms: Of its margins.
        task: Its task.
        class_names: Its classes.

    Returns:
        Rows by what they are.
    """
    classes, missed = len(class_names), np.zeros(histograms.elements.shape, dtype=np.bool_)
    if task == "multiclass":
        missed[classes:] = True
        labels = tuple((label, classes + label) for label in range(1, classes))
        return Population(tuple(class_names[1:]), histograms, (0,), labels, missed)
    missed[1::2, bin_at(1 - EASY) :] = True
    rows = tuple((2 * channel + 1,) for channel in range(classes))
    return Population(tuple(class_names), histograms, tuple(range(0, 2 * classes, 2)), rows, missed)


def pixel_curve(margins: Array, *, gamma: float, knee: float | None = None) -> PixelCurve:
    """Evaluate a focal loss with the formulas that it is trained with.

    The slope is the size of the gradient at the logits: under sigmoid exactly, ``|dL/dx| = dL/dz``; under
    softmax half its L1 norm over the channels, whatever the channels are (the label's gets ``-dL/dz``, the
    others ``dL/dz`` together), so that shares are those of the L1 norm.

    Args:
        margins: Nats, any shape.
        gamma: Exponent; 0 is cross-entropy.
        knee: p_t above which the loss is scaled cross-entropy; None: plain focal loss.

    Returns:
        Arrays of the margins' shape.

    Example:
        >>> pixel_curve(np.zeros(1), gamma=0.0).slope
        array([0.5])
    """
    form = "focal" if knee is None else "knee"
    rows = curve(form, gamma, knee, torch.device("cpu"))
    found = pixel_loss(form, split(torch.from_numpy(np.ascontiguousarray(margins))), list(rows))
    return PixelCurve(found.loss.numpy(), found.slope.numpy())


def shares(people: Population, *, gamma: float, knee: float | None = None) -> dict[str, Any]:
    """Return who carries loss and gradient under one loss, without alpha.

    Args:
        people: The elements.
        gamma: Exponent; 0 is cross-entropy.
        knee: As for `pixel_curve`.

    Returns:
        gamma, knee, and under "loss" and "gradient" the shares of the total carried by easy_background
        (p_t > .9), background, foreground, missed_foreground (given to the background with more than .9),
        hard (p_t < .5), and by the easiest parts of all elements; by name of class under "classes".
    """
    found = pixel_curve(people.histograms.margins, gamma=gamma, knee=knee)
    elements = people.histograms.elements
    return {
        "gamma": gamma,
        "knee": knee,
        "loss": _parts(people, elements * found.loss),
        "gradient": _parts(people, elements * found.slope),
    }


def distribution(people: Population) -> dict[str, Any]:
    """Return how p_t is distributed.

    Args:
        people: The elements.

    Returns:
        "edges" of p_t; for "background" and each class under "classes" the number of elements and the share
        of them between two edges, the hardest first; None where there are no elements.
    """
    places = [bin_at(edge) for edge in EDGES]

    def spread(rows: Sequence[int]) -> dict[str, Any]:
        counts = people.histograms.elements[list(rows)].sum(axis=0)
        above = [int(counts[:place].sum()) for place in places]
        total = int(counts.sum())
        parts = -np.diff([total, *above, 0])
        return {"elements": total, "shares": (parts / total).tolist() if total else None}

    classes = zip(people.names, people.foreground, strict=True)
    return {
        "edges": list(EDGES),
        "background": spread(people.background),
        "foreground": spread(people.all_foreground),
        "classes": {name: spread(rows) for name, rows in classes},
    }


def above_knee(people: Population, *, gamma: float, knee: float) -> dict[str, Any]:
    """Return where the knee acts: on which pixels, and what it gives back to them.

    Args:
        people: The elements.
        gamma: Exponent.
        knee: p_t of the knee.

    Returns:
        tau, the slope's share of cross-entropy's above the knee; the shares of background and foreground
        elements above it; the shares of the gradient from above it under focal loss and with the knee.
    """
    place, elements = bin_at(knee), people.histograms.elements
    found: dict[str, Any] = {"gamma": gamma, "knee": knee}
    found["tau"] = float(curve("knee", gamma, knee, torch.device("cpu"))[2])
    for name, rows in (("background", list(people.background)), ("foreground", people.all_foreground)):
        found[f"{name}_above"] = _ratio(elements[rows, :place].sum(), elements[rows].sum())
    for name, at in (("focal", None), ("with_knee", knee)):
        slope = elements * pixel_curve(people.histograms.margins, gamma=gamma, knee=at).slope
        found[f"gradient_above_{name}"] = _ratio(slope[:, :place].sum(), slope.sum())
    return found


def _parts(people: Population, carried: Array) -> dict[str, Any]:
    total, background, foreground = carried.sum(), list(people.background), people.all_foreground
    easy, hard = bin_at(EASY), bin_at(0.5)
    found: dict[str, Any] = {
        "easy_background": _ratio(carried[background, :easy].sum(), total),
        "background": _ratio(carried[background].sum(), total),
        "foreground": _ratio(carried[foreground].sum(), total),
        "missed_foreground": _ratio(carried[people.missed].sum(), total),
        "hard": _ratio(carried[:, hard:].sum(), total),
    }
    counts = people.histograms.elements.sum(axis=0).cumsum()
    running = carried.sum(axis=0).cumsum()
    for part in EASIEST:
        value = np.interp(part * counts[-1], [0, *counts], [0.0, *running])
        found[f"easiest_{part:g}"] = _ratio(value, total)
    classes = zip(people.names, people.foreground, strict=True)
    found["classes"] = {name: _ratio(carried[list(rows)].sum(), total) for name, rows in classes}
    return found


def _ratio(part: Any, total: Any) -> float | None:
    return float(part / total) if total > 0 else None
