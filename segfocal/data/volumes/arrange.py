"""Which files below a folder are images, channels and label maps of one case: by names, then by content."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from segfocal.data.volumes.layout import ENDINGS, VolumeFiles, without_ending
from segfocal.data.volumes.reading import Values, open_nifti
from segfocal.data.volumes.series import series_files
from segfocal.errors import SegfocalError


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


LABEL = _set(
    "label labels labelmap labelmaps seg segs segm segmentation segmentations mask masks gt gts truth "
    "groundtruth annotation annotations annot delineation manual target targets msk contour contours "
    "reference"
)
AUXILIARY = _set("brain brainmask head skull body bodymask fov roi")  # where to look, not what is there
IMAGE = _set("image images imaging img imgs volume volumes vol scan scans data raw orig original")
MODALITY = _set(
    "t1 t1c t1ce t1gd t1n t1w t2 t2f t2w flair ct cta mr mri pet suv dwi adc swi pd pdw mra tof cbf cbv mtt "
    "tmax tmx asl dce hbv 4d"
)
_ROLE = LABEL | AUXILIARY | IMAGE | MODALITY
_NEUTRAL = _set("ground anat derivatives nifti nii preprocessed pp")
_SPLIT_OF = {
    **dict.fromkeys(("train", "training", "trainset", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "va", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "ts"), "test"),
}
_JOINED = re.compile(
    r"(images?|labels?|img|seg|mask|volume|vol|segmentation|gt)(\d+|Tr|Ts|Va|Val|Train|Test)"
)
_FRAME = re.compile(r"(frame|fr|tp|time|timepoint|ses|session|visit|day|week|month|year|phase|run|acq)(\d*)")
_MOMENT = _set("baseline followup fu ed es pre post l r left right lh rh")
_PILES = _set("batch part pt fold site center centre group set")  # folders of many patients
_CHANNEL = re.compile(r"\d{4}")
_MOST_VALUES = 32  # of what looks like a label map
_SHOWN = 3

Words = tuple[str, ...]
Rule = Callable[["Entry"], "tuple[Words, Words] | None"]


@dataclass(frozen=True)
class Entry:
    """A NIfTI file, or a folder with a DICOM series.

    Args:
        path: Where it is.
        place: Its path below the root.
        parts: Words of its folders and, last, of its name; folders that name a split are left out.
        split: "train", "val", "test", or "" where no folder says it.
    """

    path: Path
    place: str
    parts: tuple[Words, ...]
    split: str

    def words(self) -> set[str]:
        """Return all words in lower case."""
        return {word.lower() for part in self.parts for word in part}


@dataclass(frozen=True)
class Arranged:
    """What a folder of volumes holds.

    Args:
        cases: Those that have a label map and all channels.
        channels: Names of the image files of a case, in order.
        splits: Case to its split; empty where no folder names one.
        groups: Case to patient; empty where each case is a patient.
        unused: (path below the root, why it is not used).
        notes: What was chosen, as sentences.
    """

    cases: tuple[VolumeFiles, ...]
    channels: tuple[str, ...]
    splits: Mapping[str, str]
    groups: Mapping[str, str]
    unused: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def walk_once(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield folders and the names in them, sorted; hidden ones are passed over, links are followed once.

    Args:
        root: Where to begin.
    """
    seen: set[str] = set()
    for place, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            inner[:] = []
            continue
        seen.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        yield Path(place), sorted(name for name in names if not name.startswith("."))


def list_entries(root: Path) -> list[Entry]:
    """Return the volumes below a folder.

    Args:
        root: The folder.
    """
    found = []
    for place, names in walk_once(root):
        volumes = [name for name in names if name.lower().endswith(ENDINGS)]
        found += [_entry(place / name, root) for name in volumes]
        if len(names) > len(volumes) and series_files(place):
            found.append(_entry(place, root))
    return found


