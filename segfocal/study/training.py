"""The work of a real cell: train or fine-tune, go on where a killed attempt stopped, then test."""

from __future__ import annotations

import math
import shutil
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.runs.info import read_info
from segfocal.runs.layout import RunPaths, is_run
from segfocal.runs.write import write_text
from segfocal.study.cells import settled
from segfocal.study.folder import StudyFolder
from segfocal.study.merge import Config
from segfocal.yaml_text import to_yaml


def train_cell(folder: StudyFolder, cell: dict[str, Any]) -> dict[str, Any] | None:
    """Train one cell, and test it unless it is a trial or shared.

    Args:
        folder: The study.
        cell: As plan.json holds it.

    Returns:
        What a search chose, for cell.json; None where a signal stopped the training.

    Raises:
        SegfocalError: For anything wrong in configuration or data.
    """
    from segfocal.training.verbs.fit import test

    chosen, outcome = _chosen(folder, cell)
    paths = folder.paths(cell["id"])
    config = cell_config(folder, cell, overrides=chosen)
    write_text(paths.config, to_yaml(config))
    run = RunPaths(paths.run)
    if not _is_trained(run) and _train(folder, cell):
        return None
    if cell["kind"] == "arm" and test(["--run", str(run.root)]):
        return None
    return outcome


def cell_config(folder: StudyFolder, cell: dict[str, Any], *, overrides: Config) -> Config:
    """Return the configuration that a cell is trained with.

    Args:
        folder: The study.
        cell: As plan.json holds it.
        overrides: Dotted keys that a search chose, or those of a trial.
    """
    shared = {"folds": None, "seed_keys": ["seed_everything"]}
    dataset = folder.plan["datasets"].get(cell["dataset"], shared)
    return settled(folder.plan["bases"][cell["base"]], dataset=dataset, cell=cell, overrides=overrides)


def _train(folder: StudyFolder, cell: dict[str, Any]) -> int:
    from segfocal.training.verbs.fit import fit

    paths = folder.paths(cell["id"])
    stage = folder.plan["stages"][cell["stage"]]
    if _can_resume(RunPaths(paths.run)):
        words = ["--resume", str(paths.run)]
    else:
        shutil.rmtree(paths.run, ignore_errors=True)
        words = ["--config", str(paths.config), "--run", str(paths.run)]
    if stage["verb"] == "fit":
        return fit(words)
    from segfocal.training.verbs.finetune import finetune

    if "--config" in words:
        words += ["--from", _origin(folder, cell, stage)]
    return finetune(words)


def _origin(folder: StudyFolder, cell: dict[str, Any], stage: dict[str, Any]) -> str:
    if cell["source"] is not None:
        return str(folder.paths(cell["source"]).run)
    return str(folder.root / stage["checkpoint"])


def _is_trained(run: RunPaths) -> bool:
    return is_run(run.root) and read_info(run).get("status") == "finished"


def _can_resume(run: RunPaths) -> bool:
    return is_run(run.root) and (run.checkpoints / "last.ckpt").is_file()


def _chosen(folder: StudyFolder, cell: dict[str, Any]) -> tuple[Config, dict[str, Any]]:
    """The overrides of the best trial on validation, and the account of the choice."""
    trials = [folder.cells[name] for name in cell["needs"] if name != cell["source"]]
    if not trials:
        return cell["overrides"], {}
    scores = {trial["id"]: _validation_score(folder, trial) for trial in trials}
    known = {name: score for name, score in scores.items() if score is not None and not math.isnan(score)}
    if not known:
        raise SegfocalError(
            "no trial of the search ended with a validation score: give the data a val split."
        )
    config = cell_config(folder, trials[0], overrides={})
    smaller = (config.get("checkpoint") or {}).get("mode") == "min"
    best = (min if smaller else max)(known, key=known.__getitem__)
    overrides = dict(folder.cells[best]["overrides"])
    return overrides, {"overrides": overrides, "trial": best, "validation": scores}


def _validation_score(folder: StudyFolder, trial: dict[str, Any]) -> float | None:
    if folder.paths(trial["id"]).state() != "done":
        return None
    info = read_info(folder.paths(trial["id"]).run)
    return info.get("checkpoints", {}).get("best", {}).get("score")
