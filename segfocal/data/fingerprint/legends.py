"""Legends of masks: files that name classes, by number or by colour, and the palette of Pascal VOC."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segfocal.data.lists import separator

VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
VOID = ("void", "ignore", "ignored", "__ignore__")
_BACKGROUND = ("_background_", "__background__", "background", "bg")
_DEPTH = 2


@dataclass(frozen=True)
class Legend:
    """Names of classes, in their order.

    Args:
        source: What they were read from.
        names: Of all classes.
        numbers: Stored number to name; empty where colours tell.
        colors: Colour 0xRRGGBB to name; empty where numbers tell.
        void: Colours without a class.
    """

    source: str
    names: tuple[str, ...]
    numbers: Mapping[int, str] = field(default_factory=dict)
    colors: Mapping[int, str] = field(default_factory=dict)
    void: tuple[int, ...] = ()


def find_legend(root: Path) -> Legend | None:
    """Return the legend that lies beside masks: the first of the known files that can be read.

    Args:
        root: Folder of the data set; it and two levels below are searched.
    """
    files: dict[str, Path] = {}
    level = [root]
    for _ in range(_DEPTH + 1):
        inside = [path for folder in level for path in _listed(folder)]
        for path in inside:
            if path.name.lower() in _READERS:
                files.setdefault(path.name.lower(), path)
        level = [path for path in inside if path.is_dir()][:200]
    for name, read in _READERS.items():
        if name in files:
            legend = _read(files[name], read)
            if legend is not None:
                return legend
    return None


def voc_palette(count: int = 256) -> list[int]:
    """Return the colours of Pascal VOC as 0xRRGGBB: bits 0, 3, 6 of the index are the high bits of red.

    Args:
        count: How many.

    Example:
        >>> [f"{color:06x}" for color in voc_palette(3)]
        ['000000', '800000', '008000']
    """
    colors = []
    for index in range(count):
        parts = [0, 0, 0]
        for shift in range(8):
            for channel in range(3):
                parts[channel] |= (index >> (3 * shift + channel) & 1) << (7 - shift)
        colors.append(parts[0] << 16 | parts[1] << 8 | parts[2])
    return colors


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _read(path: Path, read: Callable[[str], list[tuple[str, int | None, int | None]]]) -> Legend | None:
    try:
        rows = read(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, LookupError, TypeError, csv.Error):
        return None  # a file of that name with something else in it
    rows = [(_plain(name), number, color) for name, number, color in rows]
    kept = [row for row in rows if row[0].lower() not in VOID]
    names = tuple(dict.fromkeys(name for name, _, _ in kept))
    if len(names) < 2 or len(names) < len(kept):
        return None
    return Legend(
        source=path.name,
        names=names,
        numbers={number: name for name, number, _ in kept if number is not None},
        colors={color: name for name, _, color in kept if color is not None},
        void=tuple(color for name, _, color in rows if color is not None and name.lower() in VOID),
    )


def _plain(name: str) -> str:
    name = name.strip()
    return "background" if name.lower() in _BACKGROUND else name


def _color(parts: Sequence[str]) -> int:
    red, green, blue = (int(part) for part in parts)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(parts)
    return red << 16 | green << 8 | blue


def _class_dict(text: str) -> list[tuple[str, int | None, int | None]]:
    """Columns name, r, g, b."""
    return [(str(row["name"]), None, _color([row["r"], row["g"], row["b"]])) for row in _rows(text)]


def _roboflow(text: str) -> list[tuple[str, int | None, int | None]]:
    """Columns Pixel Value, Class."""
    return [(str(row["class"]), int(row["pixel value"]), None) for row in _rows(text)]


def _rows(text: str) -> list[dict[str, Any]]:
    lines = text.splitlines()
    table = csv.DictReader(lines, delimiter=separator(lines[0] if lines else ""))
    return [{str(k).strip().lower(): v for k, v in row.items()} for row in table]


def _labelmap(text: str) -> list[tuple[str, int | None, int | None]]:
    """Lines ``name:r,g,b:parts:actions`` of CVAT."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(":")[0], None, _color(line.split(":")[1].split(","))) for line in lines]


def _label_colors(text: str) -> list[tuple[str, int | None, int | None]]:
    """Lines ``r g b name`` of CamVid."""
    found = [re.fullmatch(r"\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S.*?)\s*", line) for line in text.splitlines()]
    return [(match[4], None, _color(match.group(1, 2, 3))) for match in found if match is not None]


def _lines(text: str) -> list[tuple[str, int | None, int | None]]:
    """A name per line, the first is number 0; LabelMe's ``__ignore__`` has none."""
    names = [line.strip() for line in text.splitlines() if line.strip()]
    names = [name for name in names if name.lower() not in VOID]
    if any(len(name) > 60 or "\t" in name for name in names):
        raise ValueError("no names")
    return [(name, number, None) for number, name in enumerate(names)]


_READERS: dict[str, Callable[[str], list[tuple[str, int | None, int | None]]]] = {
    "class_dict.csv": _class_dict,
    "class_dict_seg.csv": _class_dict,
    "labelmap.txt": _labelmap,
    "label_colors.txt": _label_colors,
    "_classes.csv": _roboflow,
    "class_names.txt": _lines,
    "labels.txt": _lines,
    "classes.txt": _lines,
    "codes.txt": _lines,
}
