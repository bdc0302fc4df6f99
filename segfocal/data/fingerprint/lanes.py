"""A look at road lanes in the official files of TuSimple and CULane."""

from __future__ import annotations

from collections import Counter

import numpy as np
from rich.console import Group
from rich.text import Text

from segfocal.data.fingerprint.advice import alphas_of, gamma_of
from segfocal.data.fingerprint.classes import Classes
from segfocal.data.fingerprint.page import chart, facts, most, problem_lines, spread, twin_lines
from segfocal.data.fingerprint.pool import each
from segfocal.data.fingerprint.report import Report
from segfocal.data.fingerprint.roads import (
    POSITIONS,
    FrameFacts,
    LaneFiles,
    find_lanes,
    measure_frame,
    usual_width_px,
)
from segfocal.data.fingerprint.text import (
    SHARES,
    VAL_SHARE,
    head,
    leak_lines,
    model,
    quoted,
    small_network,
    training,
)
from segfocal.data.fingerprint.twins import equal_cases
from segfocal.data.lanes.frames import drive_of
from segfocal.errors import SegfocalError

__all__ = ["find_lanes", "look_at_lanes"]

_ENOUGH_DRIVES = 10
_PATCH_PX = 192
_LARGE_PX = 500  # height from which images are halved
_METRIC = "Dice of drawn lanes; `segfocal lanes` and `segfocal evaluate` give the official scores"
_CLIPS, _FOLDER = "clips/([^/]+)/", "(.+)/[^/]+$"  # drives in the names of frames


def look_at_lanes(found: LaneFiles, *, processes: int | None) -> Report:
    """Read all frames.

    Args:
        found: Their label files.
        processes: Readers; None takes one per processor.

    Raises:
        SegfocalError: Where no image can be read, or no frame has a lane.
    """
    items = [(split, frame) for split, frames in found.frames.items() for frame in frames]
    cases = list(each(measure_frame, items, processes=processes, what="frames"))
    whole = [case for case in cases if not case.problem]
    if not whole:
        raise SegfocalError(f"none of the {len(cases)} images can be read: {cases[0].problem}")
    if not any(case.points for case in whole):
        raise SegfocalError(f"none of the {len(cases)} frames has a lane: there is nothing to learn.")
    classes = _classes(whole)
    problems = [*found.problems, *(case.problem for case in cases if case.problem)]
    empty = sum(not case.points for case in whole)
    notes = [Text(f"{empty} of {len(whole)} frames have no lane (empty)")] if empty else []
    page = Group(
        facts(_rows(found, cases)),
        chart(classes, cases="frames"),
        *problem_lines(problems),
        *notes,
        *twin_lines(_twins(whole)),
    )
    return Report(page, lambda out: {out: _config(found, whole, classes)})


