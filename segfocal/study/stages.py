"""The stages of a study: trainings that follow one another, the last of which is compared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segfocal.errors import SegfocalError, nearest
from segfocal.runs.provenance import file_sha256
from segfocal.study.checks import as_flag, as_list, as_mapping, check_keys
from segfocal.study.merge import Config, merged, nested
from segfocal.yaml_text import read_mapping


@dataclass(frozen=True)
class Stage:
    """One training of a chain; its keys in a study file.

    - ``name``;
    - ``config``: path of a configuration, seen from the study file, else from the current folder;
    - ``from``: an earlier stage, whose weights it begins with, or the path of a checkpoint; a stage with
      ``from``, or whose configuration has a section ``finetune``, is fine-tuned (default there: the stage
      before);
    - ``arms``: false: all arms share it; ``datasets``: false: it keeps its own data, without folds and
      fractions; ``seeds``: false: one seed, the first, makes it for all (default each true);
    - ``each``: overrides of this stage.

    Args:
        name: Of the stage.
        config: The configuration under its overrides.
        file: Where it was read.
        verb: "fit" or "finetune".
        source: Earlier stage it begins with.
        checkpoint: File or folder it begins with.
        sha256: Of the checkpoint.
        arms: Whether arms differ in it.
        datasets: Whether it takes the study's data.
        seeds: Whether each seed has its own.
    """

    name: str
    config: Config
    file: str
    verb: Literal["fit", "finetune"]
    source: str | None = None
    checkpoint: Path | None = None
    sha256: str | None = None
    arms: bool = True
    datasets: bool = True
    seeds: bool = True


def read_stages(value: Any, *, folder: Path, each: Config) -> tuple[Stage, ...]:
    """Read the list of stages.

    Args:
        value: What the study file holds.
        folder: Where it lies.
        each: Overrides of every stage.

    Raises:
        SegfocalError: For unknown keys, files that are missing, a last stage that all arms would share.
    """
    stages: list[Stage] = []
    for item in as_list(value, where="stages"):
        stages.append(_stage(item, folder=folder, each=each, earlier=[stage.name for stage in stages]))
    last = stages[-1]
    if not (last.arms and last.datasets and last.seeds):
        raise SegfocalError(
            f"stage {last.name!r} is the last one and is compared: arms, datasets and seeds must be true."
        )
    return tuple(stages)


def _stage(item: Any, *, folder: Path, each: Config, earlier: list[str]) -> Stage:
    settings = as_mapping(item, where="an entry of stages")
    name = str(settings.get("name", f"stage{len(earlier)}"))
    where = f"stage {name!r}"
    check_keys(settings, ("name", "config", "from", "arms", "datasets", "seeds", "each"), where=where)
    if name in earlier:
        raise SegfocalError(f"two stages are named {name!r}. Rename one.")
    if "config" not in settings:
        raise SegfocalError(f"{where} needs config, the path of a configuration.")
    path = _found(str(settings["config"]), folder=folder, where=f"{where}: config")
    own = nested(as_mapping(settings.get("each"), where=f"{where}: each", empty=True), where=f"{where}: each")
    config = merged(merged(read_mapping(path, what=f"{where}: the configuration"), each), own)
    source, checkpoint = _origin(settings, config, folder=folder, earlier=earlier, where=where)
    flags = {
        key: as_flag(settings.get(key, True), where=f"{where}: {key}")
        for key in ("arms", "datasets", "seeds")
    }
    return Stage(
        name=name,
        config=config,
        file=str(settings["config"]),
        verb="fit" if source is None and checkpoint is None else "finetune",
        source=source,
        checkpoint=checkpoint,
        sha256=None if checkpoint is None else content_sha256(checkpoint),
        **flags,
    )


def _origin(
    settings: dict[str, Any], config: Config, *, folder: Path, earlier: list[str], where: str
) -> tuple[str | None, Path | None]:
    wanted = settings.get("from")
    if wanted is None and "finetune" not in config:
        return None, None
    if wanted is None and not earlier:
        raise SegfocalError(
            f"{where} fine-tunes, and no stage comes before it: say from: CHECKPOINT, or put one before it."
        )
    if wanted is None or wanted in earlier:
        return (wanted or earlier[-1]), None
    if "/" not in str(wanted) and "." not in str(wanted):
        raise SegfocalError(
            f"{where}: from must be an earlier stage ({', '.join(earlier) or 'there is none'}) or the path "
            f"of a checkpoint, got {wanted!r}.{nearest(str(wanted), earlier)}"
        )
    return None, _found(str(wanted), folder=folder, where=f"{where}: from", folders=True)


def content_sha256(path: Path) -> str:
    """Return the hash of a file, or of all files of a folder with their names.

    Args:
        path: Of a checkpoint.
    """
    if path.is_file():
        return file_sha256(path)
    whole = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        whole.update(f"{file.relative_to(path).as_posix()} {file_sha256(file)}\n".encode())
    return whole.hexdigest()


def _found(path: str, *, folder: Path, where: str, folders: bool = False) -> Path:
    for candidate in (folder / path, Path(path)):
        if candidate.is_file() or (folders and candidate.is_dir()):
            return candidate
    parent = (folder / path).parent
    near = nearest(Path(path).name, [other.name for other in parent.glob("*")] if parent.is_dir() else [])
    raise SegfocalError(f"{where} must name a file, got {path}, which is neither in {folder} nor here.{near}")
