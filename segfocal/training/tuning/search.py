"""The search itself: trials from Optuna's sampler, kept in a file, gone on with after any interruption."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from segfocal.errors import SegfocalError
from segfocal.runs.lock import hold
from segfocal.training.interrupt import Interrupted
from segfocal.training.messages import explain_failure
from segfocal.training.tuning.space import Space, draw

if TYPE_CHECKING:
    import optuna

# score of one fold: values by dotted key, folder of the trial, number of the fold
Score = Callable[[dict[str, Any], Path, int], float]


@dataclass(frozen=True)
class Search:
    """How to search.

    Args:
        space: What.
        folder: Holds ``optuna.db`` and ``trials/``.
        trials: How many to complete, counted over all calls.
        folds: Scores per trial.
        mode: Whether larger ("max") or smaller ("min") is better.
        seed: Of the sampler.
        prune: Whether a trial ends as soon as its mean is worse than the median of the others there.
    """

    space: Space
    folder: Path
    trials: int
    folds: int
    mode: Literal["max", "min"] = "max"
    seed: int = 0
    prune: bool = False


@dataclass(frozen=True)
class Tried:
    """One trial that is over.

    Args:
        name: Its folder below ``trials``.
        state: "complete", "pruned" or "failed".
        values: By dotted key.
        scores: Of its folds, as far as it came.
        error: Why it failed.
    """

    name: str
    state: Literal["complete", "pruned", "failed"]
    values: dict[str, Any]
    scores: tuple[float, ...]
    error: str = ""

    @property
    def mean(self) -> float:
        """Mean over folds; NaN without a score."""
        return fmean(self.scores) if self.scores else math.nan


def run_search(search: Search, score: Score) -> list[Tried]:
    """Run trials until there are as many as wanted.

    What is asked for next depends on the seed and on the trials that are over, so that an interrupted search
    goes on as it would have. A trial that was interrupted is run again with the same values in the same
    folder; one whose training failed is kept as failed, unless nothing has worked yet.

    Args:
        search: What and how.
        score: Trains and scores one fold; it should go on with what it finds in the trial's folder.

    Returns:
        All trials that are over, in the order in which they began.

    Raises:
        SegfocalError: Without Optuna, where another process searches in the folder, or where the first
            training fails.
    """
    optuna = import_optuna()
    search.folder.mkdir(parents=True, exist_ok=True)
    with hold(search.folder, verb="tune", say=_say), _storage(search.folder) as storage:
        study = optuna.create_study(
            storage=storage,
            study_name="tune",
            direction="maximize" if search.mode == "max" else "minimize",
            pruner=optuna.pruners.MedianPruner() if search.prune else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        _ask_again(study)
        while len(over := _over(study)) < search.trials:
            number = int.from_bytes(hashlib.sha256(f"{search.seed} {len(over)}".encode()).digest()[:4])
            study.sampler = optuna.samplers.TPESampler(seed=number)
            first = not any(each.scores for each in over)
            _run(study, study.ask(), search, score, name=f"{len(over):04d}", first=first)
        return over


def best_of(tried: Sequence[Tried], *, mode: Literal["max", "min"]) -> Tried:
    """Return the trial with the best mean among those that scored every fold.

    Args:
        tried: All.
        mode: Whether larger ("max") or smaller ("min") is better.

    Raises:
        SegfocalError: Where none did.
    """
    complete = [each for each in tried if each.state == "complete"]
    if not complete:
        raise SegfocalError(
            f"none of {len(tried)} trials came to its end. The first error: "
            f"{next((each.error for each in tried if each.error), 'none, all were pruned')}"
        )
    return max(complete, key=lambda each: each.mean if mode == "max" else -each.mean)


def ties_of(tried: Sequence[Tried], best: Tried) -> list[str]:
    """Return the names of the other complete trials whose mean equals the best one's.

    Args:
        tried: All.
        best: Of ``best_of``.
    """
    even = [each for each in tried if each.state == "complete" and each.mean == best.mean]
    return [each.name for each in even if each.name != best.name]


def import_optuna() -> Any:
    """Return Optuna, silenced but for warnings.

    Raises:
        SegfocalError: Where it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise SegfocalError("segfocal tune needs Optuna: pip install 'segfocal[tune]'.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _run(
    study: optuna.Study, trial: optuna.Trial, search: Search, score: Score, *, name: str, first: bool
) -> None:
    optuna = import_optuna()
    trial.set_user_attr("folder", name)
    values, scores = draw(search.space, trial), list[float]()
    trial.set_user_attr("values", values)
    try:
        for fold in range(search.folds):
            scores.append(score(values, search.folder / "trials" / name, fold))
            trial.set_user_attr("scores", scores)
            trial.report(fmean(scores), step=fold)
            if search.prune and fold + 1 < search.folds and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return
    except Interrupted:
        raise
    except Exception as error:  # of other packages as well: memory, shapes, drivers
        if first and not scores:
            raise  # nothing has worked yet, so nothing else will; the same command tries it again
        words = str(error) if isinstance(error, SegfocalError) else explain_failure(error)[0]
        trial.set_user_attr("error", words[:500])
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    study.tell(trial, fmean(scores))


def _ask_again(study: optuna.Study) -> None:
    """Queue the trial that a killed process left behind, which takes its values and its folder."""
    optuna = import_optuna()
    state = optuna.trial.TrialState
    waiting = study.get_trials(states=(state.WAITING,))
    for trial in study.get_trials(states=(state.RUNNING,)):
        if not waiting:  # else it was killed between the next two lines
            study.enqueue_trial(trial.params)
        study.tell(trial.number, state=state.FAIL)


def _over(study: optuna.Study) -> list[Tried]:
    """Failed trials without an error are those that were interrupted, and came back under another number."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        attributes, state = trial.user_attrs, trial.state.name
        if state not in ("COMPLETE", "PRUNED") and not (state == "FAIL" and "error" in attributes):
            continue
        found.append(
            Tried(
                name=attributes["folder"],
                state={"COMPLETE": "complete", "PRUNED": "pruned"}.get(state, "failed"),  # type: ignore[arg-type]
                values=attributes["values"],
                scores=tuple(attributes.get("scores", ())),
                error=attributes.get("error", ""),
            )
        )
    return sorted(found, key=lambda each: each.name)


@contextmanager
def _storage(folder: Path) -> Iterator[Any]:
    optuna = import_optuna()
    file = folder / "optuna.db"
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    except Exception as error:  # of Optuna, SQLAlchemy or sqlite3
        words = " ".join(str(error).split()).partition(" [SQL")[0]
        raise SegfocalError(
            f"{file} must be the database of a search, got one that cannot be opened ({words}). Restore it "
            "from a copy, or choose another --out."
        ) from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