def arrange(root: Path, *, images: str | None = None, masks: str | None = None) -> Arranged:
    """Find the cases below a folder: label maps, and the image files that belong to each.

    Args:
        root: The folder.
        images: Pattern of the paths that are images; None: all that are no label maps.
        masks: Pattern of the paths that are label maps; None: by their names, else by their content.

    Raises:
        SegfocalError: Where no image has a label map, or several could be meant.
    """
    every = list_entries(root)
    chosen = [entry for entry in every if images is None or _fits(entry, images) or _fits(entry, masks)]
    if not chosen:
        raise SegfocalError(f"{root} holds no volumes ({', '.join(ENDINGS)}) that --images {images} names.")
    unused = {entry.place: f"not named by --images {images}" for entry in every if entry not in chosen}
    is_label = _label_test(chosen, masks)
    rules = _rules(chosen, masks, is_label)
    best = max((_Groups(chosen, rule, is_label) for rule in rules), key=_Groups.score)
    if masks is None and not best.telling():
        seen = _by_content(chosen, rules, is_label, root)
        best = seen if seen.labelled() else best
    return best.finish(unused)


def arrange_images(root: Path, channels: Sequence[str]) -> list[tuple[str, tuple[Path, ...]]]:
    """Return name and files of the cases that have the channels of a training, label maps or not.

    Args:
        root: The folder.
        channels: Their names, in order.
    """
    plain = [entry for entry in list_entries(root) if not _label_test([entry], None)(entry)]
    entries = [_entry(entry.path, root.parent) for entry in plain]  # the folder of one case names it
    best: list[tuple[str, tuple[Path, ...]]] = []
    rules = [
        rule for words in (None, " ".join(channels)) for rule in _rules(entries, words, lambda entry: False)
    ]
    for rule in rules:
        groups = _Groups(entries, rule, lambda entry: False)
        whole = {
            key: found
            for key, found in groups.images.items()
            if all(name in found for name in channels) or (len(channels) == 1 and len(found) == 1)
        }
        if len(whole) > len(best):
            names = groups.names(whole)
            best = [
                (names[key], tuple(_named(found, name).path for name in channels))
                for key, found in whole.items()
            ]
    return sorted(best)


def _named(found: Mapping[str, Entry], role: str) -> Entry:
    """Return the file of a role, or the only file there is."""
    return found.get(role) or next(iter(found.values()))


def without_labels(files: Sequence[Path]) -> list[Path]:
    """Return volumes without those whose names, unlike those of others, call them label maps.

    Args:
        files: Of one folder.
    """
    entries = [_entry(path, path.parent) for path in files if path.name.lower().endswith(ENDINGS)]
    is_label = _label_test(entries, None)
    labels = {entry.path for entry in entries if is_label(entry)}
    return [path for path in files if path not in labels or len(labels) == len(entries)]


