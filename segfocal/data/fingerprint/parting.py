"""Which split each case of a folder belongs to: by folders, the beginning of names, or list files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segfocal.data.fingerprint.listing import Listing
from segfocal.data.fingerprint.names import pieces, split_of
from segfocal.data.fingerprint.pairing import CaseFiles
from segfocal.errors import SegfocalError

_NEARLY_ALL = 0.95  # of the cases must be named by lists, or begin with a split
_MOST_BYTES = 50_000_000


@dataclass(frozen=True)
class Parting:
    """Cases with their splits.

    Args:
        cases: All cases; the split of each is "" where they are to be drawn.
        source: Where the splits come from: "folders", "names", "lists", or "" where they are drawn.
        notes: Sentences.
        lists: Files that say the splits.
        left: Cases that are not used to their reason.
    """

    cases: list[CaseFiles]
    source: str = ""
    notes: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    left: Mapping[CaseFiles, str] | None = None


def part_cases(cases: Sequence[CaseFiles], listing: Listing) -> Parting:
    """Find the splits of cases.

    Args:
        cases: As their folders say it.
        listing: All files of the folder.
    """
    splits = {case.split for case in cases}
    if len(splits - {""}) > 1:
        return _by_folder(cases)
    found = _by_name(cases) or _by_list(cases, listing)
    if found is not None:
        return found
    notes: tuple[str, ...] = ()
    if splits - {""}:
        only = next(iter(splits - {""}))
        notes = (f"only {only} has masks: its images are divided into train, val and test",)
    return Parting([replace(case, split="") for case in cases], notes=notes)


def _by_folder(cases: Sequence[CaseFiles]) -> Parting:
    loose = [case for case in cases if not case.split]
    left = dict.fromkeys(loose, "a pair that no folder of a split holds")
    return Parting([case for case in cases if case.split], "folders", left=left)


def _by_name(cases: Sequence[CaseFiles]) -> Parting | None:
    """Return splits by the first word of the names: train_1, testA_1."""
    said = [split_of(_first_word(case.image.stem)) for case in cases]
    if len(set(said) - {""}) < 2 or said.count("") > (1 - _NEARLY_ALL) * len(said):
        return None
    parted = [replace(case, split=split) for case, split in zip(cases, said, strict=True)]
    left = {case: "a pair whose name begins with no split" for case in parted if not case.split}
    return Parting([case for case in parted if case.split], "names", left=left)


def _first_word(stem: str) -> str:
    word = stem.replace("-", "_").replace(" ", "_").replace(".", "_").split("_", 1)[0]
    return word if split_of(word) else next(iter(pieces(stem)), "")


def _by_list(cases: Sequence[CaseFiles], listing: Listing) -> Parting | None:
    """Return splits by text files such as ``ImageSets/Segmentation/train.txt``, one folder of them."""
    sets: dict[Path, dict[str, Path]] = {}
    for below in listing.others:
        path = listing.root / below
        if path.suffix.lower() == ".txt" and split_of(path.stem) and listing.others[below] != "hidden":
            sets.setdefault(path.parent, {}).setdefault(split_of(path.stem), path)
    names = {case.image.place: case for case in cases}
    stems = Counter(case.image.stem for case in cases)
    known = names | {case.image.stem: case for case in cases if stems[case.image.stem] == 1}
    best: tuple[int, dict[CaseFiles, str], dict[str, Path]] = (0, {}, {})
    # of lists of the same cases, those for segmentation come first
    for _, files in sorted(sets.items(), key=lambda item: ("egment" not in str(item[0]), str(item[0]))):
        if len(files) > 1:
            found = _listed(files, known)
            if len(found) > best[0]:
                best = (len(found), found, files)
    _, found, files = best
    if len(set(found.values())) < 2 or len(found) < _NEARLY_ALL * len(cases):
        return None
    paths = tuple(path.relative_to(listing.root).as_posix() for path in files.values())
    left = {case: "a pair that no list names" for case in cases if case not in found}
    parted = [replace(case, split=found[case]) for case in cases if case in found]
    return Parting(parted, "lists", lists=paths, left=left)


def _listed(files: Mapping[str, Path], known: Mapping[str, CaseFiles]) -> dict[CaseFiles, str]:
    found: dict[CaseFiles, str] = {}
    for split, path in files.items():
        for line in _lines(path):
            for word in (line, *line.split()[:1]):
                case = known.get(word) or known.get(word.lstrip("/")) or known.get(Path(word).stem)
                if case is not None:
                    if found.setdefault(case, split) != split:
                        raise SegfocalError(
                            f"{path.parent} lists {case.image.place} for {found[case]} and for {split}: what "
                            "is trained on must not be scored. Take it out of one list."
                        )
                    break
    return found


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return []
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return []
