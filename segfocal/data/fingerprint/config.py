"""A configuration that trains on what was found, with the reason of each choice beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from segfocal.data.fingerprint.advice import Advice
from segfocal.data.fingerprint.classes import Classes
from segfocal.data.fingerprint.settings import FolderSettings
from segfocal.data.fingerprint.text import SHARES, VAL_SHARE, head, model, quoted, small_network, training
from segfocal.data.splits import SPLITS
from segfocal.imbalance.background import named_background

_METRIC = "Dice is what the Dice term trains; the test adds HD95, NSD and calibration"


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
    if classes.task == "multiclass":
        lines.append(background_line(classes.names))
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


def background_line(names: Sequence[str]) -> str:
    """Return the setting of the class that means over classes leave out.

    Args:
        names: Of the classes of a multiclass task.

    Example:
        >>> background_line(["road", "Clutter/background"])
        '    background: 1 # Clutter/background: means over classes leave it out'
        >>> background_line(["road", "car"])
        '    background: null # no class name says background: means cover all classes'
    """
    number = named_background(names)
    if number is None:
        return "    background: null # no class name says background: means cover all classes"
    name = re.sub(r"\s+", " ", names[number])
    return f"    background: {number} # {name}: means over classes leave it out"


def data_lines(
    root: Path, settings: FolderSettings | None, classes: Classes, *, table: Path | None, split: Sequence[str]
) -> list[str]:
    """Return the section ``data`` as far as it says where the cases lie.

    Args:
        root: Folder of the data set.
        settings: Of ``FolderData``; None: a table lists the cases.
        classes: What the masks mean.
        table: The table.
        split: Lines of the setting ``split``; none where the table says it.
    """
    kind = "TableData" if settings is None else "FolderData"
    lines = [f"  class_path: segfocal.data.{kind}", "  init_args:", f"    root: {quoted(str(root))}"]
    if settings is None:
        lines.append(f"    table: {quoted(str(table))}")
    else:
        lines += [f"    images: {quoted(settings.images)}", f"    masks: {quoted(settings.masks)}"]
        if settings.region is not None:
            lines.append(
                f"    region: {quoted(settings.region)} # pixels outside are not trained on or scored"
            )
    return [*lines, *label_lines(classes), *split]


def split_lines(folders: Mapping[str, str], *, group: str | None, note: str = "") -> list[str]:
    """Return the setting ``split``.

    Args:
        folders: Split to the folder that is named for it; may be empty.
        group: Pattern that keeps groups whole, or None.
        note: What the groups are.
    """
    lines = ["    split:"]
    if "train" in folders:
        lines += [f"      {part}: {quoted(folders[part])}" for part in SPLITS if part in folders]
        if "val" not in folders:
            lines.append(f"      val_share: {VAL_SHARE} # of train, as no folder is named for validation")
    else:
        lines += [f"      {part}: {share}" for part, share in SHARES.items()]
    if group is not None:
        lines.append(f"      group: {quoted(group)} # {note}")
    return lines


def _range_lines(advice: Advice) -> list[str]:
    if advice.intensity_range is None:
        return []
    low, high = (quoted(int(edge) if float(edge).is_integer() else edge) for edge in advice.intensity_range)
    return [f"      intensity_range: [{low}, {high}] # {advice.reasons['intensity_range']}"]
