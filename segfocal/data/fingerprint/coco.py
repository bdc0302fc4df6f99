"""A look at COCO's annotation files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from rich.console import Group
from rich.text import Text

from segfocal.data.coco.drawing import draw_layers
from segfocal.data.coco.reading import CocoImage, read_annotations
from segfocal.data.fingerprint.advice import advise
from segfocal.data.fingerprint.annotations import CocoFiles, coco_doubts, find_coco
from segfocal.data.fingerprint.classes import IGNORED, Classes, judge_classes
from segfocal.data.fingerprint.config import compose
from segfocal.data.fingerprint.measure import CaseFacts, image_facts, mask_facts
from segfocal.data.fingerprint.page import chart, facts, picture_rows, remarks
from segfocal.data.fingerprint.pool import each
from segfocal.data.fingerprint.report import Report
from segfocal.data.fingerprint.scan import Totals
from segfocal.data.fingerprint.text import SHARES, VAL_SHARE, leak_lines, quoted
from segfocal.data.reading import read_array
from segfocal.errors import SegfocalError

__all__ = ["coco_doubts", "find_coco", "look_at_coco"]


def look_at_coco(found: CocoFiles, *, processes: int | None) -> Report:
    """Draw and read all images.

    Args:
        found: The annotation files.
        processes: Readers; None takes one per processor.

    Raises:
        SegfocalError: For damaged annotations, and where no image can be read.
    """
    classes = {name: [name] for name in found.categories}
    items = [
        (split, image)
        for split, file in found.annotations.items()
        for image in read_annotations(
            found.root / file, folder=found.root / found.images[split], classes=classes
        )
    ]
    totals = Totals()
    work = partial(measure_coco, count=len(classes))
    for case in each(work, items, processes=processes, what="images"):
        totals.add(case)
    if not totals.digests:
        raise SegfocalError(f"none of the {len(items)} images can be read: {totals.problems[0]}")
    if totals.problems:
        more = f" And {len(totals.problems) - 1} more." if len(totals.problems) > 1 else ""
        raise SegfocalError(
            f"{len(totals.problems)} of {len(items)} images that the annotations list cannot be trained on: "
            f"{totals.problems[0]}{more} Repair them, or take them out of images and annotations."
        )
    judged = judge_classes(
        totals, folders=found.categories if len(classes) > 1 else (), unlabelled=(IGNORED,)
    )
    reason = f"the annotations hold {len(classes)} categories" + (
        f", and {found.left_out} rarer ones that are left out" if found.left_out else ""
    )
    judged = Classes(**{**vars(judged), "reasons": [reason + "; shapes may overlap" * (len(classes) > 1)]})
    rows = {"folder": str(found.root), "annotations": ", ".join(found.annotations.values())}
    page = Group(
        facts(rows | picture_rows(totals)), chart(judged), *remarks(totals), *doubt_lines(dict(found.unused))
    )
    data = _data_lines(found, totals, judged)
    return Report(
        page, lambda out: {out: compose(found.root.name, judged, advise(totals, judged), data=data)}
    )


def doubt_lines(doubts: Mapping[str, str]) -> list[Text]:
    """Return a line for each annotation file that is not used.

    Args:
        doubts: Its path below the root, and why.
    """
    return [Text(f"not used: {place}: {reason}") for place, reason in sorted(doubts.items())]


def measure_coco(item: tuple[str, CocoImage], *, count: int) -> CaseFacts:
    """Read an image and draw its shapes.

    Args:
        item: Split and image.
        count: Classes.
    """
    split, image = item
    try:
        pixels = read_array(image.file, palette="colors")
        if pixels.shape[:2] != image.size_px:
            raise SegfocalError(
                f"{image.file} is {pixels.shape[:2]} px, its annotations say {image.size_px} (height, width)."
            )
        layers = draw_layers(image.shapes, size_px=image.size_px, count=count)
    except SegfocalError as error:
        return CaseFacts(image.file.stem, split, problems=[str(error)])
    masks = tuple(mask_facts(layer) for layer in layers)
    return image_facts(image.file.stem, split, pixels, masks=masks, problems=[])


def _data_lines(found: CocoFiles, totals: Totals, classes: Classes) -> list[str]:
    single = "" in found.annotations
    files, folders = (places[""] if single else dict(places) for places in (found.annotations, found.images))
    shares: dict[str, Any] = dict(SHARES) if single else {}
    if not single and "val" not in found.annotations:
        shares = {"train": ["*"], "val_share": VAL_SHARE}
    return [
        "  class_path: segfocal.data.CocoData",
        "  init_args:",
        f"    root: {quoted(str(found.root))}",
        f"    annotations: {quoted(files)}",
        f"    images: {quoted(folders)}",
        f"    task: {classes.task}",
        f"    classes: {quoted(list(found.categories))}",
        *([f"    split: {quoted(shares)}"] if shares else []),
        *leak_lines(totals.duplicates()),
    ]
