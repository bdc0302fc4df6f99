"""Which mask of a family belongs to which image of another: by name, words, numbers or folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from segfocal.data.fingerprint.families import Family, Parts, numbered
from segfocal.data.fingerprint.listing import Picture
from segfocal.data.fingerprint.names import chunks, is_word, numbers, pieces, role, split_of

Chunks = tuple[str, ...]
Key = tuple[object, ...]
_CONSTANT = 0.9  # of the names of a family hold a word that is no part of what a picture is called
_BETTER = 1.25  # times as many pairs, before a looser reading of the names is believed
LEVELS = (
    "the same names",
    "names without the words for masks",
    "names without the words for their kind",
    "the numbers in the names",
    "the beginnings of the names",
    "folders",
)
PARTLY = 2  # place in LEVELS from which on only a part of the names fits


@dataclass(frozen=True)
class Masks:
    """The masks of some images: part of a family, whose names hold the same words.

    Args:
        family: Where they come from.
        words: What their names hold that no name of an image does.
        level: Place in LEVELS: how they were found.
        of: Image to its masks.
        count: Masks in this part of the family.
    """

    family: Family
    words: Chunks
    level: int
    of: Mapping[Picture, tuple[Picture, ...]]
    count: int

    @property
    def pattern(self) -> str:
        """Where they lie, for people and for ``--masks``."""
        words = [word for word in self.words if word not in self.family.tags]
        place = "/".join(self.family.folder) or "."
        own = (*self.family.tags, *(word for word in words if not self._everywhere(word)))
        return f"{place}/*{'*'.join(own)}*" if own else place

    def _everywhere(self, word: str) -> bool:
        return all(word in chunks(picture.stem) for picture in self.family.pictures)


def match_families(images: Family, masks: Family) -> list[Masks]:
    """Return the masks of a family that belong to images of another.

    Args:
        images: The images.
        masks: What may be their masks.

    Returns:
        A part of the family for each set of words that tells its kinds apart (``lane`` and ``road``).
    """
    known = {word for picture in images.pictures for word in chunks(picture.stem)}
    counts = Counter(word for picture in masks.pictures for word in chunks(picture.stem))
    outside = {
        word
        for word, count in counts.items()
        if word in masks.tags
        or (word not in known and is_word(word) and (count > 1 or (word.isalpha() and role(word) == "mask")))
        or (word not in known and count >= _CONSTANT * len(masks.pictures) and count > 1)
    }
    outside -= numbered(outside, counts, members=len(set(masks.members)))
    groups: dict[Chunks, list[int]] = {}
    for place, picture in enumerate(masks.pictures):
        words = tuple(word for word in chunks(picture.stem) if word in outside)
        groups.setdefault(words, []).append(place)
    found = [_match(images, masks, places, words) for words, places in groups.items()]
    return [match for match in found if match.of]


def _match(images: Family, masks: Family, places: Sequence[int], words: Chunks) -> Masks:
    best = Masks(masks, words, 0, {}, len(places))
    same_members = _same_members(images, masks)
    for level, (of_image, of_mask) in enumerate(_keys(images, masks, words)):
        if len(images.pictures) <= _BETTER * len(best.of):
            break  # no looser reading can find as many more
        found = _pairs(images, masks, places, of_image, of_mask, same_members=same_members)
        if len(found) > _BETTER * len(best.of):
            best = Masks(masks, words, level, found, len(places))
    return best


def _keys(
    images: Family, masks: Family, words: Chunks
) -> list[tuple[Callable[[Picture], list[Key]], Callable[[Picture], list[Key]]]]:
    """Return how an image and how a mask is called, from the strictest reading of names to the loosest."""
    constant = _constant_words(images, masks)
    tags = {word for word in words if word in masks.tags or role(word) == "mask"}

    def plain(stem: str, dropped: set[str]) -> list[Key]:
        kept = tuple(chunk for chunk in chunks(stem) if chunk not in dropped)
        every = chunks(stem)
        # image_mask_2: a second mask of one image
        second = len(every) > 1 and every[-1].isdigit() and every[-2] in dropped and len(kept) > 1
        return [kept, kept[:-1]] if second else [kept]

    def loose(stem: str) -> set[str]:
        return {chunk for chunk in chunks(stem) if split_of(chunk)}

    one_form = _one_form(images)

    def only_numbers(picture: Picture) -> list[Key]:
        return [numbers(picture.stem)] if one_form and numbers(picture.stem) else []

    begins = _beginnings(
        [plain(p.stem, constant)[0] for p in images.pictures],
        [plain(p.stem, set(words))[0] for p in masks.pictures],
    )

    def begin(picture: Picture, dropped: set[str]) -> list[Key]:
        found = plain(picture.stem, dropped)[0]
        return [found[:begins]] if begins else []

    return [
        (lambda p: [chunks(p.stem)], lambda p: plain(p.stem, tags)),
        (lambda p: [chunks(p.stem)], lambda p: plain(p.stem, set(words))),
        (
            lambda p: plain(p.stem, constant | loose(p.stem)),
            lambda p: plain(p.stem, set(words) | loose(p.stem)),
        ),
        (only_numbers, only_numbers),
        (lambda p: begin(p, constant), lambda p: begin(p, set(words))),
        (lambda p: [("folder",)], lambda p: [("folder",)]),
    ]


def _beginnings(images: Sequence[Key], masks: Sequence[Key]) -> int:
    """Return how many words all names of one side have, where all of the other have more; else 0."""
    ours, theirs = ({len(name) for name in names} for names in (images, masks))
    if len(theirs) == 1 and min(ours) > max(theirs):
        return max(theirs)
    return max(ours) if len(ours) == 1 and min(theirs) > max(ours) else 0


def _constant_words(images: Family, masks: Family) -> set[str]:
    """Return the words of nearly all images that no mask has."""
    known = {word for picture in masks.pictures for word in chunks(picture.stem)}
    counts = Counter(word for picture in images.pictures for word in set(chunks(picture.stem)))
    least = _CONSTANT * len(images.pictures)
    return {
        word
        for word, n in counts.items()
        if n >= least and n > 1 and not word.isdigit() and word not in known
    }


def _one_form(images: Family) -> bool:
    """Return whether the names of images differ in numbers alone: else other words may be what matters."""
    forms = Counter(tuple(p for p in pieces(image.stem) if not p.isdigit()) for image in images.pictures)
    return max(forms.values()) >= _CONSTANT * len(images.pictures)


def _same_members(images: Family, masks: Family) -> Callable[[Parts], Key]:
    """Return what must be equal of the folders that are no kind: names, their numbers, or nothing."""
    for read in (_names, _numbers):
        ours, theirs = ({read(member) for member in family.members} for family in (images, masks))
        if ours & theirs and len(ours & theirs) >= 0.5 * min(len(ours), len(theirs)) and ours != {()}:
            return read
    return lambda member: ()


def _names(member: Parts) -> Key:
    return member


def _numbers(member: Parts) -> Key:
    return tuple(number for part in member for number in numbers(part))


def _pairs(
    images: Family,
    masks: Family,
    places: Sequence[int],
    of_image: Callable[[Picture], list[Key]],
    of_mask: Callable[[Picture], list[Key]],
    *,
    same_members: Callable[[Parts], Key],
) -> dict[Picture, tuple[Picture, ...]]:
    index: dict[Key, list[Picture]] = {}
    # of two pictures of one name, the one whose suffix most others have
    suffixes = Counter(picture.path.suffix.lower() for picture in images.pictures)
    both = zip(images.pictures, images.members, strict=True)
    for picture, member in sorted(both, key=lambda item: -suffixes[item[0].path.suffix.lower()]):
        for key in of_image(picture)[:1]:
            index.setdefault((*same_members(member), "\0", *key), []).append(picture)
    found: dict[Picture, list[Picture]] = {}
    for place in places:
        mask, member = masks.pictures[place], masks.members[place]
        for key in of_mask(mask):
            if key == ("folder",) and not member:
                continue
            choice = index.get((*same_members(member), "\0", *key), []) if key else []
            image = _nearest(choice, mask)
            if image is not None:
                found.setdefault(image, []).append(mask)
                break
    return {image: _own(image, own) for image, own in sorted(found.items(), key=lambda item: item[0].place)}


def _nearest(choice: Sequence[Picture], mask: Picture) -> Picture | None:
    """Return the image of a mask's split that shares most of the words of its folders; None: undecided."""
    fitting = [image for image in choice if not image.split or not mask.split or image.split == mask.split]
    if len(fitting) <= 1:
        return fitting[0] if fitting else None
    words = _words(mask)
    shared = [len(words & _words(image)) for image in fitting]
    best = [image for image, count in zip(fitting, shared, strict=True) if count == max(shared)]
    if len(best) > 1 and len({(image.parts, image.stem) for image in best}) > 1:
        return None
    return best[0]


def _own(image: Picture, masks: Sequence[Picture]) -> tuple[Picture, ...]:
    """Return masks without those of the same name whose folder has less to do with the image's."""
    if len(masks) == 1:
        return tuple(masks)
    shared = [len(_words(mask) & _words(image)) for mask in masks]
    best: dict[str, int] = {}
    for mask, count in zip(masks, shared, strict=True):
        best[mask.stem] = max(best.get(mask.stem, 0), count)
    return tuple(mask for mask, count in zip(masks, shared, strict=True) if count == best[mask.stem])


def _words(picture: Picture) -> set[str]:
    return {word for part in picture.parts for word in (part.lower(), *pieces(part))}
