"""Every arm read once by the real parser, in a process of its own, before the first cell runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.runs.write import write_json
from segfocal.study.folder import StudyFolder
from segfocal.study.merge import digest
from segfocal.study.progress import describe
from segfocal.study.training import cell_config
from segfocal.study.yaml_text import to_yaml


def check_arms(folder: StudyFolder) -> None:
    """Build network, loss and data of each arm once, unless that was done before.

    Data sets are no reason to build an arm again, unless they change more than the data.

    Args:
        folder: The study.

    Raises:
        SegfocalError: Naming the arm, and what the parser said.
    """
    remembered = folder.root / "validated.json"
    known: dict[str, str] = json.loads(remembered.read_text("utf-8")) if remembered.is_file() else {}
    wanted = {cell["base"]: cell for cell in _representatives(folder) if cell["base"] not in known}
    if not wanted:
        return
    found = _parsed(folder, wanted)
    for base, cell in wanted.items():
        if "error" in found[base]:
            raise SegfocalError(f"{describe(cell)}: {found[base]['error']}")
    _check_distinct(folder, wanted, {base: found[base]["config"] for base in wanted})
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


def _parsed(folder: StudyFolder, cells: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    with tempfile.TemporaryDirectory() as scratch:
        for base, cell in cells.items():
            config = cell_config(folder, cell, overrides=cell["overrides"])
            (Path(scratch) / f"{base}.yaml").write_text(to_yaml(config), "utf-8")
        verbs = {base: folder.plan["stages"][cell["stage"]]["verb"] for base, cell in cells.items()}
        words = [sys.executable, "-m", "segfocal.study.validation", scratch]
        done = subprocess.run(words, input=json.dumps(verbs), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SegfocalError(f"the arms could not be checked:\n{done.stderr.strip()[-2000:]}")
    found: dict[str, dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


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
    """Parse the configurations of a folder; in the child process."""
    from segfocal.study.parsing import resolved
    from segfocal.training.quiet import quiet_lightning

    result: dict[str, dict[str, str]] = {}
    with quiet_lightning():
        for base, verb in json.loads(sys.stdin.read()).items():
            try:
                result[base] = {"config": digest(resolved(folder / f"{base}.yaml", verb=verb))}
            except SegfocalError as error:
                result[base] = {"error": str(error)}
    sys.stdout.write("\n" + json.dumps(result) + "\n")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
