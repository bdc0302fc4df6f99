"""Which volumes a folder holds, with or without dataset.json, and why each other file is not used."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from segfocal.data.fingerprint.voxels import VolumeFacts
from segfocal.data.volumes.arrange import Arranged, arrange, list_entries, patients_of, walk_once
from segfocal.data.volumes.layout import (
    ENDINGS,
    VolumeFiles,
    VolumeSet,
    read_volume_set,
    with_parts,
    without_ending,
)
from segfocal.data.volumes.reading import open_nifti
from segfocal.data.volumes.series import image_files
from segfocal.errors import SegfocalError

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_IGNORED = (-1, 255)  # label values that usually mean "unknown"
_LISTS = re.compile(r"(train|validation|test)(Channels_(?P<channel>.+)|GtLabels|RoiMasks)\.cfg")
_SHOWN = 3

# what the values of published sets mean, by the words in the names of their cases
_NAMED: tuple[tuple[str, dict[int, str]], ...] = (
    (r"(?i)^brats", {1: "necrotic core", 2: "edema", 3: "enhancing tumour", 4: "enhancing tumour"}),
    (r"(?i)^patient\d+_frame\d+", {1: "right ventricle", 2: "myocardium", 3: "left ventricle"}),
    (r"^volume-\d+$", {1: "liver", 2: "tumour"}),
    (r"^case_\d{5}$", {1: "kidney", 2: "tumour", 3: "cyst"}),
)


@dataclass(frozen=True)
class Listed:
    """A set of volumes, and the rest of the files.

    Args:
        found: The volumes that can be used.
        table: Whether training needs a table of them, as dataset.json alone does not give them.
        unused: (path below the root, why it is not used).
        notes: What was chosen, as sentences.
    """

    found: VolumeSet
    table: bool
    unused: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class VolumeFolder:
    """Cases of a folder before they were read.

    Args:
        root: The folder.
        cases: Images and label maps.
        channels: How many an image has.
        known: Label values that may occur; None: any.
        given: What dataset.json says; None where there is none.
        arranged: What names say; None with dataset.json.
    """

    root: Path
    cases: tuple[VolumeFiles, ...]
    channels: int
    known: tuple[int, ...] | None
    given: VolumeSet | None
    arranged: Arranged | None

    def finish(self, facts: Sequence[VolumeFacts]) -> Listed:
        """Return the volumes that can be used, their classes, and why the other files are not used.

        Args:
            facts: Of all cases.
        """
        bad = {case.name: case.problems[0] for case in facts if not case.voxels}
        cases = tuple(case for case in self.cases if case.name not in bad)
        unused = {} if self.arranged is None else dict(self.arranged.unused)
        for case in self.cases:
            if case.name in bad:
                unused |= {
                    _below(path, self.root): "cannot be used, see above" for path in (*case.images, case.mask)
                }
        if self.given is not None:
            found = replace(self.given, cases=cases)
            alone = bool(found.splits or found.groups or bad)
            notes: tuple[str, ...] = ()
        else:
            assert self.arranged is not None
            labels, ignored, why = _label_names(facts, cases)
            arranged, alone = self.arranged, True
            names = arranged.channels if self.channels == len(arranged.channels) else _numbers(self.channels)
            found = VolumeSet(self.root, cases, names, labels, ignored, arranged.groups, arranged.splits)
            notes = (*arranged.notes, *why)
        return Listed(found, alone, _rest(found, unused), notes)


def holds_volumes(root: Path) -> bool:
    """Return whether a folder is one of volumes: dataset.json, or NIfTI files and fewer pictures.

    Args:
        root: The folder.
    """
    if (root / "dataset.json").is_file():
        return True
    volumes = pictures = 0
    for _, names in walk_once(root) if root.is_dir() else ():
        low = [name.lower() for name in names]
        volumes += sum(name.endswith(ENDINGS) for name in low)
        pictures += sum(name.endswith(_PICTURES) for name in low)
    return volumes > pictures


def find_volume_folder(root: Path, *, images: str | None, masks: str | None) -> VolumeFolder:
    """Find the cases of a folder.

    Args:
        root: The folder; dataset.json may lie in the one folder that it holds.
        images: Pattern of the paths that are images.
        masks: Pattern of the paths that are label maps.

    Raises:
        SegfocalError: Where several data sets lie in the folder, or `arrange` and `read_volume_set` raise.
    """
    described = [place for place, names in walk_once(root) if "dataset.json" in names]
    if len(described) > 1 and root not in described:
        shown = ", ".join(str(place.relative_to(root)) for place in described[:_SHOWN])
        raise SegfocalError(
            f"{root} holds {len(described)} data sets ({shown}, ...): name one of the folders."
        )
    if described and images is None and masks is None:
        given = with_parts(read_volume_set(root if root in described else described[0]))
        given = replace(given, groups=patients_of([case.name for case in given.cases]))
        known = sorted({v for values in given.labels.values() for v in values} | set(given.ignored))
        return VolumeFolder(given.root, given.cases, len(given.channels), tuple(known), given, None)
    arranged = _config_lists(root) or arrange(root, images=images, masks=masks)
    channels = len(arranged.channels)
    if channels == 1:
        channels = _fourth_axis(arranged.cases[0].images[0])
    return VolumeFolder(root, arranged.cases, channels, None, None, arranged)


def volume_table(found: VolumeSet) -> str:
    """Return a CSV table of the cases, for ``NiftiData``.

    Args:
        found: The cases.
    """
    count = len(found.cases[0].images)
    columns = ["image"] if count == 1 else [f"image_{channel}" for channel in found.channels]
    extra = {"group": found.groups, "split": found.splits}
    extra = {name: values for name, values in extra.items() if values}
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["name", *columns, "mask", *extra])
    for case in found.cases:
        paths = [_below(path, found.root) for path in (*case.images, case.mask)]
        writer.writerow([case.name, *paths, *(values.get(case.name, "") for values in extra.values())])
    return rows.getvalue()


def unused_lines(unused: Sequence[tuple[str, str]]) -> list[Text]:
    """Return one line for each reason why files are not used.

    Args:
        unused: (path, reason).
    """
    reasons = Counter(reason for _, reason in unused)
    lines = []
    for reason, count in reasons.most_common():
        places = [place for place, other in unused if other == reason]
        shown = ", ".join(places[:_SHOWN]) + (", ..." if count > _SHOWN else "")
        lines.append(Text(f"not used, {count} {'file' if count == 1 else 'files'}: {reason}: {shown}"))
    return lines


def _rest(found: VolumeSet, unused: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return every file that no case uses, with the reason."""
    used = {path for case in found.cases for path in (*image_files(case), case.mask)}
    series = {path for entry in list_entries(found.root) if entry.path.is_dir() for path in [entry.path]}
    rest = dict(unused)
    for place, names in walk_once(found.root):
        for name in names:
            path, below = place / name, _below(place / name, found.root)
            if path in used or below in rest or (_below(place, found.root) in rest and place in series):
                continue
            rest[below] = _reason(path, found, series)
    return tuple(sorted(rest.items()))


