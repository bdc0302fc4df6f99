"""A configuration that trains on what was found, with the reason of each choice beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from segfocal.data.division import FolderLayout
from segfocal.data.fingerprint.advice import Advice
from segfocal.data.fingerprint.classes import Classes
from segfocal.data.fingerprint.groups import Groups
from segfocal.data.fingerprint.pairing import Match
from segfocal.data.fingerprint.text import SHARES, VAL_SHARE, head, model, quoted, small_network, training
from segfocal.data.splits import SPLITS, Split
from segfocal.errors import SegfocalError

_METRIC = "Dice is what the Dice term trains; the test adds HD95, NSD and calibration"


def config_text(
    root: Path,
    match: Match,
    classes: Classes,
    advice: Advice,
    groups: Groups | None,
    *,
    table: Path | None,
    notes: Sequence[str] = (),
) -> str:
    """Return the YAML of a training.

    Args:
        root: Folder of the data set.
        match: Images and masks.
        classes: What the masks mean.
        advice: Settings and reasons.
        groups: Groups in the names.
        table: Table of the cases, where folders and patterns do not describe them.
        notes: What else its head says.

    Returns:
        A configuration for ``segfocal fit``.
    """
    data = _data_lines(root, match, classes, groups, table=table)
    return compose(root.name, classes, advice, data=data, notes=notes)


def compose(
    name: str, classes: Classes, advice: Advice, *, data: Sequence[str], notes: Sequence[str] = ()
) -> str:
    """Return the YAML of a training on pictures.

    Args:
        name: Of the data set.
        classes: What the masks mean.
        advice: Settings and reasons.
        data: Lines below ``data`` that say where cases and labels come from.
        notes: What else its head says.
    """
    network = small_network(in_channels=advice.in_channels, num_classes=len(classes.names))
    lines = [
        *head(name, [*classes.reasons, *notes]),
        *model(
            network,
            task=classes.task,
            gamma=advice.gamma,
            reason=advice.reasons["loss"],
            alphas=advice.alphas,
            channels_last=True,
        ),
        "data:",
        *data,
        "    preprocess:",
        f"      in_channels: {advice.in_channels}",
        *_range_lines(advice),
        *[
            f"      {name}: {quoted(value)} # {advice.reasons[name]}"
            for name, value in advice.reading().items()
        ],
        f"    patch_size: {advice.patch_px} # {advice.reasons['patch_size']}",
        f"    foreground_share: {advice.foreground_share} # {advice.reasons['foreground_share']}",
        f"    batch_size: {advice.batch_size}",
        "    augment: flips # or medical, road, or albumentations transforms by class_path",
        *training(_METRIC),
    ]
    return "".join(line + "\n" for line in lines)


def label_lines(classes: Classes) -> list[str]:
    """Return the settings of a data module of files that say what the masks mean."""
    lines = [f"    task: {classes.task}", f"    class_names: {quoted(list(classes.names))}"]
    if classes.values is not None:
        lines.append(f"    values: {{{', '.join(f'{v}: {label}' for v, label in classes.values.items())}}}")
    if classes.ignore_values:
        lines.append(f"    ignore_values: {quoted(list(classes.ignore_values))}")
    if classes.colors is not None:
        lines.append(f"    colors: {quoted(classes.colors)}")
    if classes.ignore_colors:
        lines.append(f"    ignore_colors: {quoted(list(classes.ignore_colors))}")
    if classes.other is not None:
        lines.append(f"    other: {classes.other}")
    if classes.threshold is not None:
        lines.append(f"    threshold: {classes.threshold} # stored values from here on are the class")
    return lines


def needs_table(match: Match, *, root: Path) -> bool:
    """Return whether ``FolderData`` cannot read the files as they lie.

    Args:
        match: Images and masks.
        root: Folder of the data set.
    """
    if not match.expressible():
        return True
    layout = FolderLayout(root, match.images.pattern, match.mask_setting(), match.classes or None)
    folders = match.images.folders
    try:
        parts = {part: folders.get(part) for part in SPLITS}
        layout.divide(Split(**parts) if folders else Split(train=1.0))  # type: ignore[arg-type]
    except SegfocalError:
        return True
    return False


def _data_lines(
    root: Path, match: Match, classes: Classes, groups: Groups | None, *, table: Path | None
) -> list[str]:
    if table is not None:
        place = ["  class_path: segfocal.data.TableData", "  init_args:", f"    root: {quoted(str(root))}"]
        place.append(f"    table: {quoted(str(table))}")
    else:
        place = ["  class_path: segfocal.data.FolderData", "  init_args:", f"    root: {quoted(str(root))}"]
        place.append(f"    images: {quoted(match.images.pattern)}")
        place.append(f"    masks: {quoted(match.mask_setting())}")
    place += label_lines(classes)
    if table is not None and match.images.folders:
        return place  # the table says which image belongs where
    return place + split_lines(match.images.folders, groups)


def split_lines(folders: Mapping[str, str], groups: Groups | None) -> list[str]:
    """Return the setting ``split``.

    Args:
        folders: Split to the folder that is named for it; may be empty.
        groups: Groups in the names.
    """
    lines = ["    split:"]
    if "train" in folders:
        lines += [f"      {part}: {quoted(folders[part])}" for part in SPLITS if part in folders]
        if "val" not in folders:
            lines.append(f"      val_share: {VAL_SHARE} # of train, as no folder is named for validation")
    else:
        lines += [f"      {part}: {share}" for part, share in SHARES.items()]
    if groups is not None:
        note = f"{groups.count} groups in the names, up to {groups.largest} images each: kept in one split"
        hint = "" if groups.enough and "train" not in folders else "# "
        lines.append(f"      {hint}group: {quoted(groups.pattern)} # {note}")
    return lines


def _range_lines(advice: Advice) -> list[str]:
    if advice.intensity_range is None:
        return []
    low, high = (quoted(int(edge) if float(edge).is_integer() else edge) for edge in advice.intensity_range)
    return [f"      intensity_range: [{low}, {high}] # {advice.reasons['intensity_range']}"]
