"""The words of the command line that belong to segfocal itself, taken out before Lightning reads the rest."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from segfocal.errors import SegfocalError, nearest
from segfocal.runs.layout import LOCK, RunPaths, is_untrained
from segfocal.runs.lock import MARKER, check_free, make_first
from segfocal.runs.write import is_leftover, make_folder
from segfocal.yaml_text import load_yaml, read_yaml

# an option of an argument of a class: --data.init_args.split.val, with or without its init_args
_NESTED = re.compile(
    r"--((?:data|model\.network|model\.loss)(?:\.init_args)?|.+?\.init_args)\.((?!init_args\.)[\w-]+)\.(.+)"
)


def take_option(argv: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Take ``--name VALUE`` or ``--name=VALUE`` out of a list of words.

    Args:
        argv: The words.
        name: With its dashes.

    Returns:
        The value, None where the option is absent, and the other words.

    Raises:
        SegfocalError: If the value is missing or the option comes twice.

    Example:
        >>> take_option(["--run", "runs/a", "--trainer.max_epochs", "3"], "--run")
        ('runs/a', ['--trainer.max_epochs', '3'])
    """
    found: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        if word == name:
            value = next(words, None)
            if value is None or value.startswith("--"):
                raise SegfocalError(f"{name} needs a value, got {value or 'nothing'}.")
            found.append(value)
        elif word.startswith(name + "="):
            found.append(word[len(name) + 1 :])
        else:
            rest.append(word)
    if len(found) > 1:
        raise SegfocalError(f"{name} must be given once, got {', '.join(found)}.")
    return (found[0] if found else None), rest


def take_flag(argv: Sequence[str], name: str) -> tuple[bool, list[str]]:
    """Take ``--name`` out of a list of words.

    Args:
        argv: The words.
        name: With its dashes.

    Returns:
        Whether it was there, and the other words.

    Raises:
        SegfocalError: If it was given a value.

    Example:
        >>> take_flag(["--allow-changes", "--trainer.max_epochs", "3"], "--allow-changes")
        (True, ['--trainer.max_epochs', '3'])
    """
    valued = [word for word in argv if word.startswith(name + "=")]
    if valued:
        raise SegfocalError(f"{name} takes no value, got {valued[0]}. Leave out what follows the name.")
    return name in argv, [word for word in argv if word != name]


def config_files(argv: Sequence[str]) -> list[str]:
    """Return the configuration files named by ``--config`` or ``-c``.

    Args:
        argv: The words.

    Returns:
        Paths, in order.
    """
    files = []
    for position, word in enumerate(argv):
        if word in ("--config", "-c") and position + 1 < len(argv):
            files.append(argv[position + 1])
        elif word.startswith("--config="):
            files.append(word.removeprefix("--config="))
    return files


def check_config_files(argv: Sequence[str]) -> None:
    """Raise unless every configuration file exists, can be read and is a mapping.

    Args:
        argv: The words.

    Raises:
        SegfocalError: Naming the file and the place in it.
    """
    for file in config_files(argv):
        path = Path(file)
        if not path.is_file():
            near = nearest(path.name, [other.name for other in path.parent.glob("*.y*ml")])
            raise SegfocalError(f"--config must name a YAML file, got {file}, which does not exist.{near}")
        content = read_yaml(path, what="--config")
        if not isinstance(content, dict):
            found = "nothing" if content is None else f"a {type(content).__name__}"
            raise SegfocalError(f"{file} must hold the sections model, data and trainer, got {found}.")
        for inner in _named_files(content, path.parent):
            read_yaml(inner, what=f"the file that {file} names")
    _check_values(argv)


def _named_files(content: Any, folder: Path) -> list[Path]:
    """Return the YAML files that values of a configuration name: the parser reads them in their place."""
    if isinstance(content, str):
        places = (Path(content), folder / content) if content.endswith((".yaml", ".yml")) else ()
        return [path for path in places if path.is_file()][:1]
    parts = content.values() if isinstance(content, Mapping) else content
    if not isinstance(content, (Mapping, list)):
        return []
    return [path for part in parts for path in _named_files(part, folder)]


def _check_values(argv: Sequence[str]) -> None:
    """Raise where a mapping among the words, or in a file that one names, has a key twice."""
    option = ""
    for word in argv:
        name, equals, value = word.partition("=") if word.startswith("--") else ("", "=", word)
        option = name or option
        if not equals:
            continue
        if value.endswith((".yaml", ".yml")) and Path(value).is_file():
            read_yaml(Path(value), what=option)
        elif value.startswith(("{", "[")):
            try:
                yaml.safe_load(value)
            except (yaml.YAMLError, ValueError):
                continue  # a word, which the parser judges
            load_yaml(value, what=option)


