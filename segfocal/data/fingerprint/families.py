"""Pictures of one kind: folders of splits, patients and classes joined, names told apart by their words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from segfocal.data.fingerprint.listing import Picture
from segfocal.data.fingerprint.names import chunks, part_split, role

# folders named so hold the same pictures in several formats
FORMATS = {"png", "tif", "tiff", "jpg", "jpeg", "bmp", "gif", "ppm", "npy"}
_SHARED = 0.3  # of the names of two folders must be the same for them to be different kinds of picture
_MANY = 3  # numbers behind a word, beyond which they say what a picture is called
# what lies beside masks and is no image
_OF_LABELS = re.compile(r"(?i)instance|panoptic|object|colou?r|polygon|edge|boundar|contour|depth|disparit")
_COMMON = 0.5  # of the names without a word must exist for it to tell kinds apart
Parts = tuple[str, ...]


@dataclass
class Family:
    """Pictures of one kind.

    Args:
        folder: Parts of their folder: ``{split}`` for a split, ``*`` for patients or classes.
        tags: Words in their names that say the kind, such as ("mask",).
        pictures: In the order of their paths.
        members: Per picture, the names that ``*`` stands for.
    """

    folder: Parts
    tags: tuple[str, ...]
    pictures: list[Picture] = field(default_factory=list)
    members: list[Parts] = field(default_factory=list)

    @property
    def pattern(self) -> str:
        """Where they lie, for people and for ``--images`` and ``--masks``."""
        place = "/".join(self.folder) or "."
        return f"{place}/*{'*'.join(self.tags)}*" if self.tags else place

    def role(self) -> str:
        """Return "mask", "image" or "" by their names; the innermost folder that says it decides."""
        if any(role(tag) == "mask" for tag in self.tags):
            return "mask"
        found = [role(part) for part in self.folder]
        return next((said for said in reversed(found) if said), "")


def find_families(pictures: Sequence[Picture]) -> list[Family]:
    """Return the families of some pictures.

    Args:
        pictures: All pictures below a folder, in the order of their paths.
    """
    folders = canonical_folders(pictures)
    by_folder: dict[Parts, list[tuple[Picture, Parts]]] = {}
    for picture in pictures:
        folder, member = folders[picture.parts]
        by_folder.setdefault(folder, []).append((picture, member))
    found: dict[tuple[Parts, tuple[str, ...]], Family] = {}
    said = {folder: _tag_words(held) for folder, held in by_folder.items()}
    # a word such as flip that images as well as masks have is part of what a picture is called
    times = Counter(word for words in said.values() for word in words if role(word) != "mask")
    for folder, held in by_folder.items():
        words, twofold = {word for word in said[folder] if times[word] < 2}, _twofold(held)
        for picture, member in held:
            tags = tuple(chunk for chunk in chunks(picture.stem) if chunk in words)
            tags += (picture.path.suffix.lower(),) if twofold else ()
            family = found.setdefault((folder, tags), Family(folder, tags))
            family.pictures.append(picture)
            family.members.append(member)
    return list(found.values())


def numbered(words: Iterable[str], counts: Mapping[str, int], *, members: int) -> set[str]:
    """Return words such as seg000 to seg099, whose numbers are the pictures' own, once in each folder.

    Args:
        words: Some of the words in names.
        counts: Word to the names that hold it.
        members: Folders that the names lie in.
    """
    forms: dict[str, list[str]] = {}
    for word in words:
        forms.setdefault(word.rstrip("0123456789"), []).append(word)
    every = [found for found in forms.values() if len(found) > _MANY]
    return {word for found in every for word in found if counts[word] <= members}


def canonical_folders(pictures: Sequence[Picture]) -> dict[Parts, tuple[Parts, Parts]]:
    """Return for each folder what it is called without split and members, and the names of its members.

    Example:
        >>> from pathlib import Path
        >>> files = ["p1/a.png", "p1/a_mask.png", "p2/a.png", "p2/a_mask.png"]
        >>> canonical_folders([Picture(Path(file), (file[:2],)) for file in files])
        {('p1',): (('*',), ('p1',)), ('p2',): (('*',), ('p2',))}
    """
    known: dict[Parts, tuple[Parts, Parts]] = dict.fromkeys({p.parts for p in pictures}, ((), ()))
    stems: dict[Parts, list[str]] = {}
    for picture in pictures:
        stems.setdefault(picture.parts, []).append(picture.stem)
    shared = _names_beside_both(known)
    for depth in range(max(map(len, known), default=0)):
        level: dict[Parts, dict[str, list[Parts]]] = {}
        for parts, (done, _) in known.items():
            if len(parts) > depth:
                level.setdefault(done, {}).setdefault(parts[depth], []).append(parts)
        for done, children in level.items():
            names = _canonical_names(children, depth, stems, shared)
            for child, places in children.items():
                name = names[child]
                for parts in places:
                    member = known[parts][1] + ((child,) if "*" in name else ())
                    known[parts] = ((*done, name), member)
    return dict(sorted(known.items()))


def _canonical_names(
    children: dict[str, list[Parts]], depth: int, stems: dict[Parts, list[str]], shared: set[str]
) -> dict[str, str]:
    """Return what each folder beside others is called: ``*`` where they are members of one kind."""
    names: dict[str, str] = {}
    kinds: dict[str, list[str]] = {}
    for child in children:
        split, _, pattern = part_split(child)
        if split:
            names[child] = _plain(pattern)
        else:
            # folders with a word for images or masks are of one kind if they differ in a number alone
            kinds.setdefault(re.sub(r"\d+", "*", child) if role(child) else "*", []).append(child)
    for kind, members in kinds.items():
        formats = sum(member.lower() in FORMATS for member in members) > 1
        several = len(members) > 1 and "*" in kind and not formats
        joined = several and _are_members(members, children, depth, stems, shared)
        names |= {child: kind if joined else child for child in members}
    return names


def _are_members(
    names: Sequence[str],
    children: dict[str, list[Parts]],
    depth: int,
    stems: dict[Parts, list[str]],
    shared: set[str],
) -> bool:
    """Return whether folders beside one another hold the same kinds of pictures: patients, not classes."""
    held = {
        name: {("/".join(parts[depth + 1 :]), stem) for parts in children[name] for stem in stems[parts]}
        for name in names
    }
    whole = sum(_is_whole(found) for found in held.values())
    if whole > len(names) / 2 or (whole and whole >= len(names) / 4) or len(shared & set(names)) > 1:
        return True
    return not _overlap(held.values()) and not _overlap([_stripped(found) for found in held.values()])


def _is_whole(found: set[tuple[str, str]]) -> bool:
    """Return whether a folder holds images as well as masks, by the words in it."""
    masks = {(folder, stem) for folder, stem in found if "mask" in (role(folder), role(stem))}
    others = any(not _OF_LABELS.search(f"{folder}/{stem}") for folder, stem in found - masks)
    return bool(masks) and others


def _overlap(held: Iterable[set[tuple[str, str]]]) -> bool:
    counts = Counter(item for found in held for item in found)
    return sum(count > 1 for count in counts.values()) > _SHARED * max(len(counts), 1)


def _stripped(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return names without the words that all names of a folder share."""
    words = [set(chunks(stem)) for _, stem in found]
    common = set.intersection(*words) if len(words) > 1 else set()
    common = {word for word in common if not word.isdigit()}
    # slice 2 of one kind is slice 02 of another
    return {
        (folder, " ".join(c.lstrip("0") if c.isdigit() else c for c in chunks(stem) if c not in common))
        for folder, stem in found
    }


