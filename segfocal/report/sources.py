"""What a report reads: runs, one evaluation of each, and what had to be left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from segfocal.errors import SegfocalError, nearest
from segfocal.report.study import StudyNumbers
from segfocal.report.tables.damage import unreadable_tables, unreadable_texts
from segfocal.report.tables.runs import runs_table, with_stage
from segfocal.report.tables.scalars import last_scalars
from segfocal.report.tables.scores import Gathered, gather, other_weights, pick, stages


@dataclass(frozen=True, eq=False)
class Sources:
    """Runs and their scores.

    Args:
        runs: Of ``runs_table``.
        gathered: All evaluations, to be handed to the next ``read_sources``.
        scores: Of ``pick``: the evaluation that is shown.
        scalars: Of ``last_scalars``.
        stage: "test", "val" or another.
        tuned: Whether at the thresholds chosen on validation.
        baseline: The arm that others are compared with; None where there are no scores.
        left_out: Run name and reason.
        damaged: Run name and which of its other files cannot be read, why; its remaining numbers are shown.
        study: Numbers of a study, which stand in place of those of its arms' runs.
    """

    runs: pl.DataFrame
    gathered: Gathered
    scores: pl.DataFrame
    scalars: pl.DataFrame
    stage: str
    tuned: bool
    baseline: str | None
    left_out: list[tuple[str, str]]
    study: StudyNumbers | None = None
    damaged: list[tuple[str, str]] = field(default_factory=list)

    @property
    def threshold(self) -> str:
        """The decision in words."""
        return (
            "the threshold chosen on validation" if self.tuned else "threshold 0.5 (several classes: argmax)"
        )

    def estimates(self) -> pl.DataFrame | None:
        """Return the study's means of its arms; None without a study, and for other splits than test."""
        if self.study is None or self.stage != "test":
            return None
        return self.study.estimates(tuned=self.tuned)

    def data_of(self) -> dict[str, frozenset[str]]:
        """Return the hashes of the images that each arm's runs were scored on; several with folds."""
        found: dict[str, set[str]] = {}
        for arm, data in self.scored_runs().select("arm", "scored").iter_rows():
            found.setdefault(arm, set()).add(str(data or "unknown"))
        return {arm: frozenset(data) for arm, data in found.items()}

    def other_data(self) -> str:
        """Return which arms can be compared where there are several data sets; empty where all can."""
        groups: dict[frozenset[str], list[str]] = {}
        for arm, data in self.data_of().items():
            groups.setdefault(data, []).append(arm)
        if len(groups) < 2:
            return ""
        parts = [f"{', '.join(arms)} (data {min(data)[:8]})" for data, arms in groups.items()]
        return f"Comparable are only arms of the same data: {'; '.join(parts)}."

    def scored_runs(self) -> pl.DataFrame:
        """Return the rows of ``runs`` that have scores."""
        return self.runs.filter(pl.col("run").is_in(self.scores["run"].unique().to_list()))


def read_sources(
    run_dirs: Sequence[Path],
    *,
    arms: Mapping[str, str] | None = None,
    stage: str | None = None,
    tuned: bool = False,
    baseline: str | None = None,
    before: Gathered | None = None,
    study: StudyNumbers | None = None,
) -> Sources:
    """Read runs and choose the evaluation to show.

    Args:
        run_dirs: Run directories.
        arms: Run (as POSIX path) to arm, where a study says it.
        stage: Which split; None takes test where any run has it, else val.
        tuned: At the thresholds chosen on validation.
        baseline: An arm, a run's name or its folder; None takes the first arm that has scores.
        before: Of an earlier call, so that only changed files are read.
        study: Numbers of the study that ``arms`` is of.

    Returns:
        What there is; runs without usable scores are named in ``left_out``.

    Raises:
        SegfocalError: For a stage or baseline that no run has.

    Example:
        >>> read_sources([]).left_out
        []
    """
    runs = runs_table(run_dirs, arms=arms)
    gathered = gather(run_dirs, before=before)
    found = stages(gathered.table)
    usable = runs.filter(pl.col("problem").is_null())
    if stage is not None and stage not in found:
        known = ", ".join(found) or "none: no run was tested"
        raise SegfocalError(
            f"--stage must name a split that was scored ({known}), got {stage!r}.{nearest(stage, found)}"
        )
    picked = {each: pick(gathered.table, usable, stage=each, tuned=tuned) for each in found}
    chosen = stage or next((each for each in found if picked[each].height), (*found, "test")[0])
    scores = picked[chosen] if found else pick(gathered.table, usable, stage=chosen, tuned=tuned)
    runs = with_stage(runs, stage=chosen)
    steps = dict(runs.select("run", "best_step").iter_rows())
    return Sources(
        runs=runs,
        gathered=gathered,
        scores=scores,
        scalars=last_scalars(scores["run"].unique(maintain_order=True).to_list(), stage=chosen, steps=steps),
        stage=chosen,
        tuned=tuned,
        baseline=_baseline(baseline, runs, scores),
        left_out=_passed_over(runs, gathered, found, chosen=chosen, asked=stage is not None)
        + _left_out(runs, gathered, scores, stage=chosen),
        study=study,
        damaged=_damaged(usable),
    )


def _damaged(runs: pl.DataFrame) -> list[tuple[str, str]]:
    """Name the files beside run.json and cases.parquet that cannot be read, a line for each run."""
    found = []
    for run, name in runs.select("run", "name").iter_rows():
        problems = [*unreadable_tables(Path(run)), *unreadable_texts(Path(run))]
        if problems:
            found.append((str(name), "; ".join(problems)))
    return found


def _baseline(wanted: str | None, runs: pl.DataFrame, scores: pl.DataFrame) -> str | None:
    arms = scores["arm"].unique(maintain_order=True).to_list()
    if wanted is None:
        return arms[0] if arms else None
    if wanted in arms:
        return wanted
    folder = Path(wanted).as_posix()
    for run, name, arm in runs.select("run", "name", "arm").iter_rows():
        if arm in arms and (wanted == name or folder == run):
            return str(arm)
    raise SegfocalError(
        f"--baseline must name an arm or a run with scores, got {wanted!r}.{nearest(wanted, arms)} "
        f"Arms: {', '.join(arms) or 'none'}."
    )


def _passed_over(
    runs: pl.DataFrame, gathered: Gathered, found: list[str], *, chosen: str, asked: bool
) -> list[tuple[str, str]]:
    """Say where scores of a better split would be shown, were they of the best checkpoint."""
    better = [] if asked or chosen not in found else found[: found.index(chosen)]
    others = [(each, other_weights(gathered.table, runs, stage=each)) for each in better]
    names = runs.select("run", "name").iter_rows()
    return [(name, f"{each} {of[run]}") for run, name in names for each, of in others if run in of]


def _left_out(
    runs: pl.DataFrame, gathered: Gathered, scores: pl.DataFrame, *, stage: str
) -> list[tuple[str, str]]:
    scored = set(scores["run"].to_list())
    others = other_weights(gathered.table, runs, stage=stage)
    found = []
    for run, name, problem, status in runs.select("run", "name", "problem", "status").iter_rows():
        if run in scored:
            continue
        verb = "test" if stage == "test" else "validate"
        unscored = (
            f"it has no scores of the {stage} split (status: {status}); `segfocal {verb} --run` makes them"
        )
        found.append((name, problem or gathered.problems.get(run) or others.get(run) or unscored))
    return found
