"""Narrow what is shown to some arms, data sets and tags."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from segfocal.report.dashboard.selection import Selection
from segfocal.report.names import clean
from segfocal.report.sources import Sources

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Choices:
    """What a reader can choose from, each sorted.

    Args:
        arm: Names of arms.
        data: First digits of the data sets' fingerprints.
        tag: Tags.
        stage: Splits that have scores.
    """

    arm: list[str]
    data: list[str]
    tag: list[str]
    stage: list[str]


def run_tags(run: str, info: str | None, *, root: Path) -> list[str]:
    """Return the tags of a run: the folders it lies in, and what run.json lists under ``extra: tags``.

    Args:
        run: The run directory.
        info: Its run.json.
        root: LOGDIR.

    Returns:
        Each once.

    Example:
        >>> run_tags("/logs/vessels/a", '{"extra": {"tags": ["long"]}}', root=Path("/logs"))
        ['vessels', 'long']
    """
    folders = list(Path(run).relative_to(root).parts[:-1])
    extra = json.loads(info).get("extra") if info else None
    given = extra.get("tags") if isinstance(extra, dict) else None
    words = [word for word in given if isinstance(word, str)] if isinstance(given, list) else []
    return list(dict.fromkeys([*folders, *words]))


def choices(sources: Sources, *, root: Path) -> Choices:
    """Return what the runs offer.

    Args:
        sources: Of all runs.
        root: LOGDIR.

    Returns:
        The choices.
    """
    tags = [tag for row in _tags(sources.runs, root) for tag in row]
    return Choices(
        arm=_sorted(sources.runs["arm"].to_list()),
        data=_sorted(_data(sources.runs)),
        tag=_sorted(tags),
        stage=_sorted(sources.gathered.table["stage"].unique().to_list()),
    )


def narrow(sources: Sources, chosen: Selection, *, root: Path) -> Sources:
    """Keep the runs of the chosen arms, data sets and tags; a filter without a choice keeps all.

    Args:
        sources: Of all runs.
        chosen: What the reader chose.
        root: LOGDIR.

    Returns:
        Their tables; ``baseline`` is the chosen one where it has scores, else the first arm that has.
    """
    keep = [
        (not chosen.arm or arm in chosen.arm)
        and (not chosen.data or data in chosen.data)
        and (not chosen.tag or bool(set(chosen.tag) & set(tags)))
        for arm, data, tags in zip(
            sources.runs["arm"].to_list(), _data(sources.runs), _tags(sources.runs, root), strict=True
        )
    ]
    runs = sources.runs.filter(pl.Series(keep, dtype=pl.Boolean))
    kept = pl.col("run").is_in(runs["run"].to_list())
    scores = sources.scores.filter(kept)
    arms = scores["arm"].unique(maintain_order=True).to_list()
    baseline = chosen.base if chosen.base in arms else (arms[0] if arms else None)
    return replace(sources, runs=runs, scores=scores, scalars=sources.scalars.filter(kept), baseline=baseline)


def folder(run: str, *, root: Path) -> str:
    """Return a run directory as it is named in an address: relative to LOGDIR."""
    return Path(run).relative_to(root).as_posix()


def options(values: Iterable[str], chosen: Iterable[str] = ()) -> list[dict[str, str]]:
    """Return what a control offers: the values, and what an address names though it is gone.

    Args:
        values: As in the tables.
        chosen: As in the address.

    Returns:
        label and value of each.
    """
    here = list(dict.fromkeys(values))
    gone = [value for value in dict.fromkeys(chosen) if value and value not in set(here)]
    labels = [clean(value, longest=60) for value in here] + [f"{clean(v, longest=50)} (gone)" for v in gone]
    return [{"label": label, "value": value} for label, value in zip(labels, [*here, *gone], strict=True)]


def _tags(runs: pl.DataFrame, root: Path) -> list[list[str]]:
    return [run_tags(run, info, root=root) for run, info in runs.select("run", "json").iter_rows()]


def _data(runs: pl.DataFrame) -> list[str]:
    return [(sha or UNKNOWN)[:8] for sha in runs["data"].to_list()]


def _sorted(values: Iterable[str]) -> list[str]:
    return sorted(set(values))
