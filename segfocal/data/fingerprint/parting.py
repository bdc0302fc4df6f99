"""Which split each case of a folder belongs to: by folders, the beginning of names, or list files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segfocal.data.fingerprint.listing import Listing
from segfocal.data.fingerprint.names import part_split, pieces, split_of
from segfocal.data.fingerprint.pairing import CaseFiles
from segfocal.errors import SegfocalError

_NEARLY_ALL = 0.95  # of the cases must be named by lists, or begin with a split
_MOST_BYTES = 50_000_000
_LISTS = {".txt", ".csv", ".lst"}
_LIST_WORDS = {
    "list",
    "lists",
    "ids",
    "id",
    "files",
    "names",
    "set",
    "split",
    "images",
    "img",
    "image",
    "data",
}
_BOTH = {"trainval", "train_val", "train-val"}


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
    notes: tuple[str, ...] = ()
    found = _by_name(cases)
    if found is None:
        found, notes = _by_list(cases, listing)
    if found is not None:
        return found
    if splits - {""}:
        only = next(iter(splits - {""}))
        notes = (*notes, f"only {only} has masks: its images are divided into train, val and test")
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


def _by_list(cases: Sequence[CaseFiles], listing: Listing) -> tuple[Parting | None, tuple[str, ...]]:
    """Return splits by lists such as ``ImageSets/Segmentation/train.txt``, one folder of them, or why not."""
    known, named = _known(cases), []
    best: tuple[int, dict[CaseFiles, str], dict[str, Path]] = (0, {}, {})
    # of lists of the same cases, those for segmentation come first
    for _, files in sorted(
        _split_lists(listing).items(), key=lambda item: ("egment" not in str(item[0]), str(item[0]))
    ):
        found = _listed(files, known)
        if set(files) <= {"val", "test"} and found:
            # lists of what is not trained on alone: the others are
            found = dict.fromkeys(cases, "train") | found
        if found:
            named += [(path, len(found)) for path in files.values()]
        if len(found) > best[0] and len(set(found.values())) > 1:
            best = (len(found), found, files)
    _, found, files = best
    if len(set(found.values())) < 2 or len(found) < _NEARLY_ALL * len(cases):
        why = "name {} of {} images, or one split alone: not used for the splits"
        return None, tuple(
            f"{', '.join(path.name for path, n in named if n == count)} {why.format(count, len(cases))}"
            for count in sorted({n for _, n in named})
        )
    paths = tuple(path.relative_to(listing.root).as_posix() for path in files.values())
    left = {case: "a pair that no list names" for case in cases if case not in found}
    parted = [replace(case, split=found[case]) for case in cases if case in found]
    notes = () if "train" in files else (f"{', '.join(paths)}: all that is not listed there is trained on",)
    return Parting(parted, "lists", notes=notes, lists=paths, left=left), ()


def _split_lists(listing: Listing) -> dict[Path, dict[str, Path]]:
    """Return folders of lists to split to file; trainval counts where there is no list of train."""
    sets: dict[Path, dict[str, Path]] = {}
    for below in sorted(listing.others, key=lambda below: Path(below).stem.lower() in _BOTH):
        path = listing.root / below
        stem = path.stem.lower()
        said = "train" if stem in _BOTH else _said(path.stem)
        if path.suffix.lower() in _LISTS and said and listing.others[below] != "hidden":
            sets.setdefault(path.parent, {}).setdefault(said, path)
    return sets


def _said(stem: str) -> str:
    """Return the split of a list: train, train_list, ids-train."""
    split, word, _ = part_split(stem)
    rest = [piece for piece in pieces(stem) if piece not in pieces(word)]
    return split_of(stem) or (split if set(rest) <= _LIST_WORDS else "")


def _known(cases: Sequence[CaseFiles]) -> dict[str, list[CaseFiles]]:
    """Return what a line of a list may say to its cases: a path, a name, or a folder such as a film."""
    known: dict[str, list[CaseFiles]] = {}
    for case in cases:
        for member in dict.fromkeys(case.members):
            known.setdefault(member, []).append(case)
    stems = Counter(case.image.stem for case in cases)
    known |= {case.image.stem: [case] for case in cases if stems[case.image.stem] == 1}
    return known | {case.image.place: [case] for case in cases}


def _listed(files: Mapping[str, Path], known: Mapping[str, list[CaseFiles]]) -> dict[CaseFiles, str]:
    found: dict[CaseFiles, str] = {}
    # trainval beside val or test: what these list is not trained on
    for split, path in sorted(files.items(), key=lambda item: item[1].stem.lower() in _BOTH):
        for line in _lines(path):
            if path.suffix.lower() == ".csv":
                line = line.split(",")[0].strip(' "')
            for word in (line, *line.split()[:1]):
                again = known.get(word) or known.get(word.lstrip("/")) or known.get(Path(word).stem) or []
                for case in again:
                    before = found.setdefault(case, split)
                    if before != split and not (path.stem.lower() in _BOTH and before == "val"):
                        raise SegfocalError(
                            f"{path.parent} lists {case.image.place} for {before} and for {split}: what "
                            "is trained on must not be scored. Take it out of one list."
                        )
                if again:
                    break
    return found


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return []
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return []
