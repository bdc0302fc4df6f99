"""A look at pictures and masks in folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from segfocal.data.fingerprint.accounts import Account, account, account_lines, account_table, with_legend
from segfocal.data.fingerprint.advice import advise
from segfocal.data.fingerprint.binding import Binding, bind
from segfocal.data.fingerprint.classes import Classes, judge_classes
from segfocal.data.fingerprint.config import compose, data_lines, split_lines
from segfocal.data.fingerprint.legends import find_legend
from segfocal.data.fingerprint.listing import Listing, list_folders
from segfocal.data.fingerprint.page import chart, facts, picture_rows, remarks
from segfocal.data.fingerprint.pairing import CaseFiles, Match, find_match
from segfocal.data.fingerprint.parting import Parting, part_cases
from segfocal.data.fingerprint.report import Report
from segfocal.data.fingerprint.scan import Totals, scan
from segfocal.data.fingerprint.settings import FolderSettings, folder_settings
from segfocal.data.fingerprint.tables import draw_validation, drawn_note, table_text
from segfocal.data.reading import PLAIN, ReadRules, unread_hint
from segfocal.errors import SegfocalError


@dataclass(frozen=True)
class FolderLook:
    """What was found below a folder.

    Args:
        match: How the pictures are read.
        parting: Splits of all cases, as published.
        cases: Cases that are used.
        totals: Of all cases.
        binding: What belongs together among the cases that can be read.
        accounts: What became of every file.
    """

    match: Match
    parting: Parting
    cases: list[CaseFiles]
    totals: Totals
    binding: Binding
    accounts: list[Account]

    def groups(self) -> list[str] | None:
        """Return the group of each case that is used, or None where each stands for itself."""
        if self.binding.groups is None:
            return None
        kept = [g for n, g in enumerate(self.binding.groups) if n not in self.binding.dropped]
        return kept if len(set(kept)) < len(kept) else None


def look_at_folders(
    root: Path,
    *,
    processes: int | None,
    images: str | None = None,
    masks: str | None = None,
    rules: ReadRules = PLAIN,
) -> Report:
    """Pair the pictures below a folder with their masks, and read them all.

    Args:
        root: The folder.
        processes: Readers; None takes one per processor.
        images: Pattern of the paths of images; None: by names and looks.
        masks: Pattern of the paths of masks, likewise.
        rules: How pictures are read.

    Raises:
        SegfocalError: Where there is no such folder, no pairs, nothing to learn from, or a choice to be made.
    """
    look = read_folder(root, processes=processes, images=images, masks=masks, rules=rules)
    legend = find_legend(root)
    classes = judge_classes(look.totals, folders=look.match.classes, legend=legend)
    if legend is not None and any(legend.source in reason for reason in classes.reasons):
        look = replace(look, accounts=with_legend(look.accounts, legend.source))
    settings = folder_settings(
        root, look.cases, look.match.classes, by_folder=look.parting.source == "folders"
    )
    if look.binding.groups is not None and not look.binding.pattern:
        settings = None

    draws = settings is None and look.parting.source
    drawn = draw_validation(look.cases, look.groups()) if draws else look.cases
    note = drawn_note(look.cases, drawn=drawn)

    def files(out: Path) -> dict[Path, str]:
        return _files(out, root, replace(look, cases=list(drawn)), classes, settings, note)

    return Report(_page(root, look, classes, note), files, look.accounts)


def read_folder(
    root: Path,
    *,
    processes: int | None,
    images: str | None = None,
    masks: str | None = None,
    rules: ReadRules = PLAIN,
) -> FolderLook:
    """Find the cases of a folder, their splits and groups, and what becomes of every other file.

    Args:
        root: The folder.
        processes: As in `look_at_folders`.
        images: Likewise.
        masks: Likewise.
        rules: Likewise.

    Raises:
        SegfocalError: As `look_at_folders`.
    """
    listing = list_folders(root)
    match = find_match(listing, images=images, masks=masks)
    if match is None:
        raise _no_match(root, listing)
    parting = part_cases(match.cases, listing)
    totals = scan(
        [(case.split, case.image.path, case.files()) for case in parting.cases],
        processes=processes,
        rules=rules,
    )
    if not totals.digests:
        raise SegfocalError(f"none of the {len(totals.names)} images can be read: {totals.problems[0]}")
    broken = {case for case, whole in zip(parting.cases, totals.whole, strict=True) if not whole}
    kept = [case for case in parting.cases if case not in broken]
    ordered = [both for both, whole in zip(totals.ordered, totals.whole, strict=True) if whole]
    if not kept:
        raise SegfocalError(f"no image can be used with its mask: {totals.problems[0]}")
    binding = bind(kept, ordered)
    cases = [case for place, case in enumerate(kept) if place not in binding.dropped]
    left: dict[CaseFiles, str] = dict(parting.left or {})
    left |= dict.fromkeys(broken, "damaged, or image and mask of different sizes: see the lines with !")
    left |= {kept[place]: "the same picture lies in a later split" for place in binding.dropped}
    accounts = account(listing, match, parting, left=left, cases=cases)
    return FolderLook(match, parting, cases, totals, binding, accounts)


def _files(
    out: Path,
    root: Path,
    look: FolderLook,
    classes: Classes,
    settings: FolderSettings | None,
    drawn: Sequence[str],
) -> dict[Path, str]:
    groups = look.groups()
    group = look.binding.pattern if groups is not None and settings is not None else None
    note = look.binding.summary() if groups is not None else ""
    table = out.with_suffix(".csv").resolve() if settings is None else None
    split: Sequence[str] = ()
    if settings is not None or not look.parting.source:
        split = split_lines(settings.folders if settings else {}, group=group, note=note)
    data = data_lines(root, settings, classes, table=table, split=split)
    notes = [*look.match.reasons, *look.parting.notes, *look.binding.notes, *drawn]
    if groups is not None and settings is None:
        notes.append(f"groups, in the column group of the table: {note}")
    text = compose(root.name, classes, advise(look.totals, classes), data=data, notes=notes)
    files = {out: text}
    if table is not None:
        files[table] = table_text(root, look.cases, look.match.classes, groups)
    return files | {out.with_suffix(".files.csv"): account_table(look.accounts)}


def _page(root: Path, look: FolderLook, classes: Classes, drawn: Sequence[str]) -> RenderableType:
    match, splits = look.match, look.totals.splits
    counts = ", ".join(f"{name} {count}" for name, count in splits.items() if name)
    rows: dict[str, str] = {
        "folder": str(root),
        "images": f"{len(look.totals.names)} in {match.image_setting()}" + (f" ({counts})" if counts else ""),
        "masks": match.mask_setting(),
    }
    if any(case.region for case in look.cases):
        where = ", ".join(region.pattern for region in match.regions)
        rows["region"] = f"{where} (field of view: pixels outside do not count)"
    if look.parting.source:
        rows["splits"] = f"by {look.parting.source}" + (
            f": {', '.join(look.parting.lists)}" if look.parting.lists else ""
        )
    rows |= picture_rows(look.totals)
    if look.groups() is not None:
        rows["groups"] = look.binding.summary()
    said = [*match.reasons, *look.parting.notes, *look.binding.notes, *drawn]
    warned = [*look.binding.warnings, *_missing(splits)]
    return Group(
        facts(rows),
        chart(classes),
        *account_lines(look.accounts),
        *(Text(f"  {sentence}") for sentence in said),
        *remarks(look.totals, twins=False),
        *(Text(f"! {sentence}", style="red") for sentence in warned),
    )


def _missing(splits: Mapping[str, int]) -> list[str]:
    named = {name for name, count in splits.items() if name and count}
    if not named or "test" in named:
        return []
    return ["no test images with masks: `segfocal validate` scores those of val, `segfocal test` has none"]


def _no_match(root: Path, listing: Listing) -> SegfocalError:
    counts: dict[str, int] = {}
    for picture in listing.pictures:
        folder = "/".join(picture.parts) or "."
        counts[folder] = counts.get(folder, 0) + 1
    held = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:8])
    return SegfocalError(
        f"no masks found for the images in {root}: no folder holds files whose names match those in another. "
        f"Folders with pictures: {held or 'none'}.{_unread(root, listing)} Rename, say --images PATTERN and "
        "--masks PATTERN, or list the files in a table (segfocal.data.TableData)."
    )


# kinds of files that may hold annotations or pictures, beside those that no command reads
_FORMS = {
    ".xml": "draw the outlines as PNG masks first",
    ".gz": "unpack the files first",
    ".zip": "unpack the files first",
}


def _unread(root: Path, listing: Listing) -> str:
    """Return what is said of files that hold images or masks in a form that is not read."""
    others = [root / place for place, why in listing.others.items() if why != "hidden"]
    hint = unread_hint(others)
    for suffix, what in _FORMS.items():
        own = [
            path
            for path in others
            if path.suffix.lower() == suffix and not path.name.lower().endswith(".nii.gz")
        ]
        if own:
            hint += (
                f" {suffix} is not read ({len(own)}, {own[0].name}{', ...' if len(own) > 1 else ''}): {what}."
            )
    drawn = [path for path in others if path.suffix.lower() == ".json" and _is_labelme(path)]
    if drawn:
        hint += (
            f" {drawn[0].name} is an annotation of LabelMe: draw the masks (labelme2voc.py or "
            "labelme2coco.py of labelme)."
        )
    return hint


def _is_labelme(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(65536)
    return b'"shapes"' in head and (b'"imagePath"' in head or b'"shape_type"' in head)