class _Groups:
    """Entries by case, as one rule sees them."""

    def __init__(self, entries: Sequence[Entry], rule: Rule, is_label: Callable[[Entry], bool]) -> None:
        self.entries, self.rule, self.is_label = entries, rule, is_label
        ruled = {entry.place: rule(entry) for entry in entries}
        self.keys = {place: found[0] for place, found in ruled.items() if found is not None}
        roles = {place: found[1] for place, found in ruled.items() if found is not None}
        common = self._common(roles)
        self.labels: dict[Words, dict[str, Entry]] = {}
        self.images: dict[Words, dict[str, Entry]] = {}
        self.clashes: list[Entry] = []
        for entry in entries:
            if entry.place not in self.keys:
                continue
            key = (entry.split, *self.keys[entry.place])
            words = [word for word in roles[entry.place] if word in common or word in _ROLE]
            place = (self.labels if is_label(entry) else self.images).setdefault(key, {})
            if place.setdefault(_role_name(words), entry) is not entry:
                self.clashes.append(entry)

    def labelled(self) -> list[Words]:
        """Return the cases that have an image and a label map."""
        return [key for key in self.labels if key in self.images]

    def telling(self) -> bool:
        """Return whether a case has a label map whose name does not say that it is a region to look at."""
        return any(
            not set(role.split("_")) & AUXILIARY for key in self.labelled() for role in self.labels[key]
        )

    def score(self) -> tuple[int, int]:
        """Return how well the rule fits: cases, and minus the files that lie in none."""
        cases = self.labelled()
        used = sum(len(self.labels[key]) + len(self.images[key]) for key in cases)
        return len(cases), used - len(self.entries)

    def names(self, cases: Iterable[Words]) -> dict[Words, str]:
        """Return a name for each case: the words of its files' names, or of all their folders."""
        keys = list(cases)
        short = {key: "_".join(self._shown(key, last=True)) for key in keys}
        for chosen in (
            {key: self._stem(key) if name.isdigit() or not name else name for key, name in short.items()},
            {key: "_".join(self._shown(key, last=False)) for key in keys},
        ):
            if len(set(chosen.values())) == len(keys) and all(chosen.values()):
                return chosen
        return {key: "_".join(filter(None, key)) for key in keys}

    def finish(self, unused: dict[str, str]) -> Arranged:
        """Choose label map and channels, and account for every file."""
        cases = self.labelled()
        notes: list[str] = []
        if not cases:
            raise SegfocalError(self._nothing())
        masks = self._masks(cases, unused, notes)
        channels = self._channels(cases, masks, unused, notes)
        names = self.names(cases)
        files: list[VolumeFiles] = []
        splits: dict[str, str] = {}
        for key in cases:
            missing = [role for role in channels if role not in self.images[key]]
            if missing:
                for entry in (masks[key], *self.images[key].values()):
                    unused.setdefault(entry.place, f"the case {names[key]} has no {', '.join(missing)}")
                continue
            paths = tuple(self.images[key][role].path for role in channels)
            files.append(VolumeFiles(names[key], paths, masks[key].path))
            splits[names[key]] = key[0]
        self._rest(files, unused)
        divided = splits if len({part or "train" for part in splits.values()}) > 1 else {}
        return Arranged(
            cases=tuple(sorted(files, key=lambda case: case.name)),
            channels=channels,
            splits={name: part or "train" for name, part in divided.items()},
            groups=patients_of(list(splits)) or _folders_of({names[key]: masks[key] for key in cases}),
            unused=tuple(sorted(unused.items())),
            notes=tuple(notes),
        )

    def _common(self, roles: Mapping[str, Words]) -> set[str]:
        """Return the words that files of at least half of the cases have: others belong to one case."""
        cases: dict[Words, set[str]] = {}
        for place, words in roles.items():
            cases.setdefault(self.keys[place], set()).update(words)
        counts = Counter(word for words in cases.values() for word in words)
        return {word for word, count in counts.items() if 2 * count >= len(cases)}

    def _shown(self, key: Words, *, last: bool) -> list[str]:
        """Return the words of a case as its files spell them."""
        entry = next(iter({**self.images.get(key, {}), **self.labels.get(key, {})}.values()))
        wanted = set(key[1:])
        parts = entry.parts[-1:] if last and wanted & _lower(entry.parts[-1]) else entry.parts
        lows = [[word.lower() for word in part] for part in parts]
        again = [any(_holds(later, low) for later in parts[n + 1 :]) for n, low in enumerate(lows)]
        kept = [part for part, said in zip(parts, again, strict=True) if not said]
        return [word for part in kept for word in part if word.lower() in wanted]

    def _stem(self, key: Words) -> str:
        found = list(self.images.get(key, {}).values())
        return without_ending(found[0].path.name) if len(found) == 1 else ""

    def _masks(self, cases: list[Words], unused: dict[str, str], notes: list[str]) -> dict[Words, Entry]:
        """Return the label map of each case."""
        rivals: Counter[str] = Counter()
        chosen: dict[Words, Entry] = {}
        for key in cases:
            found = self.labels[key]
            plain = {role: entry for role, entry in found.items() if not set(role.split("_")) & AUXILIARY}
            if len(plain or found) > 1:
                rivals.update(list(plain or found))
            role, entry = next(iter((plain or found).items()))
            chosen[key] = entry
            for other, aside in found.items():
                if other != role and aside is not entry:
                    unused[aside.place] = "says where to look, not what is there (a mask of the region)"
        if rivals:
            raise SegfocalError(
                f"{len(rivals)} kinds of label maps could be meant: "
                + ", ".join(f"{role} ({count} cases)" for role, count in rivals.most_common(10))
                + f". Choose one with --masks PATTERN, such as --masks '*{_telling_word(list(rivals))}*'."
            )
        example = min(entry.place for entry in chosen.values())
        notes.append(f"label maps: {len(chosen)}, such as {example}")
        return chosen

    def _channels(
        self, cases: list[Words], masks: Mapping[Words, Entry], unused: dict[str, str], notes: list[str]
    ) -> tuple[str, ...]:
        """Return the roles of the images that most cases have and that lie on the label map's grid."""
        counts = Counter(role for key in cases for role in self.images[key])
        usual = sorted(role for role, count in counts.items() if 2 * count >= len(cases))
        if not usual:
            raise SegfocalError(
                "the images of a case have no common names: "
                + ", ".join(
                    f"{role} ({count} of {len(cases)} cases)" for role, count in counts.most_common(8)
                )
                + ". Choose them with --images PATTERN."
            )
        for key in cases:
            for role, entry in self.images[key].items():
                if role not in usual:
                    unused[entry.place] = f"only {counts[role]} of {len(cases)} cases have {role}"
        whole = next((key for key in cases if set(usual) <= set(self.images[key])), None)
        if len(usual) > 1 and whole is not None:
            reasons = {role: _unfit(self.images[whole][role], masks[whole]) for role in usual}
            if not all(reasons.values()):
                for role in (role for role in usual if reasons[role]):
                    for found in (self.images[key] for key in cases if role in self.images[key]):
                        unused[found[role].place] = reasons[role]
                usual = [role for role in usual if not reasons[role]]
        if len(usual) > 1:
            notes.append(f"channels, one file each: {', '.join(usual)}")
        return tuple(usual)

    def _rest(self, files: Sequence[VolumeFiles], unused: dict[str, str]) -> None:
        """Say of every file that no case uses why."""
        used = {path for case in files for path in (*case.images, case.mask)}
        labelled = set(self.labelled())
        for entry in self.entries:
            if entry.path in used or entry.place in unused:
                continue
            if entry in self.clashes:
                unused[entry.place] = "another file has the same name and part in its case"
            elif self.is_label(entry):
                unused[entry.place] = "a label map without an image"
            elif entry.place in self.keys and (entry.split, *self.keys[entry.place]) in labelled:
                unused[entry.place] = "not a channel of its case"
            elif _axes(entry.path) > 3:
                unused[entry.place] = "a series of 4 axes without a label map of its own"
            else:
                unused[entry.place] = "no label map belongs to it (predict takes it)"

    def _nothing(self) -> str:
        labels = [entry.place for entry in self.entries if self.is_label(entry)]
        others = [entry.place for entry in self.entries if not self.is_label(entry)]
        return (
            f"no image has a label map: {len(others)} images such as {', '.join(others[:_SHOWN]) or 'none'}, "
            f"{len(labels)} label maps such as {', '.join(labels[:_SHOWN]) or 'none'}. Name the label "
            "maps with --masks PATTERN, or list image and mask in a table (segfocal.data.NiftiData, table)."
        )


