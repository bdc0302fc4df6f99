"""Patch size, batch, loss and alpha that suit what was found, each with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from segfocal.data.fingerprint.classes import Classes
from segfocal.data.fingerprint.scan import Totals
from segfocal.data.reading import Orientation
from segfocal.data.tiff import Page
from segfocal.errors import SegfocalError
from segfocal.imbalance import alpha_from_counts, binary_alpha

_STEP_PX = 32  # a multiple of what most networks divide by
_SMALLEST_PX, _LARGEST_PX = 64, 512
_SHOWN = 5
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
        orientation: "stored" where masks were drawn on pixels without the images' EXIF orientation.
        page: Of files with several pages.
    """

    patch_px: int
    batch_size: int
    foreground_share: float
    in_channels: int
    intensity_range: tuple[float, float] | None
    gamma: float
    reasons: dict[str, str]
    alphas: dict[str, list[float]]
    orientation: Orientation = "upright"
    page: Page = None

    def reading(self) -> dict[str, Any]:
        """Return the settings of ``preprocess`` that say how files are read, beside the usual ones."""
        found: dict[str, Any] = {} if self.orientation == "upright" else {"orientation": self.orientation}
        return found if self.page is None else found | {"page": self.page}


def advise(totals: Totals, classes: Classes) -> Advice:
    """Choose settings.

    Args:
        totals: Of all cases.
        classes: What the masks mean.

    Returns:
        Settings with reasons.

    Raises:
        SegfocalError: For images of different numbers of bands.
    """
    reasons: dict[str, str] = {}
    patch = _patch(totals, reasons)
    rare = classes.rarest()
    gamma, reasons["loss"] = gamma_of(rare)
    share = 0.5 if rare < 0.05 else 0.33
    reasons["foreground_share"] = (
        f"{share:.0%} of the patches are placed over a foreground pixel, as it has {100 * rare:.2g} % of all"
    )
    channels = _channels(totals)
    orientation, reasons["orientation"] = orientation_of(totals)
    reasons["page"] = "of files with several pages"
    return Advice(
        patch_px=patch,
        batch_size=max(2, min(16, 2 * (_PAIR_PIXELS // patch**2))),
        foreground_share=share,
        in_channels=channels,
        intensity_range=_range(totals, reasons),
        gamma=gamma,
        reasons=reasons,
        alphas=alphas_of(classes),
        orientation=orientation,
        page=totals.rules.page,
    )


def _channels(totals: Totals) -> int:
    """Grey beside colours is repeated to three channels; other mixtures fit no network."""
    found = sorted(totals.channels)
    if found == [1, 3] or len(found) == 1:
        return found[-1]
    shown = ", ".join(f"{count} of {bands}" for bands, count in sorted(totals.channels.items()))
    raise SegfocalError(
        f"a network takes images of one number of bands, the folder holds {shown}. Leave the others out, or "
        "save all with the same bands."
    )


def orientation_of(totals: Totals) -> tuple[Orientation, str]:
    """Return how images with an EXIF orientation are read so that masks fit, and what is to be said of it.

    Args:
        totals: Of all cases.

    Returns:
        The setting, and a sentence; "" where no image has an orientation.

    Raises:
        SegfocalError: Where some masks fit the stored pixels and others the upright ones.
    """
    turned, count = totals.turned, totals.turned.total()
    if not count:
        return "upright", ""
    if turned["stored"] and not turned["upright"]:
        return "stored", (
            f"{count} images carry an EXIF orientation, and the masks fit their pixels as they are stored"
        )
    if turned["stored"]:
        more = ", ..." if len(totals.on_side) > _SHOWN else ""
        raise SegfocalError(
            f"{count} images carry an EXIF orientation: the masks of {turned['stored']} of them fit the "
            f"pixels as they are stored ({', '.join(totals.on_side[:_SHOWN])}{more}), those of "
            f"{turned['upright']} fit them upright, as viewers show them, and one setting cannot read both. "
            "Turn the masks of either "
            "kind, or save the pictures upright and without an orientation."
        )
    what = f"{count} images carry an EXIF orientation and are read upright, as viewers show them"
    if turned["upright"]:
        return "upright", f"{what}; the masks fit that"
    return "upright", (
        f"{what}; masks without one of their own are taken as drawn on that, though their sizes fit either "
        "way (preprocess.orientation: stored, if not)"
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
    other = set(totals.dtypes) - {"uint8", "uint16", "bool"}
    low, high = totals.low, totals.high
    if not other or (all(name.startswith("float") for name in other) and low >= 0 and high <= 1):
        return None
    reasons["intensity_range"] = f"the images hold {low:g} to {high:g}; cut it to what matters"
    return low, high if high > low else low + 1


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
