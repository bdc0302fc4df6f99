"""Every arm read once by the real parser, and each loss tried on its data, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.runs.write import write_json
from segfocal.study.folder import StudyFolder
from segfocal.study.merge import digest
from segfocal.study.progress import describe
from segfocal.study.training import cell_config
from segfocal.yaml_text import read_mapping, to_yaml


def check_arms(folder: StudyFolder) -> None:
    """Build network, loss and data of each arm once, and try each loss on each data set, unless done before.

    Data sets are no reason to build a network again, unless they change more than the data.

    Args:
        folder: The study.

    Raises:
        SegfocalError: Naming the arm and its data set, and what the parser or the loss said.
    """
    remembered = folder.root / "validated.json"
    known: dict[str, str] = json.loads(remembered.read_text("utf-8")) if remembered.is_file() else {}
    whole = {cell["base"]: cell for cell in _representatives(folder) if cell["base"] not in known}
    every = {cell["base"]: cell for cell in reversed(folder.plan["cells"]) if cell["base"] not in known}
    wanted = whole | {base: cell for base, cell in every.items() if base not in whole}
    if not wanted:
        return
    found = _parsed(folder, wanted, whole=whole)
    for base, cell in wanted.items():
        if "error" in found[base]:
            raise SegfocalError(f"{describe(cell)}: {found[base]['error']}")
    _check_distinct(folder, whole, {base: found[base]["config"] for base in whole})
    write_json(remembered, known | {base: found[base]["config"] for base in wanted})


def _representatives(folder: StudyFolder) -> Iterator[dict[str, Any]]:
    """One cell per network, loss and training that differ, and one per data set."""
    seen: set[Any] = set()
    for cell in folder.plan["cells"]:
        config = folder.plan["bases"][cell["base"]]
        trained = digest({key: value for key, value in config.items() if key != "data"})
        keys = {(cell["stage"], trained), (cell["stage"], cell["arm"]), (cell["stage"], cell["dataset"])}
        if not keys <= seen:
            seen |= keys
            yield cell


def _parsed(
    folder: StudyFolder, cells: Mapping[str, dict[str, Any]], *, whole: Collection[str]
) -> dict[str, dict[str, str]]:
    with tempfile.TemporaryDirectory() as scratch:
        for base, cell in cells.items():
            config = cell_config(folder, cell, overrides=cell["overrides"])
            (Path(scratch) / f"{base}.yaml").write_text(to_yaml(config), "utf-8")
        jobs = {
            base: {
                "verb": folder.plan["stages"][cell["stage"]]["verb"],
                "splits": _splits(folder, cell),
                "whole": base in whole,
            }
            for base, cell in cells.items()
        }
        words = [sys.executable, "-m", "segfocal.study.validation", scratch]
        done = subprocess.run(words, input=json.dumps(jobs), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SegfocalError(f"the arms could not be checked:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _splits(folder: StudyFolder, cell: Mapping[str, Any]) -> list[str]:
    """The splits that a cell needs beside train: only the last stage is tested, and searched."""
    if cell["kind"] == "shared":
        return []
    return ["test", *(["val"] if folder.plan["search"] else [])]


def _check_distinct(folder: StudyFolder, cells: dict[str, dict[str, Any]], configs: dict[str, str]) -> None:
    """Defaults written out are no difference: only the parser sees that."""
    search = folder.plan["search"] or {"arms": {}}
    last = list(folder.plan["stages"])[-1]
    seen: dict[Any, str] = {}
    for base, cell in cells.items():
        if cell["stage"] != last:
            continue
        ranges = json.dumps(search["arms"].get(cell["arm"]), sort_keys=True)
        key = (configs[base], cell["dataset"], cell["source"], ranges)
        other = seen.setdefault(key, cell["arm"])
        if other != cell["arm"]:
            raise SegfocalError(
                f"arms {other!r} and {cell['arm']!r} resolve to the same configuration, defaults included. "
                "Leave one out, or correct its overrides."
            )


def _main(folder: Path) -> None:
    """Check the configurations of a folder; in the child process."""
    from segfocal.training.quiet import quiet_lightning

    result: dict[str, dict[str, str]] = {}
    known: dict[str, Any] = {}  # data by the hash of their section
    with quiet_lightning():
        for base, job in json.loads(sys.stdin.read()).items():
            try:
                result[base] = {"config": _checked(folder / f"{base}.yaml", job, known)}
            except SegfocalError as error:
                result[base] = {"error": str(error)}
    sys.stdout.write("\n" + json.dumps(result) + "\n")


def _checked(file: Path, job: Mapping[str, Any], known: dict[str, Any]) -> str:
    """Return the hash of a whole configuration; where network and data were built before, try the loss."""
    from segfocal.training.preflight import resolved, try_section

    config = read_mapping(file, what="the configuration of a cell")
    key = digest([config.get("data"), job["splits"]])
    if not job["whole"] and key in known:
        try_section(config["model"], known[key])
        return digest(config)
    text, known[key] = resolved(file, verb=job["verb"], splits=job["splits"])
    return digest(text)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
