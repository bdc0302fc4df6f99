"""Which pictures are images, which are masks, and which of several readings of a folder is taken, and why."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from segfocal.data.fingerprint.families import FORMATS, Family, find_families
from segfocal.data.fingerprint.listing import Listing, Picture
from segfocal.data.fingerprint.looks import Looks
from segfocal.data.fingerprint.matching import PARTLY, Masks, match_families
from segfocal.data.fingerprint.measure import MaskFiles
from segfocal.data.fingerprint.names import role
from segfocal.errors import SegfocalError

_MOST_FAMILIES = 80
_LIKE_THE_MOST = 0.5  # of the images of the fullest reading must have masks in a rival of equal right
_PARTS = "only parts of the names fit"
_DRAWN_OVER = re.compile(r"(?i)overlay|preview|visuali[sz]")
_PREDICTED = (
    r"(?<![a-z])(pred|predict|predicted|predictions?|preds|outputs?|results?|probs?|inference)(?![a-z])"
)
# what makes one of two readings the usual one: words of the other, and why it stands back
_STANDS_BACK = (
    # words of the one, words that the other must have ("": any), why
    (r"2nd|second|manual_?2|observer_?2|[-_.]vk\b|labels-vk", "", "a second observer's masks"),
    (
        r"instance|object\b|objects\b|SegmentationObject|inst\b|panoptic",
        "",
        "numbers of objects, not classes",
    ),
    (
        r"colou?r|colormap|rgb|overlay|visuali|preview|\bvis\b|masks_human",
        "",
        "coloured pictures of the labels",
    ),
    (_PREDICTED, "", "predictions of a network"),
    (r"super_?pixel", "", "superpixels, not classes"),
    (r"\blane\b", "", "the own lane, a part of the road"),
    (
        r"edge|border|boundar|contour|skeleton|weight|distance|dist\b|depth|disparity",
        "",
        "outlines or distances",
    ),
    (r"^(?!.*train_?ids?)", r"train_?ids?", "numbers before they become training ids"),
)
_OBSERVERS = re.compile(
    r"(?i)(expert|rater|observer|annotator|reader|grader|doctor|manual|gt|labels?|masks?)[ _-]?(\d|[a-d])?$"
)


@dataclass(frozen=True)
class CaseFiles:
    """One case of a folder.

    Args:
        split: "train", "val", "test" or "" where nothing says it.
        image: The image.
        masks: Files per class, joined by OR; none where a class is absent. One entry without classes.
        region: Field-of-view mask, or None.
        members: Folders of patients or classes that the image lies in.
    """

    split: str
    image: Picture
    masks: tuple[tuple[Picture, ...], ...]
    region: Picture | None = None
    members: tuple[str, ...] = ()

    def files(self) -> tuple[MaskFiles, ...]:
        """Return the files of the masks, one entry per class."""
        return tuple(map(_one, self.masks))


@dataclass
class Match:
    """How the pictures of a folder are read.

    Args:
        root: The folder.
        parts: Images with their masks, one family each.
        classes: Names of the classes where each has masks of its own, else none.
        cases: In the order of their images.
        regions: Field-of-view masks of the images.
        reasons: Sentences: what stands back, and why.
        left: Pictures that are not used to their reason.
    """

    root: Path
    parts: list[tuple[Family, tuple[Masks, ...]]]
    classes: tuple[str, ...]
    cases: list[CaseFiles] = field(default_factory=list)
    regions: list[Masks] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    left: dict[Picture, str] = field(default_factory=dict)

    @property
    def images(self) -> Family:
        """The first family of images."""
        return self.parts[0][0]

    def image_setting(self) -> str:
        """Return where the images lie, for people."""
        return ", ".join(dict.fromkeys(images.pattern for images, _ in self.parts))

    def mask_setting(self) -> str:
        """Return where the masks lie, for people."""
        return ", ".join(dict.fromkeys(masks.pattern for _, found in self.parts for masks in found))

    def files(self) -> list[tuple[str, Path, tuple[MaskFiles, ...]]]:
        """Return split, image and masks of every case, in order."""
        return [(case.split, case.image.path, case.files()) for case in self.cases]


@dataclass(frozen=True)
class _Reading:
    """Images with one kind of masks, and how much speaks for it."""

    images: Family
    masks: Masks
    words: int
    looks: int

    @property
    def strength(self) -> tuple[int, int, int]:
        return self.looks + self.words, len(self.masks.of), -self.masks.level


def find_match(listing: Listing, *, images: str | None = None, masks: str | None = None) -> Match | None:
    """Return how the pictures of a folder are read.

    Args:
        listing: All files.
        images: Pattern of the paths of images; None: by their names and looks.
        masks: Pattern of the paths of masks, likewise.

    Returns:
        The reading; None where no pictures are masks of others.

    Raises:
        SegfocalError: Where two readings are equally likely, or a pattern fits nothing.
    """
    families = find_families(listing.pictures)
    if len(families) > _MOST_FAMILIES:
        raise SegfocalError(
            f"{listing.root} holds {len(families)} kinds of pictures by their folders and names: name the "
            "folder above images and masks, say --images PATTERN and --masks PATTERN, or list the files in a "
            "table."
        )
    ours, theirs = _only(families, images, "--images"), _only(families, masks, "--masks")
    looks = Looks()
    readings = _readings(ours, theirs, looks, asked=images is not None or masks is not None)
    if not readings:
        return None
    first = max(readings, key=lambda reading: reading.strength)
    match, stood_back = _chosen(listing.root, first, readings, looks)
    _join(match, readings, looks, barred=[found for found, why in stood_back if why != _PARTS])
    for family, _ in match.parts[1:]:
        _add_region(match, [r.masks for r in readings if r.images is family], looks)
    _name_rivals(match, stood_back)
    _ask_about_images(match, readings, asked=images is not None)
    _fill(match, listing, families)
    return match


def _only(families: Sequence[Family], pattern: str | None, option: str) -> list[Family]:
    """Return the families, or what of them fits a pattern."""
    if pattern is None:
        return list(families)
    found = []
    for family in families:
        kept = [
            (picture, member)
            for picture, member in zip(family.pictures, family.members, strict=True)
            if fits(picture.place, pattern) or _plain_fits(family, pattern)
        ]
        if kept:
            found.append(Family(family.folder, family.tags, [p for p, _ in kept], [m for _, m in kept]))
    if not found:
        known = ", ".join(family.pattern for family in families[:10])
        raise SegfocalError(f"{option} {pattern}: no picture fits this pattern. There are: {known}.")
    return found


def fits(place: str, pattern: str) -> bool:
    """Return whether a path below the root fits a pattern: all of it, a folder above, or a folder's name.

    Example:
        >>> fits("a/2nd_manual/1.gif", "2nd_manual"), fits("a/b/1.png", "a/*"), fits("a/b/1.png", "b/2*")
        (True, True, False)
    """
    pattern = pattern.strip("/").replace("{split}", "*")
    tails = [place, *(place.split("/", n)[-1] for n in range(1, place.count("/") + 1))]
    return any(fnmatch.fnmatchcase(tail, form) for tail in tails for form in (pattern, f"{pattern}/*"))


def _plain_fits(family: Family, pattern: str) -> bool:
    return pattern.strip("/") == family.pattern


def _readings(
    images: Sequence[Family], masks: Sequence[Family], looks: Looks, *, asked: bool
) -> list[_Reading]:
    """Return what could be images with their masks."""
    found = []
    for ours in images:
        for theirs in masks:
            if (ours.folder, ours.tags) == (theirs.folder, theirs.tags):
                continue
            for match in match_families(ours, theirs):
                if not asked and _DRAWN_OVER.search(match.pattern):
                    continue  # labels over the picture are no masks
                words = {"image": 1, "": 0, "mask": -2}[ours.role()] + _mask_words(match)
                seen = looks.of_image(next(iter(match.of))) + looks.of_masks(match)
                if asked or words + seen > 0 or (words + seen == 0 and ours.folder != theirs.folder):
                    found.append(_Reading(ours, match, words, seen))
    return found


def _mask_words(masks: Masks) -> int:
    said = "mask" if any(role(word) == "mask" for word in masks.words) else masks.family.role()
    return {"mask": 2, "": 0, "image": -2}[said]


def _chosen(
    root: Path, first: _Reading, readings: Sequence[_Reading], looks: Looks
) -> tuple[Match, list[tuple[Masks, str]]]:
    """Return the usual masks of some images, or all where they are classes; and what stands back, and why."""
    images = first.images
    near = [r.masks for r in readings if r.images is images and r.strength[0] >= first.strength[0] - 2]
    rivals = [masks for masks in near if not _other_format(first.masks.family, masks.family)]
    full = max(len(masks.of) for masks in rivals)
    match = Match(root, [], ())
    _add_region(match, rivals, looks)
    rest = [masks for masks in rivals if not looks.is_region(masks)] if match.regions else rivals
    rest = _nested(rest)
    backs = {masks.pattern: _stands_back(masks, rest) for masks in rest}
    usual = [masks for masks in rest if not backs[masks.pattern]] or rest
    classes = _class_names(images, usual) if any(not why for why in backs.values()) else ()
    if classes:
        match.classes, chosen = classes, tuple(usual)
        match.parts = [(images, chosen)]
    else:
        usual = _first_of_equal(usual, looks, backs)
        usual = _complete(images, usual, near_to=first, readings=readings, full=full)
        chosen = tuple(usual) if _disjoint(usual) else (_one_of(usual),)
        match.parts = [(images, (masks,)) for masks in chosen]
    few = f"for {{}} of {len(images.pictures)} images only"
    stood_back = [(m, backs[m.pattern] or few.format(len(m.of))) for m in rest if m not in chosen]
    if any(re.search(_PREDICTED, masks.pattern, re.IGNORECASE) for masks in chosen):
        match.reasons.append(f"{_patterns(chosen)} sounds like predictions of a network: is it the truth?")
    return match, stood_back


def _name_rivals(match: Match, stood_back: Sequence[tuple[Masks, str]]) -> None:
    """Say which masks stand back, and why, where they are not those of other images."""
    used = {p for _, found in match.parts for masks in found for own in masks.of.values() for p in own}
    _, chosen = match.parts[0]
    for masks, why in stood_back:
        own = {picture for pictures in masks.of.values() for picture in pictures}
        if own & used:
            continue
        match.reasons.append(f"{_patterns(chosen)} rather than {masks.pattern} ({len(masks.of)}): {why}")
        match.left |= dict.fromkeys(own, f"rival masks: {why}")


def _add_region(match: Match, rivals: Sequence[Masks], looks: Looks) -> None:
    """Add the masks that are a field of view, where there are others."""
    found = [masks for masks in rivals if looks.is_region(masks)]
    if not found or len(found) == len(rivals):
        return
    region = min(found, key=lambda masks: (masks.level, -len(masks.of)))
    match.regions.append(region)
    match.reasons.append(f"{region.pattern} is one piece alike in all images: the field of view (region)")


def _first_of_equal(usual: Sequence[Masks], looks: Looks, backs: dict[str, str]) -> list[Masks]:
    """Return masks without those that fit less exactly, or are the same in another format; says why."""
    said = max(_mask_words(masks) for masks in usual)
    exact = min(masks.level for masks in usual if _mask_words(masks) == said)
    kept: list[Masks] = []
    # arrays after pictures
    for masks in sorted(usual, key=lambda masks: next(iter(masks.of.values()))[0].path.suffix == ".npy"):
        if exact < masks.level and masks.level >= PARTLY and _mask_words(masks) == said:
            backs[masks.pattern] = _PARTS
        elif any(looks.equal(masks, other) for other in kept):
            backs[masks.pattern] = "the same masks in another format"
        else:
            kept.append(masks)
    return [masks for masks in usual if masks in kept]


def _complete(
    images: Family, usual: Sequence[Masks], *, near_to: _Reading, readings: Sequence[_Reading], full: int
) -> list[Masks]:
    """Return masks that are each for other images, if they are as likely; else those of most images."""
    strong = {id(r.masks) for r in readings if r.images is images and r.strength[0] >= near_to.strength[0]}
    alike = [masks for masks in usual if id(masks) in strong]
    if len(alike) > 1 and _disjoint(alike):
        return alike
    return [masks for masks in usual if len(masks.of) >= _LIKE_THE_MOST * full] or list(usual)


def _disjoint(found: Sequence[Masks]) -> bool:
    """Return whether no image has masks of two kinds."""
    return sum(len(masks.of) for masks in found) == len({image for masks in found for image in masks.of})


def _nested(rivals: Sequence[Masks]) -> list[Masks]:
    """Return rivals, with 7_a, 7_b, 7_c made one if only images with an a have a b, and not all: pieces."""
    alone = [m for m in rivals if m.words and len(m.words[-1]) == 1 and m.words[-1].isalpha()]
    alone.sort(key=lambda masks: masks.words)
    steps = list(pairwise(alone))
    if not steps or len({(m.family.folder, m.family.tags[:-1], m.words[:-1]) for m in alone}) > 1:
        return list(rivals)
    if not all(set(b.of) <= set(a.of) for a, b in steps) or len(alone[-1].of) == len(alone[0].of):
        return list(rivals)
    of = {image: tuple(p for m in alone for p in m.of.get(image, ())) for image in alone[0].of}
    joined = replace(alone[0], of=of, count=sum(masks.count for masks in alone))
    return [masks for masks in rivals if masks not in alone] + [joined]


def _one_of(usual: Sequence[Masks]) -> Masks:
    """Return the only kind of masks, or ask."""
    if len(usual) == 1:
        return usual[0]
    listed = "; ".join(f"--masks {masks.pattern!r} ({len(masks.of)} images)" for masks in usual)
    raise SegfocalError(
        "several kinds of masks belong to the same images, and nothing says which are meant: choose one of "
        f"{listed}."
    )


def _stands_back(masks: Masks, others: Sequence[Masks]) -> str:
    """Return why these masks are not the usual ones of several, or ""."""
    for form, before, why in _STANDS_BACK:
        found, usual = re.compile(form, re.IGNORECASE), re.compile(before, re.IGNORECASE)
        better = [o for o in others if not found.search(o.pattern) and usual.search(o.pattern)]
        if found.search(masks.pattern) and better:
            return why
    return ""


def _class_names(images: Family, masks: Sequence[Masks]) -> tuple[str, ...]:
    """Return the classes where each kind of masks is one: folders in a folder of their own, or words."""
    folders = [found.family.folder for found in masks]
    if len(masks) < 2 or len({folder[:-1] for folder in folders}) > 1:
        return ()
    names = [folder[-1] for folder in folders if folder]
    if len(set(names)) < len(masks):
        names = [" ".join(w for w in found.words if role(w) != "mask") for found in masks]
        if not all(len(name) > 1 and name.replace(" ", "").isalpha() for name in names):
            return ()
    elif folders[0][:-1] in (images.folder[:-1], ()):
        return ()
    if len(set(names)) < len(names) or any(
        _OBSERVERS.fullmatch(name.split(".")[-1].strip()) for name in names
    ):
        return ()
    return tuple(re.sub(r"^[\w]{1,2}\.\s*", "", name) for name in names)


def _join(match: Match, readings: Sequence[_Reading], looks: Looks, *, barred: Sequence[Masks]) -> None:
    """Add images and masks that lie in folders of the same kinds: imgs2 and masks2 beside imgs and masks."""
    if match.classes:
        return
    images, (masks,) = match.parts[0]
    used = {picture for own in masks.of.values() for picture in own} | set(images.pictures)
    never = {picture for rival in barred for own in rival.of.values() for picture in own}
    names = {(picture.split, picture.stem) for picture in masks.of}
    for reading in sorted(readings, key=lambda r: r.strength, reverse=True):
        ours = {picture for own in reading.masks.of.values() for picture in own} | set(reading.masks.of)
        if match.regions and looks.is_region(reading.masks):
            continue
        if ours & used or ours & never or (reading.images.role() == "mask" and images.role() != "mask"):
            continue
        if not _alike(images, masks.family, reading.images, reading.masks.family):
            overlap = {(picture.split, picture.stem) for picture in reading.masks.of} & names
            if (
                overlap
                or reading.masks.level > masks.level
                or _mask_words(reading.masks) < _mask_words(masks)
            ):
                continue
        match.parts.append((reading.images, (reading.masks,)))
        used |= ours | set(reading.images.pictures)
        names |= {(picture.split, picture.stem) for picture in reading.masks.of}


def _alike(images: Family, masks: Family, others: Family, other_masks: Family) -> bool:
    """Return whether two pairs of families differ by the same word of their folders, which is no format."""

    def difference(one: Family, other: Family) -> set[tuple[str, ...]]:
        a, b = (set(re.findall(r"[a-z]+|\d+", "/".join(f.folder).lower())) for f in (one, other))
        return {tuple(sorted(a - b)), tuple(sorted(b - a))}

    words = {word for part in difference(images, others) for word in part}
    alike = difference(images, others) == difference(masks, other_masks)
    numbered = masks.folder == other_masks.folder and all(w.isdigit() for part in words for w in part.split())
    return (alike or (numbered and images.folder[:-1] == others.folder[:-1])) and not words & FORMATS


def _ask_about_images(match: Match, readings: Sequence[_Reading], *, asked: bool) -> None:
    """Say which other pictures could be the images of these masks, and ask where nothing speaks for one."""
    images, masks = match.parts[0]
    used = {id(family) for family, _ in match.parts}
    mine = {picture for own in masks[0].of.values() for picture in own}
    labels = [*match.regions, *(found for _, every in match.parts for found in every)]
    taken = {picture for found in labels for own in found.of.values() for picture in own}
    best = max(r.strength[0] for r in readings if r.images is images)
    for rival in readings:
        theirs = {picture for own in rival.masks.of.values() for picture in own}
        if id(rival.images) in used or len(theirs & mine) < 0.5 * len(mine) or rival.images.role() == "mask":
            continue
        if taken & set(rival.images.pictures):
            continue
        used.add(id(rival.images))
        if _other_format(images, rival.images):
            match.reasons.append(
                f"{images.pattern} rather than {rival.images.pattern}: the same in another format"
            )
            match.left |= dict.fromkeys(rival.images.pictures, "a copy in another format")
            continue
        equal = rival.strength[0] == best and rival.masks.level == masks[0].level
        if equal and not asked and rival.images.folder != images.folder:
            raise SegfocalError(
                f"the masks {_patterns(masks)} fit the images {images.pattern!r} ({len(masks[0].of)}) as "
                f"well as {rival.images.pattern!r} ({len(rival.masks.of)}): choose with --images."
            )
        said = images.role() == "image" != rival.images.role()
        looser = "the names of the others fit less exactly"
        if rival.masks.level <= masks[0].level:
            looser = "the others look less like photos"
        why = "its names say images" if said else looser
        match.reasons.append(f"{images.pattern} rather than {rival.images.pattern}: {why}")


def _other_format(one: Family, other: Family) -> bool:
    """Return whether two folders differ in the name of a format alone."""
    different = [(a, b) for a, b in zip(one.folder, other.folder, strict=False) if a != b]
    same_depth = len(one.folder) == len(other.folder) and len(different) == 1
    return same_depth and all(name.lower() in FORMATS for name in different[0])


def _fill(match: Match, listing: Listing, families: Sequence[Family]) -> None:
    """Make the cases, and give every picture that is in none a reason."""
    regions = {image: own for masks in match.regions for image, own in masks.of.items()}
    for images, masks in match.parts:
        for picture, member in zip(images.pictures, images.members, strict=True):
            own = tuple(_one_format(found.of.get(picture, ()), found.family, match) for found in masks)
            if any(own):
                region = regions.get(picture, (None,))[0]
                split = picture.split or next((p.split for found in own for p in found if p.split), "")
                match.cases.append(CaseFiles(split, picture, own, region, member))
    match.cases.sort(key=lambda case: case.image.place)
    used = {picture for case in match.cases for picture in _pictures(case)}
    stems = {(case.image.parts, case.image.stem) for case in match.cases}
    labelled = {case.split for case in match.cases}
    ours = {picture: "image" for images, _ in match.parts for picture in images.pictures}
    theirs = {
        picture: "mask" for _, masks in match.parts for found in masks for picture in found.family.pictures
    }
    kinds = {picture: family for family in families for picture in family.pictures}
    for picture in listing.pictures:
        if picture in used or picture in match.left:
            continue
        if picture in ours:
            again = (picture.parts, picture.stem) in stems
            match.left[picture] = (
                "a second picture of the same name" if again else _without(picture, labelled)
            )
        elif picture in theirs:
            match.left[picture] = "a mask without image"
        else:
            match.left[picture] = _other(picture, kinds[picture], labelled)
    match.left = {picture: why for picture, why in match.left.items() if picture not in used}


def _other(picture: Picture, family: Family, labelled: set[str]) -> str:
    """Return why a picture beside images and masks is not used."""
    for form, before, why in _STANDS_BACK:
        if not before and re.search(form, family.pattern, re.IGNORECASE):
            return why
    if family.role() != "mask" and picture.split and picture.split not in labelled:
        return _without(picture, labelled)
    return "neither an image nor a mask by its folder and name"


def _without(picture: Picture, labelled: set[str]) -> str:
    if picture.split and picture.split not in labelled:
        return f"an image without mask ({picture.split} has no masks: for predict)"
    return "an image without mask"


def _one_format(own: Sequence[Picture], family: Family, match: Match) -> tuple[Picture, ...]:
    """Return masks without those of the same name in another format."""
    if len(own) < 2:
        return tuple(own)
    suffixes = Counter(picture.path.suffix.lower() for picture in family.pictures)
    kept: dict[tuple[tuple[str, ...], str], Picture] = {}
    for picture in sorted(own, key=lambda picture: -suffixes[picture.path.suffix.lower()]):
        first = kept.setdefault((picture.parts, picture.stem), picture)
        if first is not picture:
            match.left[picture] = "a second mask of the same name"
    return tuple(sorted(kept.values(), key=lambda picture: picture.place))


def _pictures(case: CaseFiles) -> list[Picture]:
    region = [case.region] if case.region else []
    return [case.image, *region, *(picture for own in case.masks for picture in own)]


def _patterns(masks: Sequence[Masks]) -> str:
    return ", ".join(found.pattern for found in masks)


def _one(own: Sequence[Picture]) -> MaskFiles:
    paths = tuple(picture.path for picture in own)
    return (paths[0] if paths else None) if len(paths) < 2 else paths
