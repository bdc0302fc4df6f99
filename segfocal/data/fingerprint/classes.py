"""What the stored values of masks are likely to mean."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from segfocal.data.fingerprint.legends import VOC, Legend, voc_palette
from segfocal.data.fingerprint.scan import Marks, Totals
from segfocal.errors import SegfocalError
from segfocal.imbalance.background import says_background
from segfocal.imbalance.counts import Task

IGNORED = 255
_MOST_CLASSES = 64
_FEW_PX = 10  # pixels per image that hold a stray value
_MOST_FOREGROUND = 0.6
_AT_ENDS = 0.5  # share of pixels that are background or object where the rest is a blurred border
_ON_BORDERS = 0.8  # share of the levels between them that lie on borders


@dataclass(frozen=True)
class Classes:
    """Task, classes and coding of masks.

    Args:
        task: "binary", "multiclass" or "multilabel".
        names: One per logit channel.
        pixels: ``(C,)`` pixels of multiclass, else ``(C, 2)`` negatives and positives, as lists.
        images: Images that hold the class, per name.
        reasons: Sentences: how the task was found.
        values: Stored value to label; None where the usual ones hold (0 and 1 or 255; class numbers).
        ignore_values: Stored values without a class.
        colors: Class name to "#rrggbb"; None for masks of values.
        other: Label of all that is not named, or None.
        ignored_px: Pixels that are ignored.
        ignore_colors: Colours without a class.
        threshold: Stored value from which on a pixel is foreground; None: values or colours tell.
    """

    task: Task
    names: tuple[str, ...]
    pixels: list[list[int]] | list[int]
    images: tuple[int, ...]
    reasons: list[str]
    values: dict[int, int] | None = None
    ignore_values: tuple[int, ...] = ()
    colors: dict[str, str] | None = None
    other: int | None = None
    ignored_px: int = 0
    ignore_colors: tuple[str, ...] = ()
    threshold: float | None = None

    def shares(self) -> list[float]:
        """Return the share of each name in the pixels that are not ignored."""
        counts = np.array(self.pixels, dtype=np.float64)
        if counts.ndim == 2:
            return [float(row[1] / max(row.sum(), 1.0)) for row in counts]
        return [float(share) for share in counts / max(counts.sum(), 1.0)]

    def rarest(self) -> float:
        """Return the smallest share of a foreground class that occurs."""
        shares = self.shares()[1:] if self.task == "multiclass" else self.shares()
        return min((share for share in shares if share), default=0.0)


def judge_classes(
    totals: Totals,
    *,
    folders: tuple[str, ...],
    unlabelled: tuple[int, ...] = (),
    legend: Legend | None = None,
) -> Classes:
    """Say what the masks hold.

    Args:
        totals: Of all cases.
        folders: Names of the folders of masks where each class has one.
        unlabelled: Values in such masks that are known to be ignored; none: what is not 0 is the class.
        legend: Names that lie beside the masks.

    Returns:
        Task, classes and coding.

    Raises:
        SegfocalError: Where the masks hold too many values to be classes, or one value only.
    """
    if folders:
        return _multilabel(totals, folders, unlabelled)
    pixels, images, marks = totals.pixels[0], totals.images[0], totals.marks[0]
    if totals.colors:
        pixels, images = totals.as_colors()
        return _colored(pixels, images, marks, legend)
    if reason := _paint_reason(pixels, marks, legend):
        found = _colored(*marks.painted, marks, legend)
        return replace(found, reasons=[*found.reasons, reason])
    if marks.fractions and marks.unit_px[0]:
        pixels, images = _rescaled(pixels, images, marks)
    below = [value for value in sorted(pixels) if value < 0]
    below = below if len(pixels) > len(below) + 1 else []
    kept = Counter({value: count for value, count in pixels.items() if value not in below})
    found = _by_number(kept, images, marks, legend)
    if below:
        shown = ", ".join(map(str, below[:5]))
        found = _ignoring(found, below, pixels, f"{shown}, below 0, is taken for unlabelled: ignore_values")
    if marks.fractions and found.threshold is None:
        raise SegfocalError(
            f"{marks.fractions} of {marks.masks} masks hold fractions, which are neither class numbers nor "
            "one class with blurred borders. Save whole numbers; of probabilities, set threshold: 0.5."
        )
    return _doubted(found)


def _by_number(pixels: Counter[int], images: Counter[int], marks: Marks, legend: Legend | None) -> Classes:
    if found := _told_apart(pixels, images, marks, legend):
        return found
    _check_many(pixels, colors=False)
    return _by_value(pixels, images, marks, legend)


def _rescaled(pixels: Counter[int], images: Counter[int], marks: Marks) -> tuple[Counter[int], Counter[int]]:
    """Count 1 in masks of 0 and 1 as 255, as beside masks of fractions it means the same."""
    moved = []
    for counts, unit in zip((pixels, images), marks.unit_px, strict=True):
        rest = counts.copy()
        rest.subtract({1: unit})
        rest[IGNORED] += unit
        moved.append(+rest)
    return moved[0], moved[1]


def _doubted(found: Classes) -> Classes:
    """Say that a foreground of most pixels may be the background."""
    share = found.shares()[0] if found.task == "binary" else 0.0
    if share <= _MOST_FOREGROUND:
        return found
    doubt = (
        f"! {found.names[0]} covers {100 * share:.3g} % of the pixels: if that is the background (a dark "
        "object on white), swap the labels of values"
    )
    return replace(found, reasons=[*found.reasons, doubt])


def _check_many(pixels: Counter[int], *, colors: bool) -> None:
    if len(pixels) > _MOST_CLASSES:
        raise SegfocalError(
            f"the masks hold {len(pixels)} or more different {'colours' if colors else 'values'}, too "
            "many for classes: they are lossy (JPEG), resized with interpolation, or probabilities. Save "
            "them as PNG with one number per class"
            + ("." if colors else ", or set threshold where there is one class.")
        )
    if len(pixels) == 1:
        raise SegfocalError(
            f"every mask holds nothing but {next(iter(pixels))}: there is nothing to learn. Wrong folder?"
        )


def _colored(pixels: Counter[int], images: Counter[int], marks: Marks, legend: Legend | None) -> Classes:
    named = legend is not None and bool(set(pixels) & set(legend.colors))
    if not named and (instances := _tinted_instances(pixels, images, marks)):
        return instances
    _check_many(pixels, colors=True)
    blends = sum(facts.blends for facts in marks.tints)
    if blends and not named and 2 * blends >= sum(facts.colors for facts in marks.tints):
        raise SegfocalError(
            f"the masks hold {len(pixels)} colours, most of them blends of others on borders: they were "
            "drawn or resized with interpolation (antialiasing). Save them with nearest neighbours, or name "
            "the colours that are classes in a file class_dict.csv (name,r,g,b) beside the masks."
        )
    return _by_color(pixels, images, legend)


def _paint_reason(pixels: Counter[int], marks: Marks, legend: Legend | None) -> str:
    """Return why the colours of palettes count, not their indices; "" where the indices do.

    Programs that reduce colours (GIF, quantize) number them as they come, so that black is not 0, or is
    another number in the next file.
    """
    if marks.indexed < marks.masks or (legend is not None and legend.numbers):
        return ""
    colors = marks.painted[0]
    if marks.palette is None:
        if len(colors) > len(pixels):
            return ""
        return "their palettes number the colours differently from file to file: the colours count"
    if 0 in colors and marks.palette.get(0, 0) != 0:
        return "black is not 0 in their palettes: the colours count, not the numbers"
    return ""


def _tinted_instances(pixels: Counter[int], images: Counter[int], marks: Marks) -> Classes | None:
    """Colours of instances: one background, and others of one piece each that hardly ever come back."""
    facts = [found for found in marks.tints if found.colors]
    grounds = {found.background for found in facts}
    count = sum(found.colors for found in facts)
    if len(facts) < 3 or len(grounds) > 1 or count < 2 * len(facts):
        return None
    ground = grounds.pop()
    others = [color for color in pixels if color != ground]
    alone = sum(images[color] == 1 for color in others)
    if sum(found.single for found in facts) < 0.9 * count or alone < 0.8 * len(others):
        return None
    least, largest = min(found.colors for found in facts), max(found.colors for found in facts)
    return Classes(
        task="multiclass",
        names=("background", "foreground"),
        pixels=[pixels[ground], sum(pixels.values()) - pixels[ground]],
        images=(images[ground], len(facts)),
        reasons=[
            f"the colours of the masks look like those of instances ({least} to {largest} in an image, each "
            f"of one piece, other ones in other images): all but #{ground:06x} are the foreground (other: 1)"
        ],
        colors={"background": f"#{ground:06x}"},
        other=1,
    )


def _told_apart(
    pixels: Counter[int], images: Counter[int], marks: Marks, legend: Legend | None
) -> Classes | None:
    """Masks whose numbers are no classes: instances, grey levels, stray pixels, two ways to say 1."""
    if set(pixels) in ({0, 1}, {0, IGNORED}):
        return None
    listed = legend is not None and set(pixels) - {IGNORED} <= set(legend.numbers)
    if not listed and (instances := _instances(pixels, images, marks)):
        return instances
    if reason := lossy_reason(pixels, marks):
        return _levels(pixels, images, marks, reason=reason)
    if marks.lossy and len(pixels) > 2:
        raise SegfocalError(
            f"{marks.lossy} of {marks.masks} masks are JPEG and hold {len(pixels)} values, which are neither "
            "background and one object nor class numbers, as compression changes them. Save them as PNG."
        )
    strays = stray_values(pixels, images, masks=marks.masks)
    kept = set(pixels) - set(strays)
    if strays and kept == {0, IGNORED}:
        return _levels(pixels, images, marks, reason=_stray_reason(pixels, strays, of="0 and 255"))
    if set(pixels) == {0, 1, IGNORED} and not marks.mixed:
        reason = "some masks hold 0 and 1, others 0 and 255, none both: 1 and 255 are the foreground"
        both = {0: 0, 1: 1, IGNORED: 1}
        joined = Counter({0: pixels[0], 1: pixels[1] + pixels[IGNORED]})
        seen = Counter({1: images[1] + images[IGNORED]})
        return _binary(joined, seen, 1, reason=reason, values=both)
    if strays and len(kept) > 1:
        rest = Counter({value: pixels[value] for value in kept})
        judged = _by_value(rest, images, marks, legend)
        note = _stray_reason(pixels, strays, of="few pixels of no class")
        return _ignoring(judged, strays, pixels, f"{note}, which are ignored (ignore_values)")
    return None


def stray_values(pixels: Counter[int], images: Counter[int], *, masks: int) -> list[int]:
    """Return values of a handful of pixels that somebody's brush or editor left, beside one or more classes.

    Args:
        pixels: Value to pixels.
        images: Value to images that hold it.
        masks: How many there are.
    """
    objects = sorted((count for value, count in pixels.items() if value != 0), reverse=True)
    if len(objects) < 2:
        return []
    main = objects[0]
    rare = [
        value
        for value, n in pixels.items()
        if value != 0 and n <= _FEW_PX * images[value] and n < 0.02 * main
    ]
    two = len(pixels) - len(rare) == 2
    if two:  # background and one class: everything else that is rare
        return sorted(rare)
    few = max(2, masks // 50)
    return sorted(v for v in rare if images[v] <= few and pixels[v] <= _FEW_PX and v != IGNORED)


def lossy_reason(pixels: Counter[int], marks: Marks) -> str:
    """Return why the values of masks are grey levels of one class, or "" where they are not.

    Args:
        pixels: Value to pixels.
        marks: What the masks look like.
    """
    if not marks.grey:
        return ""
    between, border, middle, ends, every = (
        sum(getattr(facts, name) for facts in marks.grey)
        for name in ("between_px", "border_px", "middle_px", "ends_px", "pixels")
    )
    levels = len(pixels) - (0 in pixels) - (marks.grey[0].top in pixels)
    if ends < _AT_ENDS * every or (not marks.lossy and middle == 0) or border < _ON_BORDERS * between:
        return ""
    shown = "1 value" if levels == 1 else f"{levels} values"
    if marks.lossy:
        return (
            f"{marks.lossy} of {marks.masks} masks are JPEG: their {shown} beside 0 and "
            f"{marks.grey[0].top} are what compression left of one class"
        )
    return (
        f"{shown} between 0 and {marks.grey[0].top} on borders alone: the masks were resized with "
        "interpolation or compressed with loss, and hold one class (set task: multiclass and values if not)"
    )


def _levels(pixels: Counter[int], images: Counter[int], marks: Marks, *, reason: str) -> Classes:
    """One class from a threshold on."""
    top = max((facts.top for facts in marks.grey), default=IGNORED)
    least = (top + 1) // 2
    positives = sum(count for value, count in pixels.items() if value >= least)
    seen = max((images[value] for value in pixels if value >= least), default=0)
    threshold = 0.5 if marks.fractions else least
    return Classes(
        task="binary",
        names=("foreground",),
        pixels=[[sum(pixels.values()) - positives, positives]],
        images=(seen,),
        reasons=[f"{reason}; threshold: {threshold} makes it the foreground from there on"],
        threshold=threshold,
    )


def _stray_reason(pixels: Counter[int], strays: list[int], *, of: str) -> str:
    shown = ", ".join(f"{value} ({pixels[value]} px)" for value in strays[:5])
    more = f" and {len(strays) - 5} more" if len(strays) > 5 else ""
    return f"the masks hold {of}, and a handful of stray pixels: {shown}{more}"


def _ignoring(judged: Classes, strays: list[int], pixels: Counter[int], note: str) -> Classes:
    """The same classes, with some values ignored."""
    if judged.threshold is not None:  # what lies below it is background
        return judged
    if judged.task == "binary":
        values = judged.values or {0: 0, (1 if pixels[1] else IGNORED): 1}
    else:
        values = judged.values or {label: label for label in range(len(judged.names))}
    lost = sum(pixels[value] for value in strays)
    return replace(
        judged,
        values=values,
        ignore_values=tuple(sorted({*judged.ignore_values, *strays})),
        ignored_px=judged.ignored_px + lost,
        reasons=[*judged.reasons, note],
    )


def _instances(pixels: Counter[int], images: Counter[int], marks: Marks) -> Classes | None:
    """Numbers of instances: each a connected piece, 1 to n, n another from image to image."""
    facts = marks.pieces
    counts = Counter(fact.numbers for fact in facts)
    if len(counts) < 2 or max(counts) < 3 or counts.most_common(1)[0][1] > 0.7 * len(facts):
        return None
    numbers = sum(fact.numbers for fact in facts)
    if sum(fact.single for fact in facts) < 0.95 * numbers:
        return None
    gapless = sum(fact.gapless for fact in facts) >= 0.9 * len(facts)
    several = [fact.ordered for fact in facts if fact.numbers > 1]
    likely = max(counts) > 3 or len(counts) > 2 or sum(several) >= 0.9 * len(several)
    if not (len(pixels) > _MOST_CLASSES or (gapless and likely)):
        return None
    apart = IGNORED in pixels and max(v for v in pixels if v != IGNORED) < IGNORED - 1
    ignored = (IGNORED,) if apart else ()
    unlabelled = sum(pixels[value] for value in ignored)
    positives = sum(pixels.values()) - pixels[0] - unlabelled
    return Classes(
        task="binary",
        names=("foreground",),
        pixels=[[pixels[0], positives]],
        images=(len(facts),),
        reasons=[
            f"the numbers of the masks look like those of instances ({min(counts)} to {max(counts)} in an "
            "image, each of one piece): all of them are the foreground (other: 1). Set task: multiclass if "
            "they are classes"
        ],
        values={0: 0},
        ignore_values=ignored,
        other=1,
        ignored_px=unlabelled,
    )


def _by_value(pixels: Counter[int], images: Counter[int], marks: Marks, legend: Legend | None) -> Classes:
    found = sorted(pixels)
    if set(found) in ({0, 1}, {0, IGNORED}):
        return _binary(
            pixels,
            images,
            found[1],
            reason=f"the masks hold {found[0]} and {found[1]} only",
            name=_only(legend),
        )
    if set(found) == {0, 1, IGNORED}:
        reason = "the masks hold 0 and 1, and 255 is taken for unlabelled: set values if it is a class"
        coding: dict[str, Any] = {"values": {0: 0, 1: 1}, "ignore_values": (IGNORED,)}
        return _binary(pixels, images, 1, reason=reason, name=_only(legend), **coding)
    named = _named(pixels, images, marks, legend)
    if named is not None:
        return named
    if len(found) == 2:
        rare = min(found, key=lambda value: pixels[value])
        reason = f"the masks hold {found[0]} and {found[1]} only; the rarer one, {rare}, is the foreground"
        return _binary(pixels, images, rare, reason=reason, values={v: int(v == rare) for v in found})
    ignored = (IGNORED,) if IGNORED in pixels and max(v for v in found if v != IGNORED) < 128 else ()
    kept = [value for value in found if value not in ignored]
    plain = kept == list(range(len(kept)))
    reasons = [f"the masks hold {len(kept)} values"]
    if ignored:
        reasons.append("255, far from the others, is taken for unlabelled: ignore_values")
    return Classes(
        task="multiclass",
        names=tuple("background" if value == 0 else f"class {value}" for value in kept),
        pixels=[pixels[value] for value in kept],
        images=tuple(images[value] for value in kept),
        reasons=reasons,
        values=None if plain else {value: label for label, value in enumerate(kept)},
        ignore_values=() if plain else ignored,
        ignored_px=sum(pixels[value] for value in ignored),
    )


def _only(legend: Legend | None) -> str:
    """The name of the class beside the background, where a legend has two."""
    if legend is None or len(legend.names) != 2:
        return "foreground"
    first, second = legend.names
    return first if says_background(second) and not says_background(first) else second


def _named(pixels: Counter[int], images: Counter[int], marks: Marks, legend: Legend | None) -> Classes | None:
    """Classes by the numbers of a legend, by the colours of a palette, or those of Pascal VOC."""
    found = sorted(pixels)
    kept = [value for value in found if value != IGNORED]
    numbers: dict[int, str] = {}
    source = ""
    if legend is not None and legend.numbers:
        numbers, source = dict(legend.numbers), f"named by {legend.source}"
    elif legend is not None and marks.palette and set(marks.palette.values()) & set(legend.colors):
        by_color = legend.colors
        numbers = {value: by_color[color] for value, color in marks.palette.items() if color in by_color}
        source = f"named by the colours of their palette in {legend.source}"
    if not numbers and marks.palette and _is_voc(marks.palette, kept):
        numbers = dict(enumerate(VOC))
        source = (
            "with the palette of Pascal VOC and named as its 21 classes: set class_names if they are others"
        )
    if not numbers or not set(kept) <= set(numbers):
        return None
    every = sorted(numbers)
    plain = every == list(range(len(every)))
    ignored = (IGNORED,) if IGNORED in pixels and IGNORED not in numbers else ()
    reasons = [f"the masks hold {len(kept)} values, {source}"]
    if ignored:
        reasons.append("255 is taken for unlabelled (borders)")
    return Classes(
        task="multiclass",
        names=tuple(numbers[value] for value in every),
        pixels=[pixels[value] for value in every],
        images=tuple(images[value] for value in every),
        reasons=reasons,
        values=None if plain else {value: label for label, value in enumerate(every)},
        ignore_values=() if plain else ignored,
        ignored_px=sum(pixels[value] for value in ignored),
    )


def _is_voc(palette: dict[int, int], values: list[int]) -> bool:
    table = voc_palette()
    used = {value: color for value, color in palette.items() if value != IGNORED}
    return max(values) < len(VOC) and all(table[value] == color for value, color in used.items())


def _binary(
    pixels: Counter[int],
    images: Counter[int],
    foreground: int,
    *,
    reason: str,
    name: str = "foreground",
    **coding: Any,
) -> Classes:
    inside = sum(pixels[value] for value in coding.get("ignore_values", ()))
    positives = pixels[foreground]
    return Classes(
        task="binary",
        names=(name,),
        pixels=[[sum(pixels.values()) - positives - inside, positives]],
        images=(images[foreground],),
        reasons=[reason],
        **{"ignored_px": inside, **coding},
    )


def _by_color(pixels: Counter[int], images: Counter[int], legend: Legend | None) -> Classes:
    if legend is not None and set(pixels) & set(legend.colors):
        return _by_legend(pixels, images, legend)
    ordered = [number for number, _ in pixels.most_common()]
    hexes = {number: f"#{number:06x}" for number in ordered}
    ordered.sort(key=lambda number: number != 0)  # black, where it occurs, is the background
    if len(ordered) == 2:
        front = ordered[1]
        why = "the other one is black" if 0 in ordered else "the rarer one"
        reason = f"the masks hold two colours; {hexes[front]} ({why}) is the foreground"
        return _binary(pixels, images, front, reason=reason, colors={"foreground": hexes[front]}, other=0)
    names = tuple("background" if place == 0 else f"colour {hexes[n]}" for place, n in enumerate(ordered))
    return Classes(
        task="multiclass",
        names=names,
        pixels=[pixels[number] for number in ordered],
        images=tuple(images[number] for number in ordered),
        reasons=[
            f"the masks hold {len(ordered)} colours; "
            + ("black" if 0 in ordered else "the most frequent one")
            + " is called background"
        ],
        colors={name: hexes[number] for name, number in zip(names, ordered, strict=True)},
    )


def _by_legend(pixels: Counter[int], images: Counter[int], legend: Legend) -> Classes:
    """Colours with the names that a file gives them; the others have no class."""
    order = {name: color for color, name in legend.colors.items()}
    strange = sorted(set(pixels) - set(legend.colors))
    reasons = [f"the masks hold {len(pixels)} colours, named by {legend.source}"]
    if strange:
        shown = ", ".join(f"#{n:06x} ({pixels[n]} px)" for n in strange[:5])
        what = "void there" if set(strange) <= set(legend.void) else "not all named there"
        reasons.append(f"{len(strange)} of them are {what} and ignored: {shown}")
    ignored: dict[str, Any] = {
        "ignore_colors": tuple(f"#{number:06x}" for number in strange),
        "ignored_px": sum(pixels[number] for number in strange),
    }
    names = list(order)
    if len(names) == 2 and any(says_background(name) for name in names):
        front = next((name for name in names if not says_background(name)), names[1])
        colors = {front: f"#{order[front]:06x}"}
        return _binary(
            Counter({order[name]: pixels[order[name]] for name in names}),
            images,
            order[front],
            reason="; ".join(reasons),
            name=front,
            colors=colors,
            other=0,
            **ignored,
        )
    return Classes(
        task="multiclass",
        names=tuple(names),
        pixels=[pixels[order[name]] for name in names],
        images=tuple(images[order[name]] for name in names),
        reasons=reasons,
        colors={name: f"#{order[name]:06x}" for name in names},
        **ignored,
    )


def _multilabel(totals: Totals, folders: tuple[str, ...], unlabelled: tuple[int, ...]) -> Classes:
    lossy = [lossy_reason(plane, marks) for plane, marks in zip(totals.pixels, totals.marks, strict=True)]
    if any(lossy):
        return _multilabel_levels(totals, folders, next(filter(None, lossy)))
    area = sum(height * width * count for (height, width), count in totals.sizes.items())
    absent = {0, *unlabelled}
    positives = [sum(n for value, n in plane.items() if value not in absent) for plane in totals.pixels]
    shown = [
        max((n for value, n in plane.items() if value not in absent), default=0) for plane in totals.images
    ]
    ignored = [sum(plane[value] for value in unlabelled) for plane in totals.pixels]
    strange = {value for plane in totals.pixels for value in plane} - {0, 1, IGNORED}
    if strange:
        raise SegfocalError(
            f"masks in folders of their own ({', '.join(folders)}) must hold 0 and 1 or 255, "
            f"got {sorted(strange)[:10]}. Set values by hand."
        )
    return Classes(
        task="multilabel",
        names=folders,
        pixels=[[area - count - left, count] for count, left in zip(positives, ignored, strict=True)],
        images=tuple(shown),
        reasons=[f"{len(folders)} folders of masks lie side by side, a missing file means: class absent"],
        ignored_px=sum(ignored),
    )


def _multilabel_levels(totals: Totals, folders: tuple[str, ...], reason: str) -> Classes:
    """A class per folder of grey levels, the same threshold for all."""
    area = sum(height * width * count for (height, width), count in totals.sizes.items())
    judged = [
        _levels(plane, images, marks, reason=reason)
        for plane, images, marks in zip(totals.pixels, totals.images, totals.marks, strict=True)
    ]
    positives = [sum(row[1] for row in found.pixels if isinstance(row, list)) for found in judged]
    strange = [
        name
        for name, plane, marks in zip(folders, totals.pixels, totals.marks, strict=True)
        if not marks.grey and not set(plane) <= {0, IGNORED}
    ]
    if strange:
        raise SegfocalError(
            f"masks of {', '.join(strange)} hold no grey levels up to 255, those of other classes do: one "
            "threshold does not fit all. Save all as PNG of 0 and 255."
        )
    side = f"{len(folders)} folders of masks lie side by side, a missing file means: class absent"
    return Classes(
        task="multilabel",
        names=folders,
        pixels=[[area - count, count] for count in positives],
        images=tuple(found.images[0] for found in judged),
        reasons=[side, *judged[0].reasons],
        threshold=judged[0].threshold,
    )