def _names_beside_both(places: Iterable[Parts]) -> set[str]:
    """Return the names of folders that occur below folders of images as well as below those of masks."""
    below: dict[str, set[str]] = {"image": set(), "mask": set(), "": set()}
    for parts in places:
        last = next((place for place in reversed(range(len(parts))) if role(parts[place])), -1)
        said = role(parts[last]) if last >= 0 else ""
        below[said] |= {part for part in parts[last + 1 :] if not part_split(part)[0]}
    return below["mask"] & (below["image"] | below[""])


def _plain(pattern: str) -> str:
    """Return the name of a split's folder without numbers and a letter in front, which differ by split."""
    kept = re.sub(r"^[A-Za-z]\.\s*|\d+", "", pattern.replace("{split}", "\0"))
    return (
        re.sub(r"[\s._-]*\0", "\0", kept.strip(" ._-")).replace("\0", "{split}")
        if kept != "\0"
        else "{split}"
    )


def _tag_words(held: Sequence[tuple[Picture, Parts]]) -> set[str]:
    """Return the words that tell kinds of pictures of one folder apart: those for masks, and suffixes."""
    names = {(member, chunks(picture.stem)) for picture, member in held}
    counts = Counter(word for _, found in names for word in set(found))
    # seg7 that occurs once is what a picture is called, manual1 of all is a kind
    words = {word for word in counts if role(word) == "mask" and (word.isalpha() or counts[word] > 1)}
    words -= numbered(words, counts, members=len({member for member, _ in names}))
    if words and all(set(found) & words for _, found in names):
        words = {word for word in words if counts[word] < len(names)}
    ends_kinds = set()
    ends = Counter(found[-1] for _, found in names if len(found) > 1 and not found[-1].isdigit())
    for word, count in ends.items():
        cut = sum((member, found[:-1]) in names for member, found in names if found[-1:] == (word,))
        inside = any(word in found and set(found) & words for _, found in names)
        if count > 1 and cut >= _COMMON * count and not (inside and word not in words):
            ends_kinds.add(word)
    return words | ends_kinds


def _twofold(held: Sequence[tuple[Picture, Parts]]) -> bool:
    """Return whether most names are there in two formats, which are then of two kinds: 1.bmp and 1.png."""
    counts = Counter((picture.parts, picture.stem) for picture, _ in held)
    return len(counts) > 1 and sum(count > 1 for count in counts.values()) > _COMMON * len(counts)
