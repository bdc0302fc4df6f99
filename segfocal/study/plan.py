"""Plan a study: read it, check it without importing torch, name its cells and write the folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError, nearest
from segfocal.runs.data_files import write_data_files
from segfocal.runs.write import make_folder, write_bytes, write_json
from segfocal.study.cells import Expansion, expand
from segfocal.study.contrasts import contrast_table
from segfocal.study.document import Dataset, Study, read_study
from segfocal.study.folder import SCHEMA_VERSION, StudyFolder
from segfocal.study.keys import check_config
from segfocal.study.merge import Config, digest
from segfocal.study.sources import check_leaking, file_hashes, fingerprint, test_groups

KEPT = "validated.json"  # what `segfocal.study.validation` has seen to be sound


def plan_study(file: Path, *, out: Path, check: Callable[[StudyFolder], None] | None = None) -> StudyFolder:
    """Plan a study into a folder.

    Args:
        file: The study file.
        out: A new or empty folder, or one that holds this very plan.
        check: Raises where a plan must not be written, of which it is given a draft; None: none.

    Returns:
        The folder.

    Raises:
        SegfocalError: For anything wrong in the study, its configurations or its data.
    """
    if not file.is_file():
        near = nearest(file.name, [other.name for other in file.parent.glob("*.y*ml")])
        raise SegfocalError(f"a study must be a YAML file, got {file}, which does not exist.{near}")
    text = file.read_bytes()
    try:
        words = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SegfocalError(f"a study must be a YAML file in UTF-8, got {file}: {error.reason}.") from error
    study = read_study(words, folder=file.parent, origin=str(file))
    for stage in study.stages:
        check_config(stage.config, where=f"stage {stage.name!r} ({stage.file})")
    data = _DataFacts()
    expansion = expand(study, fingerprint=data.sha256)
    for whose, config in expansion.firsts.values():
        check_config(config, where=whose)
    _check_distinct(study, expansion)
    content = _content(study, expansion, data)
    folder = StudyFolder(out)
    if _holds_other(folder, content):
        raise SegfocalError(
            f"{out} holds another plan: the study {folder.plan.get('name')!r} with "
            f"{len(folder.plan['cells'])} cells, and {file} makes "
            f"{len(content['cells'])} cells that differ. Choose another --out."
        )
    checked = _checked(content, folder, check)
    _write(folder, study, text, content)
    for name, found in checked.items():
        write_bytes(folder.root / name, found, option="--out")
    return folder


def _checked(
    content: dict[str, Any], folder: StudyFolder, check: Callable[[StudyFolder], None] | None
) -> dict[str, bytes]:
    """Check a draft of the plan elsewhere, and return what the check wants to be kept beside it."""
    if check is None:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        draft = StudyFolder(Path(scratch))
        write_json(draft.plan_file, content)
        if (folder.root / KEPT).is_file():
            write_bytes(draft.root / KEPT, (folder.root / KEPT).read_bytes())
        check(draft)
        return {KEPT: (draft.root / KEPT).read_bytes()} if (draft.root / KEPT).is_file() else {}


class _DataFacts:
    """Fingerprints and groups, computed once per data set and not per cell."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.clusters: dict[str, int | None] = {}

    def sha256(self, config: Config, dataset: Dataset, name: str) -> str:
        section = config.get("data")
        key = digest([section, dataset.folds, name])
        if key not in self.found:
            facts = fingerprint(section, folds=dataset.folds, name=name)
            self.found[key] = {"name": name, "section": section, "folds": dataset.folds, **facts}
            check_leaking(section, folds=dataset.folds, name=name)
            groups = test_groups(section, folds=dataset.folds)
            known = self.clusters.setdefault(name, groups)
            # arms may test on other images: only what all of them share can be compared
            self.clusters[name] = None if groups is None or known is None else min(groups, known)
        return str(self.found[key]["sha256"])


def _check_distinct(study: Study, expansion: Expansion) -> None:
    seen: dict[Any, str] = {}
    for arm, chain in expansion.chains.items():
        ranges = study.search.arms.get(arm, ()) if study.search else ()
        other = seen.setdefault((tuple(sorted(chain.items())), ranges), arm)
        if other != arm:
            raise SegfocalError(
                f"arms {other!r} and {arm!r} resolve to the same configuration: their overrides change "
                "nothing that differs. Leave one out, or correct its overrides."
            )


def _content(study: Study, expansion: Expansion, data: _DataFacts) -> dict[str, Any]:
    clusters = {name: data.clusters.get(name) for name in study.datasets}
    datasets = {
        name: {"folds": dataset.folds, "seed_keys": list(dataset.seed_keys), "clusters": clusters[name]}
        for name, dataset in study.datasets.items()
    }
    folds = {dataset.folds for dataset in study.datasets.values()}
    return {
        "schema_version": SCHEMA_VERSION,
        "name": study.name,
        "metric": study.metric,
        "baseline": study.baseline,
        "seeds": list(study.seeds),
        "folds": folds.pop() if len(folds) == 1 else None,
        "fractions": list(study.fractions),
        "datasets": datasets,
        "arms": dict(study.arms),
        "stages": {
            stage.name: _stage_entry(stage.verb, stage.checkpoint, stage.sha256) for stage in study.stages
        },
        "search": None if study.search is None else asdict(study.search),
        "contrasts": contrast_table(study, clusters=clusters),
        "data": list(data.found.values()),
        "bases": expansion.bases,
        "cells": expansion.cells,
    }


def _stage_entry(verb: str, checkpoint: Path | None, sha256: str | None) -> dict[str, Any]:
    copied = None if checkpoint is None else f"checkpoints/{(sha256 or '')[:12]}/{checkpoint.name}"
    return {"verb": verb, "checkpoint": copied, "sha256": sha256}


def _holds_other(folder: StudyFolder, content: dict[str, Any]) -> bool:
    if not folder.plan_file.exists():
        if folder.root.exists() and (not folder.root.is_dir() or any(folder.root.iterdir())):
            raise SegfocalError(
                f"--out must name a new or empty folder, got {folder.root}, which holds files."
            )
        return False
    known = {cell["id"] for cell in folder.plan["cells"]}
    return known != {cell["id"] for cell in content["cells"]}


def _write(folder: StudyFolder, study: Study, text: bytes, content: dict[str, Any]) -> None:
    make_folder(folder.root, option="--out")
    for stage in study.stages:
        if stage.checkpoint is not None:
            _keep(stage.checkpoint, folder.root / content["stages"][stage.name]["checkpoint"])
    write_bytes(folder.text_file, text, option="--out")
    for data in content["data"]:
        hashes = file_hashes(data["section"], folds=data["folds"], name=data["name"])
        if hashes:
            make_folder(folder.data_files(data["sha256"]).parent, option="--out")
            write_data_files(folder.data_files(data["sha256"]), hashes)
    write_json(folder.plan_file, content)


def _keep(checkpoint: Path, copy: Path) -> None:
    """Copy a checkpoint into the study, which can be moved and must not change with the original."""
    if copy.exists():
        return
    temporary = copy.parent.with_name(f".{copy.parent.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    copier = shutil.copytree if checkpoint.is_dir() else shutil.copyfile
    copier(checkpoint, temporary / checkpoint.name)
    os.replace(temporary, copy.parent)