def _entry(path: Path, root: Path) -> Entry:
    place = path.relative_to(root).as_posix()
    components = [part for part in place.split("/") if part != "."]
    series = path.is_dir()
    if components and not series:
        components[-1] = without_ending(components[-1].lower()) and _stem_of(components[-1])
    parts, split = [], ""
    for number, component in enumerate(components):
        words = _words(component)
        named = [_SPLIT_OF[word.lower()] for word in words if word.lower() in _SPLIT_OF]
        others = [word for word in words if word.lower() not in _SPLIT_OF]
        folder = series or number < len(components) - 1
        if folder and named and all(word.lower() in _ROLE for word in others):
            split, words = named[-1], others
        parts.append(tuple(words))
    return Entry(path, place, tuple(parts), split)


def _stem_of(name: str) -> str:
    ending = next(ending for ending in ENDINGS if name.lower().endswith(ending))
    return name[: -len(ending)]


def _words(component: str) -> list[str]:
    found: list[str] = []
    for word in re.findall(r"[^\W_]+", component):
        joined = _JOINED.fullmatch(word) or _JOINED.fullmatch(word.lower())
        found += [joined.group(1), joined.group(2)] if joined else [word]
    return found


def _lower(words: Iterable[str]) -> set[str]:
    return {word.lower() for word in words}


def _fits(entry: Entry, pattern: str | None) -> bool:
    if pattern is None:
        return False
    plain = without_ending(entry.place)
    return any(fnmatchcase(name, form) for name in (entry.place, plain) for form in (pattern, f"{pattern}/*"))


def _label_test(entries: Sequence[Entry], masks: str | None) -> Callable[[Entry], bool]:
    """Return what tells label maps: a pattern, or words that not all entries have."""
    if masks is not None:
        return lambda entry: _fits(entry, masks)
    everywhere = set.intersection(*(entry.words() for entry in entries)) if len(entries) > 1 else set()
    words = (LABEL | {"brainmask", "bodymask", "roi"}) - everywhere
    return lambda entry: bool(entry.words() & words)


