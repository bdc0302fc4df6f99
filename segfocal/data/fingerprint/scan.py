"""All cases of a folder, read by several processes, added up as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from segfocal.data.fingerprint.marks import GreyFacts, PieceFacts, TintFacts
from segfocal.data.fingerprint.measure import CaseFacts, MaskFacts, MaskFiles, measure
from segfocal.data.fingerprint.pool import each
from segfocal.data.reading import PLAIN, ReadRules

_POOL_FROM = 64  # cases; below, starting processes takes longer than it saves
_MOST_COMPONENTS = 200_000


@dataclass
class Marks:
    """What the masks of one class, or all masks, look like.

    Args:
        masks: How many.
        lossy: In files whose compression changes values.
        fractions: That store fractions.
        unit_px: Pixels of 1 in masks that store 0 and 1 in a floating type, and images that hold them.
        mixed: That hold 1 as well as 255.
        palette: Index to colour, of palettes that agree; None where some differ or a mask has none.
        grey: Of masks with levels between background and object.
        pieces: Of masks with anything besides background.
        tints: Of masks of colours.
        indexed: With a palette.
        painted: Colours of palettes to (pixels, images).
    """

    masks: int = 0
    lossy: int = 0
    fractions: int = 0
    unit_px: tuple[int, int] = (0, 0)
    mixed: int = 0
    palette: dict[int, int] | None = field(default_factory=dict)
    grey: list[GreyFacts] = field(default_factory=list)
    pieces: list[PieceFacts] = field(default_factory=list)
    tints: list[TintFacts] = field(default_factory=list)
    indexed: int = 0
    painted: tuple[Counter[int], Counter[int]] = field(default_factory=lambda: (Counter(), Counter()))

    def add(self, mask: MaskFacts) -> None:
        """Add one mask."""
        self.masks += 1
        self.lossy += mask.lossy
        self.fractions += mask.fractions
        self.unit_px = self.unit_px[0] + mask.unit_px, self.unit_px[1] + bool(mask.unit_px)
        self.mixed += 1 in mask.pixels and 255 in mask.pixels
        self.grey += [mask.grey] if mask.grey is not None else []
        self.pieces += [mask.pieces] if mask.pieces is not None else []
        self.tints += [mask.tints] if mask.tints is not None else []
        self.indexed += bool(mask.palette)
        self.painted[0].update(_by_paint(mask))
        self.painted[1].update(_by_paint(mask).keys())
        used = dict(mask.palette)
        same = self.palette is not None and all(
            self.palette.get(i, color) == color for i, color in used.items()
        )
        self.palette = {**(self.palette or {}), **used} if used and same else None


def _by_paint(mask: MaskFacts) -> Counter[int]:
    """Return the colours of a palette to their pixels."""
    found: Counter[int] = Counter()
    for index, color in mask.palette:
        found[color] += mask.pixels[index]
    return found


@dataclass
class Totals:
    """Sums over cases.

    Args:
        sizes: (height, width) in px to images.
        channels: Channels to images.
        dtypes: Type of the pixels to images.
        low: Smallest value of all images.
        high: Largest value.
        splits: Split to images.
        names: All names, in order.
        pixels: Per mask (or class) stored number to pixels.
        images: Per mask (or class) stored number to images that hold it.
        masks: Mask files per class.
        empty: Masks of one number only, per class.
        colors: Masks that store colours.
        component_px: Areas of connected pieces.
        digests: Digest of the pixels to (split, name) of the images that have it.
        problems: Sentences.
        ordered: Digest and thumbnail of every case, in their order; empty where it cannot be read.
        whole: Whether image and masks of every case can be read and fit.
        notes: How files were read to images, where they leave a choice.
        turned: How masks fit images with an EXIF orientation ("upright", "stored", "either") to images.
        on_side: Names of the images whose masks fit their stored pixels alone.
        marks: What each mask looks like, per mask (or class).
        rules: How the files were read.
        grey: Numbers of masks with three equal channels to (pixels, images).
    """

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    dtypes: Counter[str] = field(default_factory=Counter)
    low: float = float("inf")
    high: float = float("-inf")
    splits: Counter[str] = field(default_factory=Counter)
    names: list[str] = field(default_factory=list)
    pixels: list[Counter[int]] = field(default_factory=list)
    images: list[Counter[int]] = field(default_factory=list)
    masks: list[int] = field(default_factory=list)
    empty: list[int] = field(default_factory=list)
    colors: int = 0
    component_px: list[int] = field(default_factory=list)
    digests: dict[bytes, list[tuple[str, str]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    ordered: list[tuple[bytes, bytes]] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    turned: Counter[str] = field(default_factory=Counter)
    on_side: list[str] = field(default_factory=list)
    marks: list[Marks] = field(default_factory=list)
    rules: ReadRules = PLAIN
    grey: tuple[Counter[int], Counter[int]] = field(default_factory=lambda: (Counter(), Counter()))

    def add(self, case: CaseFacts) -> None:
        """Add one case."""
        self.problems += case.problems
        self.names.append(case.name)
        self.splits[case.split] += 1
        self.ordered.append((case.digest, case.thumbnail))
        self.whole.append(not case.problems)
        if not case.digest:
            return
        self.notes.update(case.notes)
        self.turned.update([case.turned] if case.turned else [])
        self.on_side += [case.name] if case.turned == "stored" else []
        self.sizes[case.size_px] += 1
        self.channels[case.channels] += 1
        self.dtypes[case.dtype] += 1
        self.low, self.high = min(self.low, case.low), max(self.high, case.high)
        self.digests.setdefault(case.digest, []).append((case.split, case.name))
        while len(self.pixels) < len(case.masks):
            self.pixels.append(Counter())
            self.images.append(Counter())
            self.masks.append(0)
            self.empty.append(0)
            self.marks.append(Marks())
        for place, mask in enumerate(case.masks):
            if mask is None:
                continue
            self.masks[place] += 1
            self.colors += mask.colors
            self.pixels[place].update(mask.pixels)
            self.images[place].update(mask.pixels.keys())
            self.empty[place] += len(mask.pixels) == 1
            self.marks[place].add(mask)
            if mask.triple and place == 0:
                self.grey[0].update(mask.pixels)
                self.grey[1].update(mask.pixels.keys())
            if len(self.component_px) < _MOST_COMPONENTS:
                self.component_px += mask.component_px

    def as_colors(self) -> tuple[Counter[int], Counter[int]]:
        """Return colours to pixels and to images: grey of some masks is a colour like those of the others."""
        found = []
        for counts, grey in zip((self.pixels[0], self.images[0]), self.grey, strict=True):
            rest = counts - grey
            rest.update({number * 0x010101: count for number, count in grey.items()})
            found.append(rest)
        return found[0], found[1]

    def duplicates(self) -> list[list[tuple[str, str]]]:
        """Return (split, name) of the images of each picture that is there more than once."""
        return [places for places in self.digests.values() if len(places) > 1]

    def component_width_px(self, percentile: float) -> float:
        """Return the square root of a percentile of the areas; 0 without pieces."""
        areas = self.component_px
        return float(np.sqrt(np.percentile(areas, percentile))) if areas else 0.0


def scan(
    cases: Sequence[tuple[str, Path, tuple[MaskFiles, ...]]],
    *,
    processes: int | None = None,
    rules: ReadRules = PLAIN,
) -> Totals:
    """Read all cases.

    Args:
        cases: Split, image file and mask files of each.
        processes: How many at once; None takes one per processor.
        rules: How files are read.

    Returns:
        Their totals, the same for any number of processes.
    """
    totals = Totals(rules=rules)
    for facts in each(
        partial(measure, rules=rules), cases, processes=processes, what="images", pool_from=_POOL_FROM
    ):
        totals.add(facts)
    return totals
