"""What every training verb does around its trainer: checks before it, records and words behind it."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer

from segfocal.data.base import CaseData
from segfocal.errors import SegfocalError
from segfocal.models.checkpoint import read_checkpoint
from segfocal.runs.data_files import changed_files
from segfocal.runs.discard import discard_empty, forget_untrained
from segfocal.runs.history import (
    Change,
    differences,
    in_words,
    other_experiment,
    other_score,
    read_history,
    write_history,
)
from segfocal.runs.info import CheckpointInfo, RunInfo, create_info, read_info, update_info
from segfocal.runs.layout import RunPaths, checkpoint
from segfocal.runs.lock import check_not_running, hold, this_host
from segfocal.runs.own import is_own, remember
from segfocal.runs.write import write_text
from segfocal.training.arguments import (
    check_config_files,
    check_run_dir,
    config_files,
    new_run_dir,
    take_option,
    with_draw,
    words_of_run,
)
from segfocal.training.assemble import is_main_process
from segfocal.training.checkpoints import complete_record
from segfocal.training.cli import SegfocalCLI
from segfocal.training.evaluation import validation_names
from segfocal.training.interrupt import Interrupted
from segfocal.training.prepare import background_note
from segfocal.training.record import data_sha256, describe, is_former, record_files
from segfocal.yaml_text import read_mapping

_RANKS_RUN = "SEGFOCAL_RUN_OF_RANK_0"


@dataclass(frozen=True)
class NewRun:
    """A run that is yet to begin; nothing is made yet.

    Args:
        verb: That begins it.
        wanted: What ``--run`` said.
        config: The file that it is named after without ``--run``.
        take_over: Whether to start again one that seems to be running elsewhere.
    """

    verb: str
    wanted: str | None
    config: str
    take_over: bool = False

    @contextlib.contextmanager
    def claim(self) -> Iterator[RunPaths]:
        """Make its folder and keep every other process out of it, on the process that writes.

        Yields:
            Its paths, the same on every process.

        Raises:
            SegfocalError: Where the folder is taken.
        """
        if not is_main_process():
            yield RunPaths(os.environ[_RANKS_RUN])
            return
        run = RunPaths(new_run_dir(self.wanted, config=self.config))
        os.environ[_RANKS_RUN] = str(run.root)
        with hold(run.root, verb=self.verb, say=say, take_over=self.take_over, nested=True):
            try:
                check_run_dir(str(run.root))  # another process may have trained there in between
                if run.info.is_file():
                    self._forget(run)
                yield run
            except BaseException:
                discard_empty(run)
                raise

    def _forget(self, run: RunPaths) -> None:
        info = read_info(run)
        check_not_running(run, info, take_over=self.take_over)
        forget_untrained(run)
        ended = "died" if info["status"] == "running" else f"ended ({info['status']})"
        say(f"{run.root}: the training there {ended} before its first checkpoint and starts again")


def new_run(argv: Sequence[str], *, verb: str, wanted: str | None, take_over: bool = False) -> NewRun:
    """Check the words of a new run, before anything slow is done.

    Args:
        argv: Words with at least one ``--config``.
        verb: Named in messages.
        wanted: What ``--run`` said.
        take_over: What ``--take-over`` says.

    Returns:
        What is to begin.

    Raises:
        SegfocalError: Without a configuration, or where the folder is taken.
    """
    if any(word.partition("=")[0] == "--allow-changes" for word in argv):
        raise SegfocalError(
            f"--allow-changes belongs to `segfocal {verb} --resume DIR`, and a new run has nothing to differ "
            "from. Leave it out."
        )
    files = config_files(argv)
    if not files:
        raise SegfocalError(f"`segfocal {verb}` needs --config X.yaml, or --resume DIR to go on with a run.")
    check_config_files(argv)
    if wanted is not None and is_main_process():
        check_run_dir(wanted)
    return NewRun(verb, wanted, files[-1], take_over)


@contextlib.contextmanager
def held(run: RunPaths, *, verb: str, take_over: bool = False) -> Iterator[None]:
    """Keep every other process out of an existing run, on the process that writes; as `hold`."""
    if not is_main_process():
        yield
        return
    with hold(run.root, verb=verb, say=say, take_over=take_over):
        yield


@dataclass(frozen=True)
class Again:
    """A run that stopped before its first checkpoint and starts again.

    Args:
        words: That read its configuration.
        command: That began it, for run.json.
        config: Whose classes are checked, see `SegfocalCLI`; None where the words are the user's own.
        trust: What ``--trust`` says.
    """

    words: list[str]
    command: list[str]
    config: Path | None
    trust: bool

    @classmethod
    def of(cls, run: RunPaths, info: Mapping[str, Any], argv: Sequence[str], *, trust: bool) -> Again:
        """Find out how a run was begun: by its configuration as kept there, or as first given.

        Args:
            run: The run directory's paths.
            info: Its run.json.
            argv: Further words.
            trust: What ``--trust`` says.

        Raises:
            SegfocalError: Where it was killed before it kept that, with the command that starts it.
        """
        given = [str(word) for word in info.get("command", [])]
        if run.config.is_file():
            origin, _ = take_option(given, "--from")
            words = words_of_run(run.config) + ([] if origin is None else ["--from", origin])
            return cls([*words, *argv], [*given, *argv], run.config, trust)
        if not (trust or is_own(run.info)):
            command = shlex.join(given or ["segfocal", "fit", "--config", "X.yaml"])
            raise SegfocalError(
                f"{run.root} stopped before it kept its configuration. Start it: {command} --run {run.root}"
            )
        return cls([*given[2:], *argv], [*given, *argv], None, trust)


def prepare(cli: SegfocalCLI) -> None:
    """Meet every contradiction of network, loss, data and monitors before anything is written.

    What the data lack is said here as well, before the training and not after it.

    Args:
        cli: With task and data.

    Raises:
        SegfocalError: Where they contradict one another.
    """
    cli.datamodule.prepare_data()
    cli.datamodule.setup("fit")
    cli.model.prepare(cli.datamodule, "fit")
    facts = cli.model.facts
    assert facts is not None
    names = validation_names(task=facts.task, class_names=facts.class_names)
    cli.check_monitors(names)
    if isinstance(cli.datamodule, CaseData):
        missing = missing_splits(cli.datamodule)
        if "val" in missing:
            cli.check_no_monitors()
        for line in (*dict.fromkeys(cli.datamodule.notes), *missing.values()):
            say(line)
    for line in (background_note(cli.datamodule), *cli.monitor_notes(names)):
        if line:
            say(line)


def missing_splits(data: CaseData) -> dict[str, str]:
    """Return the splits without images, and what a training without them cannot do.

    Args:
        data: Set up.
    """
    lacks = {
        "val": "no validation images: best.ckpt is the last state, and no threshold is chosen for masks",
        "test": "no test images: `segfocal test` has nothing to score"
        + (", `segfocal validate` has" if "val" in data.splits() else ""),
    }
    return {split: line for split, line in lacks.items() if split not in data.splits()}


@dataclass(frozen=True)
class Resumption:
    """What is different when a run goes on.

    Args:
        run: The run directory's paths.
        step: Optimizer steps taken so far.
        command: The words that asked to go on.
        changes: Of the settings, and of the data behind them.
    """

    run: RunPaths
    step: int
    command: list[str]
    changes: list[Change]

    def begin(self, cli: SegfocalCLI, **fields: Any) -> None:
        """Write the new configuration and what changed, and say so; on the process that writes.

        Args:
            cli: With the settings from now on, prepared.
            fields: Further changes of run.json.
        """
        if not is_main_process():
            return
        complete_record(self.run, monitor=cli.checkpoints.monitor)
        if other_experiment(self.changes):
            described = describe(cli.model, cli.datamodule, seed=cli.seed)
            fields["extra"] = described.pop("extra", {}) | fields.get("extra", {})
            fields = described | fields
            record_files(self.run, cli.datamodule)
        if self.changes:
            words = ["segfocal", *self.command]
            write_history(self.run, cli.settings(), command=words, step=self.step, changes=self.changes)
            write_text(self.run.config, cli.dump())
            if not cli.restricted:  # words that were not imported this time must not be the next
                remember(self.run.config)
            say(f"changed at step {self.step}: {in_words(self.changes)}")
        if other_score(self.changes):
            fields["checkpoints"] = self._forget_best()
        update_info(self.run, status="running", reason=None, host=this_host(), **fields)

    def _forget_best(self) -> dict[str, Any]:
        """Return the entry of best.ckpt without its score: the next validation begins a new best."""
        best = read_info(self.run).get("checkpoints", {}).get("best")
        if best is None or best.get("score") is None:
            return {}
        keys = ", ".join(change["key"] for change in other_score(self.changes))
        say(
            f"the best score so far ({_score(best)}) was one of other settings ({keys}): "
            "a new best begins, and best.ckpt stays until the next validation"
        )
        return {"best": {**best, "score": None}}


def changed_settings(cli: SegfocalCLI, run: RunPaths, *, allowed: bool) -> list[Change]:
    """Return what is no longer as it was when a run was last started.

    Args:
        cli: With the settings from now on.
        run: The run directory's paths.
        allowed: Whether it may become another experiment.

    Returns:
        The changes, those made in config.yaml by hand included.

    Raises:
        SegfocalError: Where network, loss, task or data would be others, unless that is allowed.
    """
    history = read_history(run)
    old = history["settings"] if history is not None else read_mapping(run.config, what="the configuration")
    old, new = with_draw(old), cli.settings()
    changes = [] if old == new else differences(cli.completed(old), cli.completed(new))
    others = other_experiment(changes)
    if others and not allowed:
        raise SegfocalError(
            f"{run.root} would go on as another experiment: {in_words(others)}. Leave that out, train a new "
            "run with --run, or add --allow-changes, which keeps it in config_history.json."
        )
    return changes


def changed_data(
    cli: SegfocalCLI, run: RunPaths, info: RunInfo, *, changes: Sequence[Change], allowed: bool
) -> list[Change]:
    """Return whether a run goes on with other files, names or splits.

    Args:
        cli: With its data set up.
        run: The run directory's paths.
        info: Its run.json.
        changes: Of the settings; another root is named with the data.
        allowed: Whether it may.

    Returns:
        The changes of the settings, and one more where the data are others.

    Raises:
        SegfocalError: With both fingerprints, unless that is allowed.
    """
    recorded = info.get("data", {})
    found = data_sha256(cli.datamodule, known=recorded)
    known = str(recorded.get("sha256", found))
    if known == found:
        if is_former(recorded) and isinstance(cli.datamodule, CaseData) and is_main_process():
            say(
                f"{run.root} was begun by an earlier version: its images are compared by name and size, "
                "its masks by content"
            )
        return list(changes)
    other = [Change(key="data (sha256)", old=known[:12], new=found[:12])]
    if not allowed:
        moved = [change for change in changes if change["key"].startswith("data.")]
        files = ""
        if isinstance(cli.datamodule, CaseData):
            files = changed_files(run.data_files, cli.datamodule.file_hashes())
        raise SegfocalError(
            f"The data differ from those that {run.root} was trained on: {in_words([*moved, *other])}"
            f"{f' ({files})' if files else ''}. "
            "Restore them, train a new run with --run, or add --allow-changes."
        )
    return [*changes, *other]


def record_start(run: RunPaths, cli: SegfocalCLI, *, command: Sequence[str], **extra: Any) -> None:
    """Write what a run is before its first step; on the process that writes.

    Args:
        run: The run directory's paths.
        cli: With task and data, prepared.
        command: The words that began it.
        extra: Further facts for run.json.
    """
    if not is_main_process():
        return
    fields = describe(cli.model, cli.datamodule, seed=cli.seed)
    if extra:
        fields["extra"] = fields.get("extra", {}) | extra
    create_info(run, command=list(command), **fields)
    remember(run.info)
    write_text(run.config, cli.dump())
    remember(run.config)
    write_history(run, cli.settings(), command=list(command))
    record_files(run, cli.datamodule)


def read_to_resume(run: RunPaths) -> tuple[Path, dict[str, Any]]:
    """Read the checkpoint that a run goes on from: the last one, or the best where the last is damaged.

    Args:
        run: The run directory's paths.

    Returns:
        Its path and content.

    Raises:
        SegfocalError: Where neither can be read.
    """
    try:
        last = checkpoint(run, "last")
        return last, read_checkpoint(last, mmap=True)
    except SegfocalError as error:
        problem = error
    try:
        best = checkpoint(run, "best")
        stored = read_checkpoint(best, mmap=True)
    except SegfocalError:
        raise problem from None
    say(f"{problem}\nThe run goes on from {best}, step {stored['global_step']}: the steps after it are lost.")
    return best, stored


def check_trained(trainer: Trainer, *, since: int = 0) -> None:
    """Raise where a fit ended before its first step.

    Args:
        trainer: After the fit.
        since: Optimizer steps taken before it.

    Raises:
        SegfocalError: Naming the settings that end it.
    """
    if trainer.global_step == since:
        raise SegfocalError(
            "Not one step was trained: trainer.max_steps, max_epochs, max_time or limit_train_batches ends "
            f"before it, got max_steps {trainer.max_steps}, max_epochs {trainer.max_epochs}, "
            f"limit_train_batches {trainer.limit_train_batches}. Raise it."
        )


def record_end(run: RunPaths, **changes: Any) -> None:
    """Change run.json, on the process that writes.

    Args:
        run: The run directory's paths.
        changes: As for `segfocal.runs.info.update_info`.
    """
    if is_main_process():
        update_info(run, **changes)


def stopped(run: RunPaths, error: BaseException, *, verb: str) -> int:
    """Record why a training ended early, as far as its folder is still there; raise all but a signal.

    Args:
        run: The run directory's paths.
        error: What ended it.
        verb: That goes on with it.

    Returns:
        Exit code 130.
    """
    kept = run.info.is_file()
    asked = isinstance(error, Interrupted)
    status, reason = ("interrupted", str(error)) if asked else ("failed", f"{type(error).__name__}: {error}")
    if kept:
        with contextlib.suppress(SegfocalError, OSError):  # the first error is the one to show
            record_end(run, status=status, reason=reason[:2000])
    if not isinstance(error, Interrupted):
        raise error
    return say_interrupted(error, hint=f" Go on with: segfocal {verb} --resume {run.root}" if kept else "")


def say_finished(run: RunPaths, step: int, *, data: Any) -> None:
    """Write where the best weights were reached, and the next command.

    Args:
        run: The run directory's paths.
        step: Of the end.
        data: What it was trained on; where it has no test images, the next command is another.
    """
    best = read_info(run).get("checkpoints", {}).get("best", {})
    known = f", best {_score(best)}" if best.get("score") is not None else ""
    lacks = missing_splits(data) if isinstance(data, CaseData) else {}
    verbs = {"test": "score it: segfocal test", "val": "score its validation images: segfocal validate"}
    does = next((words for split, words in verbs.items() if split not in lacks), "use it: segfocal predict")
    say(f"finished at step {step}{known}\n{does} --run {run.root}")


def _score(best: CheckpointInfo) -> str:
    """Return a score with its name, which entries of older runs lack."""
    return f"{best.get('monitor', 'score')} {best['score']:.4f} at step {best.get('step', 'unknown')}"


def say_interrupted(signal: Interrupted, *, hint: str) -> int:
    """Write which signal ended the process, and return its exit code."""
    sys.stderr.write(f"segfocal: interrupted by {signal}.{hint}\n")
    return 130


def say(text: str) -> None:
    """Write a line, on the process that writes."""
    if is_main_process():
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