def _rules(entries: Sequence[Entry], masks: str | None, is_label: Callable[[Entry], bool]) -> list[Rule]:
    """Return the ways to tell case and part of a file, the most usual first."""
    extra = frozenset(_lower(_words(re.sub(r"[*?]", " ", masks or "")))) | _telling_words(entries, is_label)
    depth = max((len(entry.parts) for entry in entries), default=0)
    return [
        lambda entry: _by_words(entry, numbers=False, folders=True, extra=extra),
        lambda entry: _by_words(entry, numbers=True, folders=True, extra=extra),
        lambda entry: _by_words(entry, numbers=False, folders=False, extra=extra),
        lambda entry: _by_words(entry, numbers=True, folders=False, extra=extra),
        _by_name,
        *(_folder_rule(number) for number in range(1, depth + 1)),
    ]


def _telling_words(entries: Sequence[Entry], is_label: Callable[[Entry], bool]) -> set[str]:
    """Return the words that most label maps have and no image, or the other way round."""
    found: set[str] = set()
    kinds = [[entry.words() for entry in entries if is_label(entry) == kind] for kind in (True, False)]
    for own, other in (kinds, kinds[::-1]):
        counts = Counter(word for words in own for word in words if not any(map(str.isdigit, word)))
        foreign = set().union(*other)
        found |= {word for word, n in counts.items() if n > 1 and 2 * n >= len(own) and word not in foreign}
    return found


def _by_words(
    entry: Entry, *, numbers: bool, folders: bool, extra: frozenset[str]
) -> tuple[Words, Words] | None:
    """The words that name a part of a case tell it; the others name the case."""
    roles, kept = [], []
    last = len(entry.parts) - 1
    for number, part in enumerate(entry.parts):
        low = [word.lower() for word in part]
        again = number < last and any(_holds(later, low) for later in entry.parts[number + 1 :])
        for word in low:
            if word in _ROLE or word in extra:
                roles.append(word)
            elif not again and (folders or number == last) and word not in _NEUTRAL:
                kept.append(word)
    if numbers and len(kept) > 1 and _CHANNEL.fullmatch(kept[-1]) and not set(roles) & LABEL:
        roles.append(kept.pop())
    return (tuple(kept), tuple(roles)) if kept else None


def _holds(part: Words, words: Sequence[str]) -> bool:
    low = [word.lower() for word in part]
    return any(low[start : start + len(words)] == words for start in range(len(low)))


def _by_name(entry: Entry) -> tuple[Words, Words] | None:
    """Files of one name in several folders are parts of one case."""
    folders = tuple(word.lower() for part in entry.parts[:-1] for word in part)
    return (tuple(word.lower() for word in entry.parts[-1]), folders) if folders else None


def _folder_rule(depth: int) -> Rule:
    def rule(entry: Entry) -> tuple[Words, Words] | None:
        """A folder is a case, what lies in it its parts; frames are cases of their own."""
        if len(entry.parts) < depth or (len(entry.parts) == depth and not entry.path.is_dir()):
            return None
        key = [word.lower() for part in entry.parts[:depth] for word in part if word.lower() not in _ROLE]
        rest = [word.lower() for part in entry.parts[depth:] for word in part]
        frames = [word for word in rest if (found := _FRAME.fullmatch(word)) and found.group(2)]
        roles = [word for word in rest if word not in (*key, *frames) and word not in _NEUTRAL]
        return ((*key, *frames), tuple(roles)) if key else None

    return rule


def _role_name(words: Sequence[str]) -> str:
    """Return the name of a part: a modality or number says more than that it is an image."""
    telling = [word for word in dict.fromkeys(words) if word not in IMAGE]
    return "_".join(telling) or "image"


def _patient(words: Sequence[str]) -> list[str]:
    """Return the words of a case without those that name a time, a frame or a side."""
    kept: list[str] = []
    skip = False
    for word in words:
        found = _FRAME.fullmatch(word)
        if not (found or word in _MOMENT or (skip and word.isdigit())):
            kept.append(word)
        skip = found is not None and not found.group(2)
    return kept or list(words)


