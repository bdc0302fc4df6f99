"""A configuration that trains on what was found, with the reason of each choice beside it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from segfocal.data.division import FolderLayout
from segfocal.data.fingerprint.advice import Advice
from segfocal.data.fingerprint.classes import Classes
from segfocal.data.fingerprint.groups import Groups
from segfocal.data.fingerprint.pairing import Match
from segfocal.data.splits import SPLITS, Split
from segfocal.errors import SegfocalError

_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
_VAL_SHARE = 0.15
_STEPS = 1000


def config_text(
    root: Path, match: Match, classes: Classes, advice: Advice, groups: Groups | None, *, table: Path | None
) -> str:
    """Return the YAML of a training.

    Args:
        root: Folder of the data set.
        match: Images and masks.
        classes: What the masks mean.
        advice: Settings and reasons.
        groups: Groups in the names.
        table: Table of the cases, where folders and patterns do not describe them.

    Returns:
        A configuration for ``segfocal fit``.
    """
    channels = len(classes.names)
    lines = [
        f"# Written by `segfocal fingerprint` for {root.name}: read it, then",
        "# Run:      segfocal fit --config THIS.yaml --run runs/first",
        *(f"# {sentence[0].upper()}{sentence[1:]}." for sentence in classes.reasons),
        "seed_everything: 0",
        "model:",
        "  network:",
        "    class_path: segfocal.models.SmallUNet # or segmentation_models_pytorch.Unet, larger and slower",
        "    init_args:",
        f"      in_channels: {advice.in_channels}",
        f"      num_classes: {channels}",
        "  loss:",
        f"    # {advice.reasons['loss']}",
        "    class_path: segfocal.losses.FocalDiceLoss",
        "    init_args:",
        f"      task: {classes.task}",
        f"      gamma: {advice.gamma}",
        "      ignore_index: 255",
        *(f"      # {line}" for line in _alpha_lines(advice)),
        "  learning_rate: 0.003",
        "  schedule: cosine",
        "  warmup_steps: 50",
        "  head_prior: measured",
        "  channels_last: true",
        "data:",
        *_data_lines(root, match, classes, groups, table=table),
        "    preprocess:",
        f"      in_channels: {advice.in_channels}",
        *_range_lines(advice),
        f"    patch_size: {advice.patch_px} # {advice.reasons['patch_size']}",
        f"    foreground_share: {advice.foreground_share} # {advice.reasons['foreground_share']}",
        f"    batch_size: {advice.batch_size}",
        "    augment: flips # or medical, road, or albumentations transforms by class_path",
        "trainer:",
        f"  max_steps: {_STEPS} # a first look; more steps for a result",
    ]
    return "".join(line + "\n" for line in lines)


def table_text(match: Match, *, root: Path) -> str:
    """Return a CSV table of the cases, for ``TableData``.

    Args:
        match: Images and masks.
        root: Folder that the paths start from.
    """
    masks = [f"mask_{name}" for name in match.classes] or ["mask"]
    split = any(part for part, _, _ in match.files())
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["image", *masks, *(["split"] if split else [])])
    for part, image, files in match.files():
        paths = ["" if path is None else path.relative_to(root).as_posix() for path in files]
        writer.writerow([image.relative_to(root).as_posix(), *paths, *([part] if split else [])])
    return rows.getvalue()


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
        place = ["  class_path: segfocal.data.TableData", "  init_args:", f"    root: {_text(str(root))}"]
        place.append(f"    table: {_text(str(table))}")
    else:
        place = ["  class_path: segfocal.data.FolderData", "  init_args:", f"    root: {_text(str(root))}"]
        place.append(f"    images: {_text(match.images.pattern)}")
        place.append(f"    masks: {_text(match.mask_setting())}")
    place += [f"    task: {classes.task}", f"    class_names: {_text(list(classes.names))}"]
    if classes.values is not None:
        place.append(f"    values: {{{', '.join(f'{v}: {label}' for v, label in classes.values.items())}}}")
    if classes.ignore_values:
        place.append(f"    ignore_values: {_text(list(classes.ignore_values))}")
    if classes.colors is not None:
        place.append(f"    colors: {_text(classes.colors)}")
    if classes.other is not None:
        place.append(f"    other: {classes.other}")
    if table is not None and match.images.folders:
        return place  # the table says which image belongs where
    return place + _split_lines(match, groups)


def _split_lines(match: Match, groups: Groups | None) -> list[str]:
    folders = match.images.folders
    lines = ["    split:"]
    if "train" in folders:
        lines += [f"      {part}: {_text(folders[part])}" for part in SPLITS if part in folders]
        if "val" not in folders:
            lines.append(f"      val_share: {_VAL_SHARE} # of train, as no folder is named for validation")
    else:
        lines += [f"      {part}: {share}" for part, share in _SHARES.items()]
    if groups is not None:
        note = f"{groups.count} groups in the names, up to {groups.largest} images each: kept in one split"
        hint = "" if groups.enough and "train" not in folders else "# "
        lines.append(f"      {hint}group: {_text(groups.pattern)} # {note}")
    return lines


def _alpha_lines(advice: Advice) -> list[str]:
    lines = ["alpha: null keeps the meaning of threshold 0.5; weights move it, so tune the threshold then"]
    lines += [
        f"alpha: {values} # {name}: from the counts of all images" for name, values in advice.alphas.items()
    ]
    return lines


def _range_lines(advice: Advice) -> list[str]:
    if advice.intensity_range is None:
        return []
    low, high = advice.intensity_range
    return [f"      intensity_range: [{low:g}, {high:g}] # {advice.reasons['intensity_range']}"]


def _text(value: Any) -> str:
    """JSON is YAML, with every hostile name quoted."""
    return json.dumps(value, ensure_ascii=False)