def lift_nulls(argv: Sequence[str]) -> list[str]:
    """Rewrite ``--data.init_args.split.val null`` as ``--data.init_args.split={val: null}``.

    The parser hands a value on from class to class as the text ``str(value)``; so null would arrive there as
    the word None. A mapping is merged into what is known, and keeps its null.

    Args:
        argv: The words.

    Returns:
        The words, other options as they were.

    Example:
        >>> lift_nulls(["--data.init_args.split.val", "null", "--data.init_args.root", "set"])
        ['--data.init_args.split={val: null}', '--data.init_args.root', 'set']
    """
    words: list[str] = []
    for word in argv:
        option, equals, value = word.partition("=")
        if not equals and words and "=" not in words[-1]:
            option, value = words[-1], word
        nested = _NESTED.fullmatch(option)
        if nested is None or value not in ("null", "Null", "NULL", "~"):
            words.append(word)
            continue
        if not equals:
            words.pop()
        keys = nested[3].split(".")
        words.append(f"--{nested[1]}.{nested[2]}={{{': {'.join(keys)}: null{'}' * len(keys)}")
    return words


def new_run_dir(wanted: str | None, *, config: str, base: str | Path = "runs") -> Path:
    """Make the folder of a new run.

    Args:
        wanted: What ``--run`` said; None names it after the configuration and the time, and of several
            processes that ask at once each gets its own.
        config: Path of the configuration.
        base: Where unnamed runs go.

    Returns:
        A folder that is empty but for a lock, or that holds a run which ended before its first checkpoint.

    Raises:
        SegfocalError: As `check_run_dir`; where it cannot be made.
    """
    if wanted is None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = Path(base) / Path(config).stem
        return make_first(folder / (stamp if n == 1 else f"{stamp}-{n}") for n in itertools.count(1))
    check_run_dir(wanted)
    make_folder(wanted)
    return Path(wanted)


def check_run_dir(wanted: str) -> None:
    """Raise unless a run can start in a folder.

    Args:
        wanted: What ``--run`` said.

    Raises:
        SegfocalError: If it is a file, in use by another process, or holds other files than those of a run
            that ended before its first checkpoint.
    """
    path = Path(wanted)
    if path.exists() and not path.is_dir():
        raise SegfocalError(f"--run must name a folder, got the file {path}. Choose another name.")
    check_free(path)
    if path.is_dir() and _some_files(path) and not is_untrained(RunPaths(path)):
        resume = f" or go on with it: segfocal fit --resume {path}" if (path / "run.json").is_file() else ""
        raise SegfocalError(
            f"--run must name a new or empty folder, got {path}, which holds {_some_files(path)}. "
            f"Choose another name{resume}."
        )


def _some_files(path: Path) -> str:
    found = {entry.name for entry in path.iterdir()} - {LOCK, MARKER}
    names = sorted(name for name in found if not is_leftover(name))
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def words_of_run(config: Path) -> list[str]:
    """Return the words that read a run's configuration with the split that it was trained on.

    Args:
        config: The run's config.yaml.

    Returns:
        Words of the command line; runs from before ``split.stratify`` keep the draw of their seed.
    """
    words = ["--config", str(config)]
    try:
        content = read_yaml(config, what="the run's configuration")
    except SegfocalError:
        return words  # told where it is parsed
    kept = with_draw(content)
    return words if kept == content else [*words, "--data.init_args.split.stratify", "false"]


def with_draw(settings: Any) -> Any:
    """Return settings with ``split.stratify: false`` where they are from before that setting.

    Args:
        settings: The content of a run's config.yaml.

    Example:
        >>> with_draw({"data": {"init_args": {"split": {"train": 0.5}}}})
        {'data': {'init_args': {'split': {'stratify': False, 'train': 0.5}}}}
    """
    data = settings.get("data") if isinstance(settings, Mapping) else None
    arguments = data.get("init_args") if isinstance(data, Mapping) else None
    split = arguments.get("split") if isinstance(arguments, Mapping) else None
    if not isinstance(split, Mapping) or "stratify" in split:
        return settings
    assert isinstance(data, Mapping)
    assert isinstance(arguments, Mapping)
    inner = {**arguments, "split": {"stratify": False, **split}}
    return {**settings, "data": {**data, "init_args": inner}}