def _reason(path: Path, found: VolumeSet, series: set[Path]) -> str:
    if path.name == "dataset.json":
        return "names and labels of the volumes (read)"
    if not path.name.lower().endswith(ENDINGS):
        return "a slice of no case" if path.parent in series else "no volume"
    name = re.sub(r"_\d{4}$", "", without_ending(path.name))
    if path.parent.name.startswith("images") and name in {case.name for case in found.cases}:
        return "not a channel that dataset.json names"
    return "no label map belongs to it (predict takes it)"


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if root in path.parents else str(path)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(f"channel {number}" for number in range(count))


def _fourth_axis(path: Path) -> int:
    shape: tuple[int, ...] = () if path.is_dir() else tuple(open_nifti(path).shape)
    return int(shape[3]) if len(shape) == 4 else 1


def _label_names(
    facts: Sequence[VolumeFacts], cases: Sequence[VolumeFiles]
) -> tuple[dict[str, tuple[int, ...]], tuple[int, ...], tuple[str, ...]]:
    """Return classes, ignored values, and how they were named."""
    values = sorted({value for case in facts for value in case.voxels})
    ignored = tuple(v for v in values if v in _IGNORED and len(set(values) - {0, v}) > 0)
    classes = [value for value in values if value != 0 and value not in ignored]
    if not classes:
        raise SegfocalError(f"the label maps hold the value {values} alone: there is nothing to learn.")
    if min(classes) < 0 or len(classes) > 255:
        raise SegfocalError(
            f"the label maps hold {len(values)} values from {values[0]} to {values[-1]}, which are no "
            "classes. Choose label maps with --masks PATTERN."
        )
    for pattern, names in _NAMED:
        if all(re.search(pattern, case.name) for case in cases) and set(classes) <= set(names):
            named: dict[str, tuple[int, ...]] = {"background": (0,)}
            for value in classes:
                named[names[value]] = (*named.get(names[value], ()), value)
            return named, ignored, ("classes named as the published set of these file names has them",)
    single = {"foreground": (classes[0],)} if len(classes) == 1 else {f"label {v}": (v,) for v in classes}
    why = f"nothing names the values {', '.join(map(str, classes))}: change labels in the configuration"
    also = (f"the values {list(ignored)} are taken for unknown (ignored)",) if ignored else ()
    return {"background": (0,), **single}, ignored, (why, *also)