def _classes(cases: list[FrameFacts]) -> Classes:
    """One class; the positions, which could be classes, are charted beside it."""
    every = sum(sum(case.drawn_px.values()) for case in cases)
    drawn = every - sum(case.drawn_px.get(0, 0) for case in cases)
    fit = sum(max(case.sides) <= POSITIONS // 2 for case in cases) / len(cases)
    width = usual_width_px(_width(cases))
    return Classes(
        task="binary",
        names=("lane",),
        pixels=[[every - drawn, drawn]],
        images=(sum(bool(case.points) for case in cases),),
        reasons=[
            f"lanes are points, drawn {width:g} px wide (16 in 1280) into one class, which `segfocal lanes` "
            "tells apart again",
            f"{fit:.0%} of the frames have at most {POSITIONS // 2} lanes on either side: positions: "
            f"{POSITIONS} would make classes of them",
        ],
    )


def _rows(found: LaneFiles, cases: list[FrameFacts]) -> dict[str, str]:
    whole = [case for case in cases if not case.problem]
    splits = ", ".join(f"{split or 'to be divided'} {len(frames)}" for split, frames in found.frames.items())
    drives = Counter(drive_of(case.name) for case in cases)
    every = sum(sum(case.drawn_px.values()) for case in whole)
    named = [*((n, f"lane {n}") for n in range(1, POSITIONS + 1)), (255, "further out")]
    shares = [(name, sum(case.drawn_px.get(n, 0) for case in whole) / every) for n, name in named]
    return {
        "folder": str(found.root),
        "frames": f"{len(cases)} in {found.kind}'s form ({splits})",
        "files": ", ".join(place for places in found.files.values() for place in places) or "*.lines.txt",
        "size (px)": most(Counter(f"{h}x{w}" for h, w in (case.size_px for case in whole))),
        "lanes per frame": most(Counter(str(len(case.points)) for case in whole)),
        "left, right": most(Counter(f"{left} {right}" for left, right in (case.sides for case in whole))),
        "points per lane": spread([n for case in whole for n in case.points], "lanes,"),
        "drawn": ", ".join(f"{name} {100 * share:.2g} %" for name, share in shares),
        "groups": f"{len(drives)} drives, up to {max(drives.values())} frames each",
    }


def _config(found: LaneFiles, cases: list[FrameFacts], classes: Classes) -> str:
    gamma, reason = gamma_of(classes.rarest())
    network = small_network(in_channels=3, num_classes=1)
    parts = model(
        network,
        task="binary",
        gamma=gamma,
        reason=reason,
        alphas=alphas_of(classes),
        channels_last=True,
    )
    lines = [
        *head(found.root.name, classes.reasons),
        *parts,
        *_data_lines(found, cases),
        *training(_METRIC),
    ]
    return "".join(f"{line}\n" for line in lines)


def _data_lines(found: LaneFiles, cases: list[FrameFacts]) -> list[str]:
    width, height = _width(cases), float(np.median([case.size_px[0] for case in cases]))
    half = height >= _LARGE_PX
    patch = min(_PATCH_PX, max(32, int(height * (0.5 if half else 1)) // 32 * 32))
    return [
        "data:",
        f"  class_path: segfocal.data.{found.kind}Data",
        "  init_args:",
        f"    root: {quoted(str(found.root))}",
        *_split_lines(found, cases),
        *leak_lines(_twins(cases)),
        f"    width_px: {usual_width_px(width):g} # 16 in 1280 px, in proportion; thinner is harder to learn",
        f"    positions: 0 # one class; {POSITIONS}: a class for each of the two lanes left and right",
        *_labelled_lines(cases),
        "    preprocess:",
        f"      scale: {0.5 if half else 1.0} # {height:g} px high images {'are halved' if half else 'stay'}",
        f"    patch_size: {patch}",
        "    foreground_share: 0.5 # half of the patches lie over a lane",
        "    batch_size: 8",
        "    augment: road # left and right may be swapped; up and down not",
    ]


def _split_lines(found: LaneFiles, cases: list[FrameFacts]) -> list[str]:
    if found.kind == "CULane" and found.files:
        lists = {split: places[0] for split, places in found.files.items()}
        share = [] if "val" in lists else [f"    split: {{train: ['*'], val_share: {VAL_SHARE}}}"]
        return [f"    lists: {quoted(lists)}", *share]
    lines = []
    if found.kind == "TuSimple":
        train, test = ("", "test") if found.files.get("") else ("test", "")
        lines.append(f"    labels: {quoted(found.files[train])}")
        if found.files.get(test):
            lines.append(f"    test_labels: {quoted(found.files[test])}")
    shares = {"train": 0.9, "val": 0.1} if len(lines) > 1 else SHARES
    drives = {drive_of(case.name) for case in cases if case.split == "" or len(found.files) == 1}
    named = all("clips/" in case.name for case in cases)
    group = f"group: {quoted(_CLIPS if named else _FOLDER)} # keeps each of {len(drives)} drives in one split"
    enough = len(drives) >= _ENOUGH_DRIVES
    lines += ["    split:", *(f"      {split}: {share}" for split, share in shares.items())]
    return [*lines, f"      {group}" if enough else f"      # {group}, too few to divide"]


def _labelled_lines(cases: list[FrameFacts]) -> list[str]:
    """Points below or beside the image belong to a larger one."""
    height, width = (max(case.size_px[axis] for case in cases) for axis in range(2))
    low, right = (float(np.median([case.reach_px[axis] for case in cases])) for axis in (1, 0))
    if low <= height and right <= width:
        return []
    factor = max(low / height, right / width)
    size = [round(height * 1280 / width), 1280] if factor <= 1280 / width else None
    shown = size or [round(height * factor), round(width * factor)]
    return [f"    labelled_px: {shown} # the points reach beyond the images, which were reduced"]


def _twins(cases: list[FrameFacts]) -> list[list[tuple[str, str]]]:
    return equal_cases((case.digest, (case.split, case.name)) for case in cases)


def _width(cases: list[FrameFacts]) -> float:
    return float(np.median([case.size_px[1] for case in cases]))
