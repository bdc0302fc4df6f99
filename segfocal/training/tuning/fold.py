"""One fold of one trial: a run directory below ``trials/``, trained, gone on with, or already there."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from segfocal.data.base import CaseData
from segfocal.errors import SegfocalError
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths, is_run
from segfocal.runs.write import write_text
from segfocal.training.cli import SegfocalCLI
from segfocal.training.interrupt import Interrupted
from segfocal.training.monitors import Presence
from segfocal.training.prepare import DataFacts
from segfocal.training.quiet import quiet_lightning
from segfocal.training.tuning.config import Config, in_fold, look_up, with_values

# a training verb: words to exit code
Verb = Callable[[Sequence[str]], int]


class FoldTraining:
    """Trains a configuration with some values on all folds but one, and scores it on that one.

    Args:
        config: Complete.
        folds: How many.
        train: The verb that trains.
        words: Of a new training beside ``--config`` and ``--run``.

    Raises:
        SegfocalError: Where the configuration cannot be divided into folds, or trains on several devices.
    """

    def __init__(self, config: Config, *, folds: int, train: Verb, words: Sequence[str] = ()) -> None:
        in_fold(config, folds=folds, fold=0)
        self.config, self.folds = _on_one_device(config), folds
        self.train, self.words = train, list(words)

    def __call__(self, values: dict[str, Any], folder: Path, fold: int) -> float:
        """Return the best monitored score of one fold.

        Args:
            values: By dotted key.
            folder: Of the trial.
            fold: From 0.

        Raises:
            SegfocalError: Where the training fails.
            Interrupted: On a signal; the same call goes on from there.
        """
        run = RunPaths(folder / f"fold_{fold}")
        status = read_info(run)["status"] if is_run(run.root) else None
        if status != "finished":
            config = in_fold(with_values(self.config, values), folds=self.folds, fold=fold)
            file = folder / f"fold_{fold}.yaml"
            write_text(file, yaml.safe_dump(config, sort_keys=False))
            code = self.train(self._command(run, file))
            gc.collect()  # so that the next network finds the memory of this one free
            if code:
                raise Interrupted("a signal")
        score = read_info(run).get("checkpoints", {}).get("best", {}).get("score")
        if score is None:
            raise SegfocalError(
                f"{run.root} was trained without a validation, so that there is no score. Train longer, or "
                "validate more often: trainer.check_val_every_n_epoch, trainer.val_check_interval."
            )
        return float(score)

    def check(self) -> None:
        """Raise where a fold's validation images hold nothing of what is monitored, before any is trained.

        Raises:
            SegfocalError: Naming the fold.
        """
        with tempfile.TemporaryDirectory() as folder, quiet_lightning():
            for fold in range(self.folds):
                file = Path(folder) / f"fold_{fold}.yaml"
                write_text(
                    file, yaml.safe_dump(in_fold(self.config, folds=self.folds, fold=fold), sort_keys=False)
                )
                cli = SegfocalCLI(["--config", str(file)], pretrained=False)
                data: Any = cli.datamodule
                if not isinstance(data, CaseData):
                    return
                data.prepare_data()
                names = tuple(data.class_names)
                facts = DataFacts(data.task, names, data.ignore_index, 1, background=data.background)
                presence = Presence.of(data, facts)
                try:
                    presence.notes([cli.checkpoints.monitor], empty=cli.model.empty)
                except SegfocalError as error:
                    raise SegfocalError(
                        f"fold {fold} of {self.folds}: {error} Fewer --folds have more images each."
                    ) from error

    def _command(self, run: RunPaths, file: Path) -> list[str]:
        if (run.checkpoints / "last.ckpt").is_file():
            return ["--resume", str(run.root)]
        shutil.rmtree(run.root, ignore_errors=True)  # killed before its first save
        return ["--config", str(file), *self.words, "--run", str(run.root)]


def _on_one_device(config: Config) -> Config:
    """Trainings follow one another in this process, which further ones would start anew for themselves."""
    devices, nodes = look_up(config, "trainer.devices"), look_up(config, "trainer.num_nodes")
    several = len(devices) > 1 if isinstance(devices, list) else devices not in ("auto", "1", 1)
    if several or nodes not in (None, 1):
        raise SegfocalError(
            f"tune trains on one device, got trainer.devices={devices!r}, trainer.num_nodes={nodes!r}. Set "
            "both to 1."
        )
    return with_values(config, {"trainer.devices": 1}) if devices == "auto" else config
