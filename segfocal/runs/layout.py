"""Where things lie in a run directory, and whether a folder is one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segfocal.errors import SegfocalError
from segfocal.runs.provenance import file_sha256

LOCK = ".lock"  # see `segfocal.runs.lock`


@dataclass(frozen=True)
class RunPaths:
    """The paths inside one run directory; nothing is created or read.

    Args:
        root: The run directory.

    Example:
        >>> RunPaths("runs/vessels").metrics.as_posix()
        'runs/vessels/metrics.csv'
    """

    root: Path

    def __init__(self, root: str | Path) -> None:
        object.__setattr__(self, "root", Path(root))

    @property
    def config(self) -> Path:
        """The merged configuration of the run, YAML."""
        return self.root / "config.yaml"

    @property
    def history(self) -> Path:
        """What was changed in that configuration, and at which step (see ``segfocal.runs.history``)."""
        return self.root / "config_history.json"

    @property
    def data_files(self) -> Path:
        """What each file of the data held when the run began (see ``segfocal.runs.data_files``)."""
        return self.root / "data_files.json"

    @property
    def metrics(self) -> Path:
        """Everything logged, one value per line (see ``segfocal.runs.log``)."""
        return self.root / "metrics.csv"

    @property
    def cases(self) -> Path:
        """Counts and scores per stage, image and class (see ``segfocal.runs.cases``)."""
        return self.root / "cases.parquet"

    @property
    def curves(self) -> Path:
        """Reliability and precision-recall bins per image, class and region."""
        return self.root / "curves.parquet"

    @property
    def calibration(self) -> Path:
        """Sums of squared error and likelihood per image, class and region."""
        return self.root / "calibration.parquet"

    @property
    def concentration(self) -> Path:
        """Histograms of the loss per pixel."""
        return self.root / "concentration.parquet"

    @property
    def case_pictures(self) -> Path:
        """Reduced images, references, predictions and probabilities of some cases."""
        return self.root / "cases"

    @property
    def info(self) -> Path:
        """What the run is and how it ended (see ``segfocal.runs.info``)."""
        return self.root / "run.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of ``best.ckpt`` and ``last.ckpt``."""
        return self.root / "checkpoints"

    @property
    def boards(self) -> Path:
        """Folder of the TensorBoard events."""
        return self.root / "tensorboard"

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file in the run directory itself that segfocal reads; pictures and weights lie in folders."""
        tables = (self.cases, self.curves, self.calibration, self.concentration)
        return (self.info, self.config, self.history, self.data_files, self.metrics, *tables)


def is_run(run_dir: str | Path) -> bool:
    """Return whether a folder holds a ``run.json``.

    Args:
        run_dir: Any path.

    Returns:
        True for a run directory of any version, finished or not.

    Example:
        >>> is_run("/no/such/folder")
        False
    """
    return RunPaths(run_dir).info.is_file()


def open_run(run_dir: str | Path, *, with_checkpoints: bool = False) -> RunPaths:
    """Return the paths of an existing run directory.

    Args:
        run_dir: The folder that ``segfocal fit --run`` made.
        with_checkpoints: Whether it must hold at least one checkpoint.

    Returns:
        Its paths.

    Raises:
        SegfocalError: Where there is no such folder, no ``run.json``, or no checkpoint though one is needed.
    """
    paths = RunPaths(run_dir)
    if not paths.root.is_dir():
        found = "a file" if paths.root.exists() else "no such folder"
        raise SegfocalError(
            f"{paths.root} must be a run directory, got {found}. `segfocal fit --run {paths.root}` makes one."
        )
    if not paths.info.is_file():
        lost = (paths.root / LOCK).is_file()
        way = _begin_anew(paths.root) if lost else _runs_below(paths.root)
        raise SegfocalError(f"{paths.root} is not a run directory: it holds no run.json.{way}")
    if with_checkpoints and not _available(paths):
        way = (
            f"The run stopped before its first save: `segfocal fit --resume {paths.root}` starts it again."
            if is_untrained(paths)
            else "Restore its checkpoints from a copy, or train again into another folder."
        )
        raise SegfocalError(
            f"{paths.root} holds no checkpoint: {paths.checkpoints} is empty or missing. {way}"
        )
    return paths


def checkpoint(paths: RunPaths, which: str | Path = "best") -> Path:
    """Return the path of one checkpoint of a run.

    Args:
        paths: The run directory's paths.
        which: ``"best"``, ``"last"``, or a path: as it stands, or a file name inside ``checkpoints/``.
            ``run.json`` says which file is best and last; without an entry ``best.ckpt`` and ``last.ckpt``.

    Returns:
        An existing file, whose sha256 is the one that run.json records; of files that it does not name,
        nothing is known.

    Raises:
        SegfocalError: Where the folder is no run, holds no checkpoint, or not the one asked for; where a file
            is no longer the one that was written.
    """
    paths = open_run(paths.root, with_checkpoints=True)
    if str(which) in ("best", "last"):
        wanted = [_place(paths, _entries(paths), str(which))]
    else:
        wanted = [Path(which), paths.checkpoints / which]
    for path in wanted:
        if path.is_file():
            _check_unchanged(paths, path)
            return path
    raise SegfocalError(
        f"checkpoint {str(which)!r} not found at {' or '.join(map(str, wanted))}. "
        f"{paths.checkpoints} holds {', '.join(_available(paths))}: name one of these."
    )


def _entries(paths: RunPaths) -> dict[str, dict[str, Any]]:
    """What run.json says of each checkpoint; a broken run.json is reported by read_info, not here."""
    try:
        known = json.loads(paths.info.read_text("utf-8"))["checkpoints"]
    except (KeyError, TypeError, ValueError):
        return {}
    entries = known.items() if isinstance(known, dict) else ()
    return {which: entry for which, entry in entries if isinstance(entry, dict)}


def _place(paths: RunPaths, entries: dict[str, dict[str, Any]], which: str) -> Path:
    """Where a checkpoint lies, by the file name that run.json gives."""
    return paths.checkpoints / str(entries.get(which, {}).get("file", f"{which}.ckpt"))


def _check_unchanged(paths: RunPaths, path: Path) -> None:
    """Raise where a file is not what run.json says of it: a flipped bit gives other masks without a word.

    A file that took another's place just before a crash is whole as well: its hash was written before.
    """
    entries = _entries(paths)
    place = path.resolve()
    own = [entry for which, entry in entries.items() if _place(paths, entries, which).resolve() == place]
    if not own or not isinstance(own[0].get("sha256"), str):
        return
    either = [each for entry in entries.values() for each in (entry, entry.get("next"))]
    found = file_sha256(path)
    if found in [each.get("sha256") for each in either if isinstance(each, dict)]:
        return
    raise SegfocalError(
        f"{path} is damaged or was changed: its sha256 is {found[:12]}..., run.json records "
        f"{own[0]['sha256'][:12]}.... Restore it from a copy.{_whole_one(paths, entries, but=place)} "
        "To use it as it is, copy it out of the run and name the copy by --checkpoint."
    )


def _whole_one(paths: RunPaths, entries: dict[str, dict[str, Any]], *, but: Path) -> str:
    """Sentence naming another checkpoint of the run that is whole."""
    for which, entry in entries.items():
        path = _place(paths, entries, which)
        if path.is_file() and path.resolve() != but and file_sha256(path) == entry.get("sha256"):
            return f" {path.name} is whole: take it by --checkpoint {which}, or copy it to that place."
    return ""


def is_untrained(paths: RunPaths) -> bool:
    """Return whether a folder holds a run that stopped before its first checkpoint: it can start again.

    Args:
        paths: The run directory's paths. Where run.json names a checkpoint that is gone, there was one.
    """
    if not is_run(paths.root) or _available(paths):
        return False
    try:
        status = json.loads(paths.info.read_text("utf-8"))["status"]
        saved = any("sha256" in entry for entry in _entries(paths).values())
        return status != "finished" and not saved
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False  # told where it is read


def _begin_anew(root: Path) -> str:
    return (
        " A training was killed before it wrote anything: start it with "
        f"`segfocal fit --config X.yaml --run {root}`."
    )


def _available(paths: RunPaths) -> list[str]:
    return sorted(path.name for path in paths.checkpoints.glob("*.ckpt"))


def _runs_below(root: Path) -> str:
    """Sentence naming the runs one level down: pointing at their parent is the common slip."""
    found = sorted(path.parent.as_posix() for path in root.glob("*/run.json"))[:3]
    if not found:
        return " Give the folder that `segfocal fit --run` made."
    return f" Did you mean {' or '.join(found)}?"