def patients_of(names: Sequence[str]) -> dict[str, str]:
    """Return case to patient where the names say that some patients have several cases.

    Args:
        names: Of the cases.

    Example:
        >>> patients_of(["patient001_frame01", "patient001_frame12"])
        {'patient001_frame01': 'patient001', 'patient001_frame12': 'patient001'}
    """
    words = {name: [word.lower() for word in _words(name)] for name in names}
    return _patients({name: "_".join(_patient(found)) for name, found in words.items()})


def _folders_of(masks: Mapping[str, Entry]) -> dict[str, str]:
    """Return case to the folder of its patient, where folders hold a few cases each."""
    for depth in range(1, max(len(entry.parts) for entry in masks.values())):
        folders = {name: "/".join("_".join(part) for part in e.parts[:depth]) for name, e in masks.items()}
        named = not any(_lower(entry.parts[depth - 1]) & _PILES for entry in masks.values()) and all(
            _lower(entry.parts[depth - 1]) - _ROLE for entry in masks.values() if len(entry.parts) > depth
        )
        if named and max(3, len(masks) / 4) <= len(set(folders.values())) < len(masks):
            return folders
    return {}


def _patients(groups: Mapping[str, str]) -> dict[str, str]:
    """Return case to patient where some patients have several cases.

    A number after the patient's own (BraTS-GLI-00005-001) counts times, where most have one.
    """
    if len(set(groups.values())) < len(groups):
        return dict(groups)
    cut = {name: re.sub(r"(?<=\d)_\d+$", "", group) for name, group in groups.items()}
    count = len(set(cut.values()))
    return cut if max(2, len(groups) / 4) <= count < len(groups) else {}


def _by_content(
    entries: Sequence[Entry], rules: Sequence[Rule], is_label: Callable[[Entry], bool], root: Path
) -> _Groups:
    """Find the part of the cases that holds few whole numbers."""
    groups = [_Groups(entries, rule, lambda entry: False) for rule in rules]
    best = max(groups, key=_shared_parts)
    shared = [parts for parts in best.images.values() if len(parts) > 1]
    if not shared:
        return best
    widest = max(shared, key=len)
    others = {role: entry for role, entry in widest.items() if not is_label(entry)}
    alike = [role for role, entry in others.items() if looks_like_labels(entry.path)]
    if len(alike) > 1:
        raise SegfocalError(
            f"{root}: several parts of a case hold few whole numbers: {', '.join(alike)}. Choose the label "
            f"maps with --masks PATTERN, such as --masks '*{_telling_word(alike)}*'."
        )
    places = {parts[role].place for parts in best.images.values() for role in alike if role in parts}
    return _Groups(
        entries, best.rule, lambda entry: entry.place in places or (bool(places) and is_label(entry))
    )


def _telling_word(roles: Sequence[str]) -> str:
    """Return a word of the first part of a case that the others do not have."""
    others = {word for role in roles[1:] for word in role.split("_")}
    words = roles[0].split("_")
    return next((word for word in words if word not in others), words[-1])


def _shared_parts(found: _Groups) -> tuple[int, int]:
    """Return how many cases have several parts, and how many parts those have."""
    shared = [len(parts) for parts in found.images.values() if len(parts) > 1]
    return len(shared), sum(shared)


def looks_like_labels(path: Path) -> bool:
    """Return whether a file holds few values, all of them whole and none negative."""
    if path.is_dir():
        return False
    try:
        values: Values = np.unique(np.asanyarray(open_nifti(path).dataobj))
    except (SegfocalError, OSError, EOFError, ValueError):
        return False
    whole = bool((values == np.round(values)).all()) and float(values.min()) >= 0
    return whole and 1 < len(values) <= _MOST_VALUES


def _unfit(image: Entry, mask: Entry) -> str:
    """Return why an image is no channel of a case, or "": of another size, or itself a label map."""
    if image.path.is_dir():
        return ""
    try:
        shapes = [tuple(open_nifti(entry.path).shape[:3]) for entry in (image, mask)]
    except SegfocalError:
        return ""
    if shapes[0] != shapes[1] or _axes(image.path) > 3:
        return f"{'of another size' if shapes[0] != shapes[1] else 'of 4 axes'}, unlike the label map"
    return "looks like a label map too (--masks PATTERN chooses it)" if looks_like_labels(image.path) else ""


def _axes(path: Path) -> int:
    try:
        return 3 if path.is_dir() else len(open_nifti(path).shape)
    except SegfocalError:
        return 3
