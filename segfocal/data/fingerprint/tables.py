"""Tables of pictures and masks: a look at one, and the text of one."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group

from segfocal.data.fingerprint.advice import advise
from segfocal.data.fingerprint.classes import judge_classes
from segfocal.data.fingerprint.config import compose, label_lines, split_lines
from segfocal.data.fingerprint.groups import Groups, guess_groups
from segfocal.data.fingerprint.legends import find_legend
from segfocal.data.fingerprint.page import chart, facts, picture_rows, remarks
from segfocal.data.fingerprint.pairing import Match
from segfocal.data.fingerprint.report import Report
from segfocal.data.fingerprint.scan import scan
from segfocal.data.fingerprint.text import VAL_SHARE, leak_lines, quoted
from segfocal.data.fingerprint.twins import Key, Twins
from segfocal.data.pairs import Pair
from segfocal.data.rows import SUFFIXES, TableLayout, read_rows
from segfocal.data.splits import Split
from segfocal.errors import SegfocalError

__all__ = ["SUFFIXES", "look_at_table", "table_text"]

_MASK = "mask_"


def look_at_table(path: Path, *, processes: int | None) -> Report:
    """Read all pictures and masks of a table as ``TableData`` has it, paths starting from its folder.

    Args:
        path: CSV or Parquet.
        processes: Readers; None takes one per processor.

    Raises:
        SegfocalError: For a damaged table or missing columns and files, and where no image can be read.
    """
    listed = read_rows(path)
    columns = list(listed[0])
    classes = [name.removeprefix(_MASK) for name in columns if name.startswith(_MASK)]
    folders = () if "mask" in columns else tuple(classes)
    divided = any(row.get("split") for row in listed)
    layout = TableLayout(
        path.parent,
        path.name,
        classes=folders or None,
        split=None if divided else Split(train=1.0),
        allowed=["*"],  # equal groups of two splits are seen when training starts
    )
    pairs = [(part if divided else "", pair) for part, pairs in layout.divide().items() for pair in pairs]
    cases = [(part, pair.image, pair.masks) for part, pair in pairs]
    totals = scan(cases, processes=processes)
    if not totals.digests:
        raise SegfocalError(f"none of the {len(totals.names)} images can be read: {totals.problems[0]}")
    judged = judge_classes(totals, folders=folders, legend=find_legend(path.parent))
    groups = None if "group" in columns else guess_groups(totals.names)
    splits = ", ".join(f"{part} {count}" for part, count in totals.splits.items() if part)
    rows = {"table": str(path), "images": f"{len(totals.names)}" + (f" ({splits})" if splits else "")}
    page = Group(facts(rows | picture_rows(totals)), chart(judged), *remarks(totals))
    data = [
        "  class_path: segfocal.data.TableData",
        "  init_args:",
        f"    root: {quoted(str(path.parent))}",
        f"    table: {quoted(path.name)}",
        *label_lines(judged),
        *([] if divided else split_lines({}, groups)),
        *leak_lines(_named(totals.duplicates(), pairs)),
    ]
    return Report(page, lambda out: {out: compose(path.name, judged, advise(totals, judged), data=data)})


def table_text(match: Match, *, root: Path, twins: Twins, groups: Groups | None) -> str:
    """Return a CSV table of the cases, for ``TableData``.

    Args:
        match: Images and masks.
        root: Folder that the paths start from.
        twins: Images to leave out, and groups.
        groups: Groups in the names, kept whole where validation is drawn from train.
    """
    masks = [f"mask_{name}" for name in match.classes] or ["mask"]
    split = any(part for part, _, _ in match.files())
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    extra = [*(["split"] if split else []), *(["group"] if twins.groups else [])]
    writer.writerow(["image", *masks, *extra])
    drawn = _validation(match, twins, groups)
    for folder, image, files in match.files():
        key, part = (folder, image.stem), "val" if image.stem in drawn and folder == "train" else folder
        if key in twins.dropped:
            continue
        paths = ["" if path is None else path.relative_to(root).as_posix() for path in files]
        cells = [*([part] if split else []), *([twins.groups[key]] if twins.groups else [])]
        writer.writerow([image.relative_to(root).as_posix(), *paths, *cells])
    return rows.getvalue()


def _validation(match: Match, twins: Twins, groups: Groups | None) -> set[str]:
    """Return the names of train that validate, where no folder is named for it."""
    names = [
        image.stem
        for part, image, _ in match.files()
        if part == "train" and (part, image.stem) not in twins.dropped
    ]
    if "val" in match.images.folders or not names:
        return set()
    pattern = groups.pattern if groups is not None and groups.enough else None
    split = Split(train=["*"], val_share=VAL_SHARE, group=pattern)
    return set(split.finish({"train": sorted(names)})["val"])


def _named(twins: Sequence[Sequence[Key]], pairs: Sequence[tuple[str, Pair]]) -> list[list[Key]]:
    """Return equal pictures by the names that the table gives them."""
    stems = [{stem for _, stem in places} for places in twins]
    return [[(part, pair.name) for part, pair in pairs if pair.image.stem in known] for known in stems]
