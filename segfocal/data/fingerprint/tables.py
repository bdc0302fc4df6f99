"""Tables of pictures and masks: a look at one, and the text of one."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Group
from rich.text import Text

from segfocal.data.fingerprint.advice import advise
from segfocal.data.fingerprint.classes import judge_classes
from segfocal.data.fingerprint.config import compose, label_lines, split_lines
from segfocal.data.fingerprint.groups import Groups, guess_groups
from segfocal.data.fingerprint.legends import find_legend
from segfocal.data.fingerprint.measure import MaskFiles
from segfocal.data.fingerprint.page import chart, facts, picture_rows, remarks
from segfocal.data.fingerprint.pairing import CaseFiles
from segfocal.data.fingerprint.report import Report
from segfocal.data.fingerprint.scan import scan
from segfocal.data.fingerprint.text import VAL_SHARE, leak_lines, quoted
from segfocal.data.fingerprint.twins import Key
from segfocal.data.pairs import Pair
from segfocal.data.reading import PLAIN, ReadRules
from segfocal.data.rows import SUFFIXES, TableLayout, read_rows
from segfocal.data.splits import Split
from segfocal.errors import SegfocalError

__all__ = ["SUFFIXES", "look_at_table", "table_text"]

_MASK = "mask_"


def look_at_table(path: Path, *, processes: int | None, rules: ReadRules = PLAIN) -> Report:
    """Read all pictures and masks of a table as ``TableData`` has it, paths starting from its folder.

    Args:
        path: CSV or Parquet.
        processes: Readers; None takes one per processor.
        rules: How pictures are read.

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
    cases = [(part, pair.image, _mask_files(pair)) for part, pair in pairs]
    totals = scan(cases, processes=processes, rules=rules)
    if not totals.digests:
        raise SegfocalError(f"none of the {len(totals.names)} images can be read: {totals.problems[0]}")
    judged = judge_classes(totals, folders=folders, legend=find_legend(path.parent))
    groups = None if "group" in columns or divided else guess_groups([pair.name for _, pair in pairs])
    splits = ", ".join(f"{part} {count}" for part, count in totals.splits.items() if part)
    rows = {"table": str(path), "images": f"{len(totals.names)}" + (f" ({splits})" if splits else "")}
    page = Group(facts(rows | picture_rows(totals)), chart(judged), *remarks(totals), *_group_lines(groups))
    data = [
        "  class_path: segfocal.data.TableData",
        "  init_args:",
        f"    root: {quoted(str(path.parent))}",
        f"    table: {quoted(path.name)}",
        *label_lines(judged),
        *([] if divided else split_lines({}, group=_pattern(groups), note="kept in one split each")),
        *leak_lines(_named(totals.duplicates(), pairs)),
    ]
    return Report(page, lambda out: {out: compose(path.name, judged, advise(totals, judged), data=data)})


def _mask_files(pair: Pair) -> tuple[MaskFiles, ...]:
    files = [pair.mask_files(place) for place in range(len(pair.masks))]
    return tuple((own[0] if len(own) == 1 else own) if own else None for own in files)


def _pattern(groups: Groups | None) -> str | None:
    return groups.pattern if groups is not None and groups.enough and groups.pattern else None


def _group_lines(groups: Groups | None) -> list[Text]:
    if groups is None:
        return []
    if _pattern(groups) is not None:
        return [Text(f"groups: {groups.count} by {groups.how}: kept in one split")]
    sentence = f"! names look like {groups.count} groups by {groups.how}, which the split divides by chance"
    return [Text(sentence, style="red")]


def table_text(
    root: Path, cases: Sequence[CaseFiles], classes: Sequence[str], groups: Sequence[str] | None
) -> str:
    """Return a CSV table of the cases, for ``TableData``: a row each, more where several masks are joined.

    Args:
        root: Folder that the paths start from.
        cases: In their order, with their splits.
        classes: Names, where each has masks of its own.
        groups: One per case; None: each for itself.
    """
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    split, region = any(case.split for case in cases), any(case.region for case in cases)
    extra = [name for name, there in (("region", region), ("split", split), ("group", groups)) if there]
    writer.writerow(["image", *([f"mask_{name}" for name in classes] or ["mask"]), *extra])
    for number, case in enumerate(cases):
        cells = [*([case.region.place if case.region else ""] if region else [])]
        cells += [*([case.split] if split else []), *([groups[number]] if groups else [])]
        for row in range(max(len(own) for own in case.masks)):
            masks = [own[row].place if row < len(own) else "" for own in case.masks]
            writer.writerow([case.image.place, *masks, *cells])
    return rows.getvalue()


def draw_validation(cases: Sequence[CaseFiles], groups: Sequence[str] | None) -> list[CaseFiles]:
    """Return cases of which a share of train validates, whole groups at a time, if nothing else does.

    Args:
        cases: In their order, with their splits.
        groups: One per case; None: each for itself.
    """
    if any(case.split == "val" for case in cases):
        return list(cases)
    places = [case.image.place for case in cases]
    group_of = dict(zip(places, groups or places, strict=True))
    train = sorted(case.image.place for case in cases if case.split == "train")
    if len({group_of[place] for place in train}) < 2:
        return list(cases)
    # masks are not read again for it: the page says so
    split = Split(train=["*"], val_share=VAL_SHARE)
    drawn = set(split.finish({"train": train}, group_of=group_of.__getitem__)["val"])
    return [replace(case, split="val") if case.image.place in drawn else case for case in cases]


def drawn_note(cases: Sequence[CaseFiles], *, drawn: Sequence[CaseFiles]) -> list[str]:
    """Return a sentence about the images that `draw_validation` drew; none where it drew none.

    Args:
        cases: Before the draw.
        drawn: After it.
    """
    count = sum(old.split != new.split for old, new in zip(cases, drawn, strict=True))
    if not count:
        return []
    return [
        f"{count} images of train validate (val in the table): drawn by chance, whatever classes they hold; "
        "edit the column split where a class is missing"
    ]


def _named(twins: Sequence[Sequence[Key]], pairs: Sequence[tuple[str, Pair]]) -> list[list[Key]]:
    """Return equal pictures by the names that the table gives them."""
    stems = [{stem for _, stem in places} for places in twins]
    return [[(part, pair.name) for part, pair in pairs if pair.image.stem in known] for known in stems]