def _config_lists(root: Path) -> Arranged | None:
    """Return the cases of DeepMedic's lists (trainChannels_t1.cfg, trainGtLabels.cfg), line by line."""
    lists: dict[str, dict[str, list[Path]]] = {}
    for place, names in walk_once(root):
        for name in names:
            found = _LISTS.fullmatch(name)
            if found is not None:
                part = {"validation": "val"}.get(found.group(1), found.group(1))
                role = found.group("channel") or found.group(2)
                lists.setdefault(part, {})[role] = _listed(place / name)
    labelled = {part: roles for part, roles in lists.items() if "GtLabels" in roles}
    if not labelled:
        return None
    cases: list[VolumeFiles] = []
    splits: dict[str, str] = {}
    channels = tuple(
        sorted(set.intersection(*(set(r) - {"GtLabels", "RoiMasks"} for r in labelled.values())))
    )
    for part, roles in labelled.items():
        lengths = {role: len(paths) for role, paths in roles.items()}
        if len(set(lengths.values())) > 1 or not channels:
            raise SegfocalError(
                f"the lists {part}*.cfg below {root} must have as many lines each, got {lengths}."
            )
        for number, mask in enumerate(roles["GtLabels"]):
            images = tuple(roles[channel][number] for channel in channels)
            name = mask.parent.name if mask.parent != root else without_ending(mask.name)
            cases.append(VolumeFiles(name, images, mask))
            splits[name] = part
    regions = [path for roles in lists.values() for path in roles.get("RoiMasks", [])]
    unused = {
        _below(path, root): "says where to look, not what is there (a mask of the region)" for path in regions
    }
    return Arranged(
        tuple(sorted(cases, key=lambda case: case.name)),
        channels,
        splits if len(labelled) > 1 else {},
        patients_of([case.name for case in cases]),
        tuple(unused.items()),
        (f"lists of DeepMedic (*.cfg) with the channels {', '.join(channels)}",),
    )


def _listed(path: Path) -> list[Path]:
    lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    found = [Path(line) for line in lines if line and not line.startswith("#")]
    return [Path(os.path.normpath(path.parent / file)) for file in found]
