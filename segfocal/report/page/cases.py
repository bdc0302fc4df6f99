"""The case browser's data: chosen cases, their scores per run and class, and their pictures as files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from segfocal.report.names import clean
from segfocal.report.page.choose import CHOSEN, choose_cases
from segfocal.report.page.pictures import Layers, pictured_cases, read_layers
from segfocal.report.sources import Sources
from segfocal.report.tables.paired import image_scores
from segfocal.report.tables.scores import pick
from segfocal.runs.pictures import case_stem
from segfocal.runs.read import scan_cases


@dataclass(frozen=True)
class Browser:
    """What the case browser shows.

    Args:
        content: For ``data.js``: runs, classes, cases.
        files: Path inside the report to content.
        notes: What was left out, for people.
    """

    content: dict[str, Any]
    files: Mapping[str, bytes]
    notes: list[str]


def case_browser(sources: Sources, *, all_cases: bool = False, budget_bytes: int | None = None) -> Browser:
    """Choose cases and read their pictures.

    Args:
        sources: What was read.
        all_cases: Show every case of which a run keeps pictures.
        budget_bytes: Of pictures. Images, references and predictions are always there; errors, then
            probabilities, while they fit. None: no limit.

    Returns:
        The browser; without content where no run keeps pictures.
    """
    runs = sources.scored_runs()
    store = _Store(runs, sources.stage)
    names = [name for name in _names(sources, runs) if store.holds(name)]
    values = image_scores(runs, stage=sources.stage, tuned=sources.tuned)
    chosen = choose_cases(values, available=names, count=None if all_cases else CHOSEN)
    if not chosen:
        return Browser({}, {}, [])
    pictures = [[store.case(run, name) for run in runs.iter_rows(named=True)] for name in chosen]
    store.settle(budget_bytes)
    scores = _scores(sources, runs, chosen)
    content = {
        "runs": [{"name": row["name"], "arm": row["arm"]} for row in runs.iter_rows(named=True)],
        "classes": [_class_list(row["class_names"]) for row in runs.iter_rows(named=True)],
        "cases": [
            {"name": clean(name, longest=80), "pictures": found, "scores": scores[place]}
            for place, (name, found) in enumerate(zip(chosen, pictures, strict=True))
        ],
    }
    notes = [sources.other_data()] if sources.other_data() else []
    if len(chosen) < len(names):
        notes.append(
            f"{len(chosen)} of {len(names)} cases with pictures are shown: the worst, those on which runs "
            "differ most, and those around the median. `segfocal report --all-cases` shows all."
        )
    return Browser(content, store.files, notes + store.notes())


def _names(sources: Sources, runs: pl.DataFrame) -> list[str]:
    cases = scan_cases([Path(run) for run in runs["run"].to_list()])
    names = cases.filter(pl.col("stage") == sources.stage).select("name").unique().collect()
    return sorted(names["name"].to_list())


def _class_list(names: list[str] | None) -> list[str]:
    return [clean(name, longest=40) for name in names or []]


def _scores(sources: Sources, runs: pl.DataFrame, chosen: list[str]) -> list[list[list[float | None]]]:
    """Dice per case, run and class."""
    columns = ["run", "stage", "checkpoint", "threshold_kind", "class_index", "dice"]
    cases = scan_cases([Path(run) for run in runs["run"].to_list()])
    rows = cases.filter(pl.col("name").is_in(chosen)).select(pl.col("name").alias("image"), *columns)
    table = pick(rows.collect(), runs, stage=sources.stage, tuned=sources.tuned)
    keys = table.select("image", "run", "class_index", "dice").iter_rows()
    found = {(image, run, index): dice for image, run, index, dice in keys}
    return [
        [
            [
                None if (dice := found.get((image, run, index))) is None else round(dice, 4)
                for index in range(len(names or []))
            ]
            for run, names in runs.select("run", "class_names").iter_rows()
        ]
        for image in chosen
    ]


class _Store:
    """Pictures by the hash of their content: an image that twenty runs share is written once."""

    def __init__(self, runs: pl.DataFrame, stage: str) -> None:
        self.files: dict[str, bytes] = {}
        self.stage = stage
        self.known = {
            run: pictured_cases(Path(run), stage, checkpoint=best)
            for run, best in runs.select("run", "checkpoint").iter_rows()
        }
        self.waiting: list[tuple[int, dict[str, str], str, bytes]] = []
        self.dropped = 0

    def holds(self, name: str) -> bool:
        """Return whether some run keeps pictures of an image."""
        stem = case_stem(name)
        return any(stem in cases for cases in self.known.values())

    def case(self, run: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
        """Return the slices of a case of one run; ``settle`` fills in the paths of errors and probability."""
        classes, task = run["class_names"] or [], run["task"] or "binary"
        slices = []
        for label, stem in self.known[run["run"]].get(case_stem(name), {}).items():
            layers = read_layers(Path(run["run"]), self.stage, stem, class_names=classes, task=task)
            if layers is not None:
                slices.append({"slice": label} | self._paths(layers))
        return slices

    def settle(self, budget_bytes: int | None) -> None:
        """Keep errors, then probabilities, of one class after the other, until the budget is used up."""
        used = sum(map(len, self.files.values()))
        for _, place, key, data in sorted(self.waiting, key=lambda entry: entry[0]):
            path = _path(data, "png")
            if path not in self.files:
                if budget_bytes is not None and used + len(data) > budget_bytes:
                    self.dropped += 1
                    continue
                used += len(data)
                self.files[path] = data
            place[key] = path

    def notes(self) -> list[str]:
        """Say what the limit of bytes cost."""
        if not self.dropped:
            return []
        return [
            f"{self.dropped} pictures of errors and probabilities were left out to keep the page small. "
            "`segfocal report --all-cases` writes them."
        ]

    def _paths(self, layers: Layers) -> dict[str, Any]:
        plain = {"image": "jpg", "reference": "png", "prediction": "png"}
        found: dict[str, Any] = {kind: self._put(getattr(layers, kind), end) for kind, end in plain.items()}
        for turn, kind in enumerate(("errors", "probability")):
            found[kind] = {}
            for index, data in getattr(layers, kind).items():
                self.waiting.append((1000 * turn + index, found[kind], str(index), data))
        return found

    def _put(self, data: bytes, ending: str) -> str:
        path = _path(data, ending)
        self.files[path] = data
        return path


def _path(data: bytes, ending: str) -> str:
    return f"pictures/{hashlib.sha256(data).hexdigest()[:12]}.{ending}"
