"""Patch size, batch, loss and alpha that suit what was found, each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segfocal.data.fingerprint.classes import Classes
from segfocal.data.fingerprint.scan import Totals
from segfocal.errors import SegfocalError
from segfocal.imbalance import alpha_from_counts, binary_alpha

_STEP_PX = 32  # a multiple of what most networks divide by
_SMALLEST_PX, _LARGEST_PX = 64, 512
_RARE = 0.2  # share of the pixels above which a class is not rare
_PAIR_PIXELS = 2**17  # two patches more for every so many pixels of a patch


@dataclass(frozen=True)
class Advice:
    """Settings and why.

    Args:
        patch_px: Height and width of training patches.
        batch_size: Patches per batch.
        foreground_share: Of patches placed over foreground.
        in_channels: Of the network.
        intensity_range: For images beyond the unit scale; None where there is none to set.
        gamma: Of the focal term; 0 is cross-entropy.
        reasons: Setting to sentence.
        alphas: How alpha would be chosen, and the numbers.
    """

    patch_px: int
    batch_size: int
    foreground_share: float
    in_channels: int
    intensity_range: tuple[float, float] | None
    gamma: float
    reasons: dict[str, str]
    alphas: dict[str, list[float]]


def advise(totals: Totals, classes: Classes) -> Advice:
    """Choose settings.

    Args:
        totals: Of all cases.
        classes: What the masks mean.

    Returns:
        Settings with reasons.
    """
    reasons: dict[str, str] = {}
    patch = _patch(totals, reasons)
    rare = classes.rarest()
    gamma, reasons["loss"] = gamma_of(rare)
    share = 0.5 if rare < 0.05 else 0.33
    reasons["foreground_share"] = (
        f"{share:.0%} of the patches are placed over a foreground pixel, as it has {100 * rare:.2g} % of all"
    )
    channels = 1 if set(totals.channels) <= {1, 2} else 3
    return Advice(
        patch_px=patch,
        batch_size=max(2, min(16, 2 * (_PAIR_PIXELS // patch**2))),
        foreground_share=share,
        in_channels=channels,
        intensity_range=_range(totals, reasons),
        gamma=gamma,
        reasons=reasons,
        alphas=alphas_of(classes),
    )


def _patch(totals: Totals, reasons: dict[str, str]) -> int:
    smallest = min(min(size) for size in totals.sizes)
    width = totals.component_width_px(95)
    wanted = _round(min(max(3 * width, 128), _LARGEST_PX))
    most = max(_SMALLEST_PX, smallest // _STEP_PX * _STEP_PX)
    patch = min(wanted, most)
    reasons["patch_size"] = (
        f"95 % of the connected pieces are less than {math.ceil(width)} px across and the smallest image "
        f"side is {smallest} px"
    )
    return patch


def _round(length: float) -> int:
    return math.ceil(length / _STEP_PX) * _STEP_PX


def _range(totals: Totals, reasons: dict[str, str]) -> tuple[float, float] | None:
    floats = any(name.startswith("float") for name in totals.dtypes)
    if not floats or (totals.low >= 0 and totals.high <= 1):
        return None
    reasons["intensity_range"] = f"the images hold {totals.low:g} to {totals.high:g}; cut it to what matters"
    return totals.low, totals.high


def gamma_of(rare: float) -> tuple[float, str]:
    """Return gamma for a share of the rarest class, and the reason."""
    if rare < _RARE:
        return 2.0, (
            f"the rarest class has {100 * rare:.2g} % of all: focal + Dice keeps the much that is easy "
            "background from outweighing it; compare with gamma 0, which is cross-entropy + Dice"
        )
    return 0.0, f"the rarest class has {100 * rare:.2g} % of all, not rare: gamma 0 is cross-entropy + Dice"


def alphas_of(classes: Classes) -> dict[str, list[float]]:
    """Return how alpha would be chosen, and the numbers; none where a class has no pixel."""
    counts = np.array(classes.pixels)
    try:
        if classes.task == "multiclass":
            methods = ("inverse", "effective")
            found = {method: alpha_from_counts(counts, method) for method in methods}  # type: ignore[arg-type]
        else:
            found = {"balanced": binary_alpha(counts)}
    except SegfocalError:  # a class without a pixel has no weight
        return {}
    return {name: [float(f"{value:.3g}") for value in values] for name, values in found.items()}
