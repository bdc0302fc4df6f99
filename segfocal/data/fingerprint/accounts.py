"""What became of every file below a folder: the complete list, and a few lines of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.text import Text

from segfocal.data.fingerprint.listing import Listing
from segfocal.data.fingerprint.pairing import CaseFiles, Match
from segfocal.data.fingerprint.parting import Parting
from segfocal.writing import text_cell

_EXAMPLES = 3


@dataclass(frozen=True)
class Account:
    """One file.

    Args:
        place: Path below the root.
        use: "image", "mask", "region", "split list", "class names" or "" where it is not used.
        split: "train", "val", "test", or "" where it is drawn, or not used.
        why: Why it is not used; else "".
    """

    place: str
    use: str = ""
    split: str = ""
    why: str = ""


def account(
    listing: Listing,
    match: Match,
    parting: Parting,
    *,
    left: Mapping[CaseFiles, str],
    cases: Iterable[CaseFiles] = (),
) -> list[Account]:
    """Return every file below a folder, in the order of their paths.

    Args:
        listing: All files.
        match: How the pictures are read.
        parting: Splits of the cases.
        left: Cases that are not used to their reason.
        cases: Those that are used, with their splits.
    """
    found = {below: Account(below, why=why) for below, why in listing.others.items()}
    found |= {below: Account(below, use="split list") for below in parting.lists}
    found |= {picture.place: Account(picture.place, why=why) for picture, why in match.left.items()}
    for case, why in left.items():
        found |= {place: Account(place, why=why) for place, _ in _used(case)}
    for case in cases:
        found |= {place: Account(place, use, case.split) for place, use in _used(case)}
    for picture in listing.pictures:  # nothing may be forgotten, whatever the reading
        found.setdefault(picture.place, Account(picture.place, why="neither an image nor a mask"))
    return [found[place] for place in sorted(found)]


def with_legend(accounts: Iterable[Account], name: str) -> list[Account]:
    """Return the accounts, with files of this name used for the names of the classes."""
    return [
        Account(entry.place, "class names") if entry.place.rsplit("/", 1)[-1] == name else entry
        for entry in accounts
    ]


def _used(case: CaseFiles) -> list[tuple[str, str]]:
    region = [(case.region.place, "region")] if case.region else []
    masks = [(picture.place, "mask") for own in case.masks for picture in own]
    return [(case.image.place, "image"), *masks, *region]


def account_lines(accounts: Iterable[Account], *, whole: bool = False) -> list[Text]:
    """Return how many files are used as what, and what is not used.

    Args:
        accounts: Of all files.
        whole: Whether to list every file, instead of a few examples.
    """
    every = list(accounts)
    used: dict[str, int] = {}
    unused: dict[str, list[str]] = {}
    for entry in every:
        if entry.use:
            used[entry.use] = used.get(entry.use, 0) + 1
        else:
            unused.setdefault(entry.why, []).append(entry.place)
    shown = ", ".join(f"{count} as {use}" for use, count in used.items())
    lines = [Text(f"files: {len(every)}, used {sum(used.values())} ({shown}), not used {_count(unused)}")]
    for why, places in sorted(unused.items(), key=lambda item: (-len(item[1]), item[0])):
        few = "; ".join(places[:_EXAMPLES]) + ("; ..." if len(places) > _EXAMPLES else "")
        lines.append(Text(f"  not used, {len(places)}: {why}" + ("" if whole else f": {few}")))
    if whole:
        lines += [
            Text(f"  {e.place}: {' '.join(filter(None, (e.use, e.split))) or 'not used: ' + e.why}")
            for e in every
        ]
    return lines


def account_table(accounts: Iterable[Account]) -> str:
    """Return the complete list as CSV."""
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["file", "used_as", "split", "why_not"])
    writer.writerows(
        [text_cell(text) for text in (entry.place, entry.use, entry.split, entry.why)] for entry in accounts
    )
    return rows.getvalue()


def _count(unused: Mapping[str, list[str]]) -> int:
    return sum(map(len, unused.values()))
