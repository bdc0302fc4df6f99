"""The study file, read and checked: what is compared, on which data, with which seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError, nearest
from segfocal.study.checks import as_count, as_list, as_mapping, check_keys, one_of
from segfocal.study.merge import Config, nested
from segfocal.study.ranges import Search, read_search
from segfocal.study.stages import Stage, read_stages
from segfocal.yaml_text import parse_mapping

METRICS = ("dice", "iou", "precision", "recall")
NEEDED = ("name", "seeds", "stages", "arms", "baseline", "contrasts")
KEYS = (*NEEDED, "metric", "fractions", "folds", "each", "datasets", "search")
_NAME = re.compile(r"[\w.+-]+( [\w.+-]+)*")


@dataclass(frozen=True)
class Dataset:
    """Data that every arm is trained and tested on.

    Args:
        overrides: Over the configuration of each stage that takes the study's data.
        folds: Test folds, or None: the split of the configuration.
        seed_keys: Dotted keys that get the seed of a cell.
    """

    overrides: Config = field(default_factory=dict)
    folds: int | None = None
    seed_keys: tuple[str, ...] = ("seed_everything",)


@dataclass(frozen=True)
class Contrast:
    """One primary comparison.

    Args:
        arm: Compared.
        baseline: With this one.
        dataset: On these data; None: on each.
        fraction: With this share of the training groups; None: with each.
    """

    arm: str
    baseline: str
    dataset: str | None = None
    fraction: float | None = None


@dataclass(frozen=True)
class Study:
    """What a study file says, key by key.

    - ``name``; ``metric``: dice (default), iou, precision or recall;
    - ``seeds``: list of numbers, each put into the ``seed_keys`` of a data set (default ``seed_everything``:
      new weights and dropout; order and crops follow ``data.init_args.seed``, as do generated images, and
      where all weights are loaded, seeds change nothing without that key);
    - ``fractions``: shares of the training groups (default ``[1.0]``);
      ``folds``: number of test folds, whole groups of ``data.init_args.split.group`` in each (default null);
    - ``stages``: list, see `segfocal.study.stages.Stage`; the last one is compared;
    - ``each``: overrides for every stage;
    - ``datasets``: name to overrides, and to ``folds`` and ``seed_keys`` where they differ (default: one,
      with what the configuration names);
    - ``arms``: name to overrides; ``baseline``: one of them;
    - ``search``: see `segfocal.study.ranges.Search`;
    - ``contrasts``: list of ``[arm, baseline]`` or mappings with ``arm`` and, where wanted, ``baseline``,
      ``dataset`` and ``fraction``: the few comparisons that are tested.

    Overrides are mappings like a configuration, or dotted keys: ``{model.loss.init_args.gamma: 1}``. The
    later wins: configuration, ``each``, the stage's ``each``, data set, arm, search, then fold, fraction and
    seed.
    """

    name: str
    metric: str
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]
    stages: tuple[Stage, ...]
    datasets: Mapping[str, Dataset]
    arms: Mapping[str, Config]
    baseline: str
    contrasts: tuple[Contrast, ...]
    search: Search | None = None


def read_study(text: str, *, folder: Path, origin: str) -> Study:
    """Read a study file; configurations that it names are read as well.

    Args:
        text: Its text.
        folder: Where it lies.
        origin: Its name, for messages.

    Returns:
        The study.

    Raises:
        SegfocalError: For keys, values and names that do not exist, and files that are missing.
    """
    content = parse_mapping(text, what=f"the study {origin}")
    check_keys(content, KEYS, where=f"the study {origin}")
    missing = [key for key in NEEDED if key not in content]
    if missing:
        raise SegfocalError(f"the study {origin} needs the key {missing[0]}, which is missing.")
    folds = _folds(content.get("folds"), where="folds")
    datasets = _datasets(content, folds=folds)
    arms = {
        name: nested(as_mapping(value, where=f"arm {name!r}", empty=True), where=f"arm {name!r}")
        for name, value in _named(content["arms"], where="arms").items()
    }
    fractions = _fractions(content.get("fractions", [1.0]))
    baseline = one_of(content["baseline"], arms, where="baseline")
    seeds = [as_count(seed, where="seeds", low=0) for seed in as_list(content["seeds"], where="seeds")]
    common = nested(as_mapping(content.get("each"), where="each", empty=True), where="each")
    return Study(
        name=str(content["name"]),
        metric=one_of(content.get("metric", "dice"), METRICS, where="metric"),
        seeds=tuple(seeds),
        fractions=fractions,
        stages=read_stages(content["stages"], folder=folder, each=common),
        datasets=datasets,
        arms=arms,
        baseline=baseline,
        contrasts=_contrasts(content["contrasts"], baseline, arms, datasets, fractions),
        search=read_search(content.get("search"), arms=arms),
    )


def _named(value: Any, *, where: str) -> dict[str, Any]:
    found = as_mapping(value, where=where)
    for name in found:
        if not _NAME.fullmatch(name):
            raise SegfocalError(f"{where}: a name holds letters, digits, spaces and . _ + -, got {name!r}.")
    return found


def _folds(value: Any, *, where: str) -> int | None:
    return None if value is None else as_count(value, where=where, low=2)


def _fractions(value: Any) -> tuple[float, ...]:
    fractions = as_list(value, where="fractions")
    for fraction in fractions:
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction <= 1:
            raise SegfocalError(f"fractions must be numbers in (0, 1], got {fraction!r}.")
    return tuple(float(fraction) for fraction in fractions)


def _datasets(content: Mapping[str, Any], *, folds: int | None) -> dict[str, Dataset]:
    if "datasets" not in content:
        return {"data": Dataset(folds=folds)}
    found: dict[str, Dataset] = {}
    for name, value in _named(content["datasets"], where="datasets").items():
        where = f"data set {name!r}"
        settings = as_mapping(value, where=where, empty=True)
        own = _folds(settings.pop("folds"), where=f"{where}: folds") if "folds" in settings else folds
        keys = as_list(settings.pop("seed_keys", ["seed_everything"]), where=f"{where}: seed_keys")
        found[name] = Dataset(nested(settings, where=where), own, tuple(map(str, keys)))
    return found


def _contrasts(
    value: Any,
    baseline: str,
    arms: Mapping[str, Any],
    datasets: Mapping[str, Any],
    fractions: tuple[float, ...],
) -> tuple[Contrast, ...]:
    found = []
    for item in as_list(value, where="contrasts"):
        where = f"contrast {item!r}"
        if isinstance(item, list) and len(item) == 2:
            item = {"arm": item[0], "baseline": item[1]}
        settings = as_mapping(item, where=where)
        check_keys(settings, ("arm", "baseline", "dataset", "fraction"), where=where)
        contrast = Contrast(**{"baseline": baseline, "arm": "", **settings})
        one_of(contrast.arm, arms, where=f"{where}: arm")
        one_of(contrast.baseline, arms, where=f"{where}: baseline")
        if contrast.arm == contrast.baseline:
            raise SegfocalError(f"{where} compares an arm with itself. Name another baseline.")
        if contrast.dataset is not None:
            one_of(contrast.dataset, datasets, where=f"{where}: dataset")
        if contrast.fraction is not None and contrast.fraction not in fractions:
            near = nearest(str(contrast.fraction), map(str, fractions))
            raise SegfocalError(f"{where}: fraction must be one of {list(fractions)}.{near}")
        found.append(contrast)
    return tuple(found)
