"""The cells of a study: every training it needs, named by the hash of what goes into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from segfocal.study.document import Dataset, Study
from segfocal.study.keys import with_modules
from segfocal.study.merge import Config, digest, merged, nested
from segfocal.study.stages import Stage

Fingerprint = Callable[[Config, Dataset, str], str]
_NO_DATA = Dataset()


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a study a cell belongs; None: all of them share it."""

    arm: str | None
    dataset: str | None
    fraction: float | None
    fold: int | None
    seed: int


@dataclass
class Expansion:
    """All cells of a study.

    Args:
        cells: As plan.json holds them, each after those it needs.
        bases: Hash to configuration before seed, fold and fraction.
        chains: Arm to (stage, data set) to such a hash.
        firsts: Hash of such a configuration to the first whole one made of it, and whose it is.
    """

    cells: list[dict[str, Any]] = field(default_factory=list)
    bases: dict[str, Config] = field(default_factory=dict)
    chains: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    firsts: dict[str, tuple[str, Config]] = field(default_factory=dict)


def settled(
    base: Config, *, dataset: Mapping[str, Any], cell: Mapping[str, Any], overrides: Config
) -> Config:
    """Return the whole configuration of a cell.

    Args:
        base: Its configuration before seed, fold and fraction.
        dataset: With ``folds`` and ``seed_keys``.
        cell: With ``seed``, ``fold`` and ``fraction``.
        overrides: Dotted keys of a search.
    """
    values = dict(overrides) | dict.fromkeys(dataset["seed_keys"], cell["seed"])
    split = "data.init_args.split"
    if cell["fold"] is not None:
        values |= {f"{split}.test_folds": dataset["folds"], f"{split}.test_fold": cell["fold"]}
    if cell["fraction"] is not None and cell["fraction"] != 1:
        values[f"{split}.train_fraction"] = cell["fraction"]
    config: Config = merged(base, nested(values, where="the cell"))
    return config


def expand(study: Study, *, fingerprint: Fingerprint) -> Expansion:
    """Return every cell of a study once, however many arms need it.

    Args:
        study: What is compared.
        fingerprint: From a configuration, its data set and its name to the hash of the data.
    """
    builder = _Builder(study, fingerprint)
    last = study.stages[-1]
    for seed, (name, dataset), fraction in product(study.seeds, study.datasets.items(), study.fractions):
        folds = [None] if dataset.folds is None else range(dataset.folds)
        for fold, arm in product(folds, study.arms):
            builder.cell(last, Place(arm, name, fraction, fold, seed))
    return builder.found


class _Builder:
    def __init__(self, study: Study, fingerprint: Fingerprint) -> None:
        self.study, self.fingerprint = study, fingerprint
        self.found = Expansion()
        self.stages = {stage.name: stage for stage in study.stages}
        self.trials = {arm: study.search.drawn(arm) if study.search else [] for arm in study.arms}
        self._bases: dict[tuple[str, str | None, str | None], tuple[str, str]] = {}
        self._ids: dict[Any, str] = {}
        self._known: set[str] = set()

    def cell(self, stage: Stage, place: Place, *, trial: int | None = None) -> str:
        """Add a cell and those it needs; return its name."""
        place = Place(
            place.arm if stage.arms else None,
            place.dataset if stage.datasets else None,
            place.fraction if stage.datasets else None,
            place.fold if stage.datasets else None,
            place.seed if stage.seeds else self.study.seeds[0],
        )
        key = (stage.name, place, trial)
        if key not in self._ids:
            self._ids[key] = self._new(stage, place, trial)
        return self._ids[key]

    def _new(self, stage: Stage, place: Place, trial: int | None) -> str:
        is_last = stage is self.study.stages[-1]
        source = None if stage.source is None else self.cell(self.stages[stage.source], place)
        trials = self._trials(stage, place) if is_last and trial is None else []
        base, data = self._base(stage, place)
        cell: dict[str, Any] = {
            "id": "",
            "kind": ("arm" if trial is None else "search") if is_last else "shared",
            "stage": stage.name,
            "arm": place.arm,
            "dataset": place.dataset,
            "fraction": place.fraction,
            "seed": place.seed,
            "fold": place.fold,
            "trial": trial,
            "needs": [*([] if source is None else [source]), *trials],
            "source": source,
            "base": base,
            "overrides": {} if trial is None else self.trials[place.arm or ""][trial],
        }
        config = settled(
            self.found.bases[base], dataset=vars(self._data(place)), cell=cell, overrides=cell["overrides"]
        )
        cell["id"] = digest([cell["kind"], stage.verb, stage.sha256, config, data, cell["needs"]])
        if cell["id"] not in self._known:
            self._known.add(cell["id"])
            self.found.cells.append(cell)
            self.found.firsts.setdefault(base, (_whose(stage, place), config))
        return str(cell["id"])

    def _trials(self, stage: Stage, place: Place) -> list[str]:
        first = Place(place.arm, place.dataset, place.fraction, place.fold, self.study.seeds[0])
        return [self.cell(stage, first, trial=number) for number in range(len(self.trials[place.arm or ""]))]

    def _data(self, place: Place) -> Dataset:
        return self.study.datasets[place.dataset] if place.dataset is not None else _NO_DATA

    def _base(self, stage: Stage, place: Place) -> tuple[str, str]:
        key = (stage.name, place.arm, place.dataset)
        if key not in self._bases:
            dataset = self._data(place)
            config = merged(stage.config, dataset.overrides)
            config = merged(config, self.study.arms[place.arm] if place.arm is not None else {})
            config = with_modules(config)
            name = digest(config)
            self.found.bases[name] = config
            if place.arm is not None:
                chain = self.found.chains.setdefault(place.arm, {})
                chain[stage.name, place.dataset or ""] = name
            data = self.fingerprint(config, dataset, place.dataset or f"of stage {stage.name}")
            self._bases[key] = (name, data)
        return self._bases[key]


def _whose(stage: Stage, place: Place) -> str:
    parts = [f"stage {stage.name!r} ({stage.file})"]
    parts += [] if place.dataset is None else [f"data set {place.dataset!r}"]
    parts += [] if place.arm is None else [f"arm {place.arm!r}"]
    return ", ".join(parts)
