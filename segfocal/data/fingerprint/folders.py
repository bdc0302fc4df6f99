"""A look at pictures and masks in folders."""

from __future__ import annotations

from pathlib import Path

from segfocal.data.fingerprint.advice import advise
from segfocal.data.fingerprint.classes import judge_classes
from segfocal.data.fingerprint.config import config_text, needs_table
from segfocal.data.fingerprint.groups import guess_groups
from segfocal.data.fingerprint.legends import find_legend
from segfocal.data.fingerprint.listing import list_folders
from segfocal.data.fingerprint.page import make_page
from segfocal.data.fingerprint.pairing import Match, find_match
from segfocal.data.fingerprint.report import Report
from segfocal.data.fingerprint.scan import scan
from segfocal.data.fingerprint.tables import table_text
from segfocal.data.fingerprint.twins import part_twins
from segfocal.errors import SegfocalError

_MOST_FOLDERS = 80


def look_at_folders(root: Path, *, processes: int | None) -> Report:
    """Pair the pictures below a folder with their masks, and read them all.

    Args:
        root: The folder.
        processes: Readers; None takes one per processor.

    Raises:
        SegfocalError: Where there is no such folder, no pairs, or nothing to learn from.
    """
    match = _match(root)
    totals = scan(match.files(), processes=processes)
    if not totals.digests:
        raise SegfocalError(f"none of the {len(totals.names)} images can be read: {totals.problems[0]}")
    classes = judge_classes(totals, folders=match.classes, legend=find_legend(root))
    groups = guess_groups(totals.names)

    def files(out: Path) -> dict[Path, str]:
        keys = [(split, image.stem) for split, image, _ in match.files()]
        twins = part_twins(keys, totals.duplicates(), groups)
        listed = twins.need_table or needs_table(match, root=root)
        table = out.with_suffix(".csv").resolve() if listed else None
        advice = advise(totals, classes)
        named = None if twins.groups else groups
        text = config_text(root, match, classes, advice, named, table=table, notes=twins.notes)
        return {out: text} | (
            {table: table_text(match, root=root, twins=twins, groups=groups)} if table else {}
        )

    return Report(make_page(root, match, totals, classes, groups), files)


def _match(root: Path) -> Match:
    folders = list_folders(root)
    if len(folders) > _MOST_FOLDERS:
        raise SegfocalError(
            f"{root} holds pictures in {len(folders)} folders: name the one above images and masks, or list "
            "the files in a table (segfocal.data.TableData)."
        )
    match = find_match(folders)
    if match is None:
        held = ", ".join(f"{name} ({len(folder.stems())})" for name, folder in list(folders.items())[:8])
        raise SegfocalError(
            f"no masks found for the images in {root}: the names in no folder follow from those in another. "
            f"Folders with pictures: {held or 'none'}. Rename, or list the files in a table "
            "(segfocal.data.TableData)."
        )
    return match
